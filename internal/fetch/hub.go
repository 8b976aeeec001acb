package fetch

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

	"github.com/loragate/loragate/internal/fetch/failure"
)

const maxListing = 32 << 20 // bytes of a repository's listing

// hub is a Hugging Face Hub.
type hub struct {
	web   *web
	base  *url.URL
	token string
}

// HuggingFaceOptions say how to reach the Hub.
type HuggingFaceOptions struct {
	Endpoint string // "" is https://huggingface.co
	Token    string // sent to Endpoint only, never on to where it redirects; "" is none
}

func newHub(web *web, o HuggingFaceOptions) (*hub, error) {
	if o.Endpoint == "" {
		o.Endpoint = "https://huggingface.co"
	}
	base, err := baseURL(o.Endpoint)
	return &hub{web, base, o.Token}, err
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

// plan asks the Hub which files there are and picks the adapter's. It is one attempt.
func (h *hub) plan(ctx context.Context, r Ref) (*plan, error) {
	l, err := h.list(ctx, r)
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
		p.files = append(p.files, h.file(r, l.SHA, file))
	}
	if !peft {
		p.files[0].name = "file"
	}
	p.validator = version.String()
	return p, nil
}

// list gets a repository's listing.
func (h *hub) list(parent context.Context, r Ref) (listing, error) {
	ctx, cancel := context.WithTimeoutCause(parent, h.web.stall, failure.ErrStalled)
	defer cancel()
	address := fmt.Sprintf("%s/api/models/%s/revision/%s?blobs=true", h.base, r.repo, url.PathEscape(r.revision))
	resp, err := h.web.get(ctx, address, h.header(), 0, "")
	if err != nil {
		return listing{}, failure.Transfer(ctx, r.String(), err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return listing{}, h.explain(r, resp)
	}
	var l listing
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxListing))
	if err != nil {
		return l, failure.Transfer(ctx, r.String(), err)
	}
	if err := json.Unmarshal(raw, &l); err != nil || l.SHA == "" {
		return l, failure.HTTPStatus.New("%s: the answer of %s is not a Hub's; check the configured endpoint",
			r, h.base.Host).Because(err)
	}
	return l, nil
}

// file is a repository's file at a commit: not at a revision, which may move
// between the files of one adapter.
func (h *hub) file(r Ref, commit string, file sibling) remote {
	out := remote{name: path.Base(file.Name), size: -1}
	if file.Size != nil {
		out.size = *file.Size
	}
	if file.LFS != nil {
		out.size, out.sha256 = file.LFS.Size, strings.ToLower(file.LFS.SHA256)
	}
	name := strings.ReplaceAll(url.PathEscape(file.Name), "%2F", "/")
	address := fmt.Sprintf("%s/%s/resolve/%s/%s", h.base, r.repo, commit, name)
	out.open = func(ctx context.Context, from int64, etag string) (*stream, error) {
		resp, err := h.web.get(ctx, address, h.header(), from, etag)
		if err != nil {
			return nil, err
		}
		explain := func(resp *http.Response) *failure.Error { return h.explain(r, resp) }
		return webStream(r.String(), resp, from, etag, explain)
	}
	return out
}

// explain makes an error of a Hub's refusal. X-Error-Code says more than the status.
func (h *hub) explain(r Ref, resp *http.Response) *failure.Error {
	status, code := resp.StatusCode, resp.Header.Get("X-Error-Code")
	page := h.base.JoinPath(r.repo).String()
	refused := status == http.StatusUnauthorized || status == http.StatusForbidden
	var err *failure.Error
	switch {
	case code == "GatedRepo":
		err = failure.Unauthorized.New(
			"%s: the repository is gated: accept its terms at %s, and set HF_TOKEN to a token of that account", r, page)
	case code == "RevisionNotFound":
		err = failure.NotFound.New("%s: the repository has no revision %q", r, r.revision)
	case code == "EntryNotFound":
		err = failure.NotFound.New("%s: the repository has no such file", r)
	case refused && h.token == "":
		err = failure.Unauthorized.New(
			"%s: the repository does not exist or is private; if it is private, set HF_TOKEN", r)
	case code == "RepoNotFound", status == http.StatusNotFound:
		err = failure.NotFound.New("%s: there is no such repository, or HF_TOKEN does not give access to it", r)
	case refused:
		err = failure.Unauthorized.New("%s: HF_TOKEN is not valid, or does not give access to the repository", r)
	default:
		return statusError(r.String(), resp)
	}
	return err.Because(errors.New(resp.Status))
}
