package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
)

const maxListing = 32 << 20 // bytes of a repository's listing

// hub is a Hugging Face Hub.
type hub struct {
	base  *url.URL
	token string
}

func newHub(o HuggingFaceOptions) (*hub, error) {
	if o.Endpoint == "" {
		o.Endpoint = "https://huggingface.co"
	}
	base, err := baseURL(o.Endpoint)
	return &hub{base, o.Token}, err
}

// header returns the headers of a request to the Hub.
func (h *hub) header() http.Header {
	header := http.Header{}
	if h.token != "" {
		header.Set("Authorization", "Bearer "+h.token)
	}
	return header
}

// listing is the Hub's description of a repository at a revision.
type listing struct {
	SHA      string    `json:"sha"`
	Siblings []sibling `json:"siblings"`
}

// sibling is a file of a repository. Those in LFS have a SHA-256.
type sibling struct {
	Name   string `json:"rfilename"`
	Size   *int64 `json:"size"`
	BlobID string `json:"blobId"`
	LFS    *struct {
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	} `json:"lfs"`
}

// planHub asks the Hub which files there are and picks the adapter's.
func (f *Fetcher) planHub(ctx context.Context, r Ref) (*plan, error) {
	var l listing
	err := f.persist(ctx, r.String(), func() (bool, error) {
		var err error
		l, err = f.list(ctx, r)
		return false, err
	})
	if err != nil {
		return nil, err
	}
	files, peft, err := choose(r, l.Siblings)
	if err != nil {
		return nil, err
	}
	p := &plan{peft: peft, format: path.Base(files[0].Name)}
	var version strings.Builder
	for _, file := range files {
		id := file.BlobID
		if id == "" {
			id = l.SHA // a mirror that tells nothing of files
		}
		fmt.Fprintf(&version, "%s=%s;", file.Name, id)
		p.files = append(p.files, f.hubFile(r, l.SHA, file))
	}
	if !peft {
		p.files[0].name = "file"
	}
	p.validator = version.String()
	return p, nil
}

// list gets a repository's listing. It is one attempt.
func (f *Fetcher) list(parent context.Context, r Ref) (listing, error) {
	ctx, cancel := context.WithTimeoutCause(parent, f.stall, errStalled)
	defer cancel()
	address := fmt.Sprintf("%s/api/models/%s/revision/%s?blobs=true", f.hub.base, r.repo, url.PathEscape(r.revision))
	resp, err := f.request(ctx, address, f.hub.header(), 0, "")
	if err != nil {
		return listing{}, transferError(ctx, r.String(), err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return listing{}, f.hub.explain(r, resp)
	}
	var l listing
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxListing))
	if err != nil {
		return l, transferError(ctx, r.String(), err)
	}
	if err := json.Unmarshal(raw, &l); err != nil || l.SHA == "" {
		return l, fail(HTTPStatus, "%s: the answer of %s is not a Hub's; check the configured endpoint", r, f.hub.base.Host).because(err)
	}
	return l, nil
}

// hubFile is a repository's file at a commit: not at a revision, which may move
// between the files of one adapter.
func (f *Fetcher) hubFile(r Ref, commit string, file sibling) remote {
	out := remote{name: path.Base(file.Name), size: -1}
	if file.Size != nil {
		out.size = *file.Size
	}
	if file.LFS != nil {
		out.size, out.sha256 = file.LFS.Size, strings.ToLower(file.LFS.SHA256)
	}
	name := strings.ReplaceAll(url.PathEscape(file.Name), "%2F", "/")
	address := fmt.Sprintf("%s/%s/resolve/%s/%s", f.hub.base, r.repo, commit, name)
	out.open = func(ctx context.Context, from int64, etag string) (*stream, error) {
		resp, err := f.request(ctx, address, f.hub.header(), from, etag)
		if err != nil {
			return nil, err
		}
		return webStream(r.String(), resp, from, etag, func(resp *http.Response) *Error { return f.hub.explain(r, resp) })
	}
	return out
}

// choose picks the files of the adapter that r names: the file itself or, of
// the whole repository or a folder in it, the only GGUF, else the PEFT adapter.
// Of a PEFT adapter the weights come last.
func choose(r Ref, all []sibling) (files []sibling, peft bool, err error) {
	var ggufs, configs []string
	named := map[string]sibling{}
	folder := ""
	if r.file != "" {
		folder = r.file + "/"
	}
	for _, s := range all {
		named[s.Name] = s
		switch {
		case !strings.HasPrefix(s.Name, folder):
		case byName(s.Name) == gguf:
			ggufs = append(ggufs, s.Name)
		case path.Base(s.Name) == peftConfig:
			configs = append(configs, s.Name)
		}
	}
	if s, ok := named[r.file]; ok && r.file != "" {
		if byName(r.file) == unknown {
			return nil, false, fail(BadSource, "%s: the file is none of %s; for a PEFT adapter name the folder it is in", r, formats)
		}
		return []sibling{s}, false, nil
	}
	config, hasConfig := named[folder+peftConfig]
	weights, hasWeights := named[folder+peftWeights]
	switch {
	case len(ggufs) == 1:
		return []sibling{named[ggufs[0]]}, false, nil
	case hasConfig && hasWeights:
		return []sibling{config, weights}, true, nil
	case r.file != "" && len(ggufs)+len(configs) == 0:
		return nil, false, fail(NotFound, "%s: the repository has no such file; it has %s", r, candidates(all))
	case hasConfig && len(ggufs) == 0:
		return nil, false, fail(BadSource, "%s: there is %s but no %s; weights in another format cannot be read", r, peftConfig, peftWeights)
	case len(ggufs)+len(configs) > 0:
		return nil, false, fail(BadSource, "%s: there is more than one adapter, or none at the top; name one of %s", r, candidates(all))
	}
	return nil, false, fail(BadSource, "%s: the repository holds no adapter: neither a .gguf file nor %s with %s", r, peftConfig, peftWeights)
}

// candidates lists what could have been named.
func candidates(all []sibling) string {
	const most = 10
	var out []string
	for _, s := range all {
		if path.Base(s.Name) == peftConfig {
			out = append(out, path.Dir(s.Name)+"/")
		} else if byName(s.Name) != unknown {
			out = append(out, s.Name)
		}
	}
	switch {
	case len(out) == 0:
		return "no adapter at all"
	case len(out) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(out[:most], ", "), len(out)-most)
	}
	return strings.Join(out, ", ")
}

// explain makes an error of a Hub's refusal. X-Error-Code says more than the status.
func (h *hub) explain(r Ref, resp *http.Response) *Error {
	status, code := resp.StatusCode, resp.Header.Get("X-Error-Code")
	page := h.base.JoinPath(r.repo).String()
	refused := status == http.StatusUnauthorized || status == http.StatusForbidden
	var err *Error
	switch {
	case code == "GatedRepo":
		err = fail(Unauthorized, "%s: the repository is gated: accept its terms at %s, and set HF_TOKEN to a token of that account", r, page)
	case code == "RevisionNotFound":
		err = fail(NotFound, "%s: the repository has no revision %q", r, r.revision)
	case code == "EntryNotFound":
		err = fail(NotFound, "%s: the repository has no such file", r)
	case refused && h.token == "":
		err = fail(Unauthorized, "%s: the repository does not exist or is private; if it is private, set HF_TOKEN", r)
	case code == "RepoNotFound", status == http.StatusNotFound:
		err = fail(NotFound, "%s: there is no such repository, or HF_TOKEN does not give access to it", r)
	case refused:
		err = fail(Unauthorized, "%s: HF_TOKEN is not valid, or does not give access to the repository", r)
	default:
		return statusError(r.String(), resp)
	}
	return err.because(errors.New(resp.Status))
}
