package fetch

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/fetch/archive"
	"github.com/loragate/loragate/internal/fetch/failure"
)

// fakeHub answers like the Hugging Face Hub: a listing with blobs at
// /api/models/{repo}/revision/{revision}, files at /{repo}/resolve/{revision}/{file}.
// Files in LFS are redirected to another host with a signed address, small ones
// to a path of the same host.
type fakeHub struct {
	api, cdn *httptest.Server

	mu       sync.Mutex
	repo     string
	files    map[string][]byte
	inLFS    func(name string) bool
	commits  int
	token    string // without it the repository looks as if it were not there
	gated    bool
	seen     []string // paths of requests to api
	leaked   bool     // the token came to cdn
	cdnFault func(n int, w http.ResponseWriter, data []byte) bool
	cdnCalls int
}

func newHubServer(t *testing.T, files map[string][]byte) *fakeHub {
	h := &fakeHub{repo: "owner/repo", files: files, inLFS: func(n string) bool {
		return archive.ByName(n) != archive.Unknown || strings.HasSuffix(n, ".safetensors")
	}}
	h.api = httptest.NewServer(http.HandlerFunc(h.serve))
	h.cdn = httptest.NewServer(http.HandlerFunc(h.serveCDN))
	t.Cleanup(h.api.Close)
	t.Cleanup(h.cdn.Close)
	return h
}

func (h *fakeHub) commit() string { return fmt.Sprintf("%040x", 0xc0ffee+h.commits) }

func (h *fakeHub) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = append(h.seen, r.URL.EscapedPath())
	fail := func(status int, code, message string) {
		if code != "" {
			w.Header().Set("X-Error-Code", code)
		}
		w.Header().Set("X-Error-Message", message)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": message})
	}
	may := h.token == "" || r.Header.Get("Authorization") == "Bearer "+h.token
	rest, listing := strings.CutPrefix(r.URL.EscapedPath(), "/api/models/")
	rest = strings.TrimPrefix(rest, "/")
	after, known := strings.CutPrefix(rest, h.repo+"/")
	switch {
	case strings.HasPrefix(rest, "cached/"):
		h.file(w, r, strings.TrimPrefix(rest, "cached/"))
		return
	case !known && r.Header.Get("Authorization") == "", !may && !h.gated && r.Header.Get("Authorization") == "":
		fail(http.StatusUnauthorized, "", "Invalid username or password.")
		return
	case !known, !may && !h.gated:
		fail(http.StatusNotFound, "RepoNotFound", "Repository not found")
		return
	}
	op, tail, _ := strings.Cut(after, "/")
	escaped, name, _ := strings.Cut(tail, "/")
	revision, _ := url.PathUnescape(escaped)
	switch {
	case revision != "main" && revision != "refs/pr/1" && revision != h.commit():
		fail(http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
	case listing && op == "revision":
		h.list(w, r)
	case !may && r.Header.Get("Authorization") == "":
		fail(http.StatusUnauthorized, "GatedRepo", "Access to model is restricted.")
	case !may:
		fail(http.StatusForbidden, "GatedRepo", "Access to model is restricted and you are not in the authorized list.")
	default:
		h.resolve(w, r, name, fail)
	}
}

func (h *fakeHub) list(w http.ResponseWriter, r *http.Request) {
	var siblings []map[string]any
	for name, data := range h.files {
		s := map[string]any{"rfilename": name}
		if r.URL.Query().Get("blobs") == "true" {
			sum := sha1.Sum(data)
			s["size"], s["blobId"] = len(data), hex.EncodeToString(sum[:])
			if h.inLFS(name) {
				s["lfs"] = map[string]any{"sha256": digestOf(data), "size": len(data), "pointerSize": 134}
			}
		}
		siblings = append(siblings, s)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"id": h.repo, "modelId": h.repo, "private": h.token != "", "gated": h.gated,
		"sha": h.commit(), "siblings": siblings,
	})
}

func (h *fakeHub) resolve(w http.ResponseWriter, r *http.Request, name string, fail func(int, string, string)) {
	plain, _ := url.PathUnescape(name)
	data, ok := h.files[plain]
	if !ok {
		fail(http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	w.Header().Set("X-Repo-Commit", h.commit())
	if !h.inLFS(plain) {
		http.Redirect(w, r, "/cached/"+name, http.StatusTemporaryRedirect)
		return
	}
	w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
	w.Header().Set("X-Linked-Etag", `"`+digestOf(data)+`"`)
	http.Redirect(w, r, h.cdn.URL+"/"+name+"?signature=s", http.StatusFound)
}

func (h *fakeHub) file(w http.ResponseWriter, r *http.Request, name string) {
	data := h.files[name]
	w.Header().Set("ETag", `"`+digestOf(data)[:40]+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func (h *fakeHub) serveCDN(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaked = h.leaked || r.Header.Get("Authorization") != ""
	n := h.cdnCalls
	h.cdnCalls++
	name := strings.TrimPrefix(r.URL.Path, "/")
	if h.cdnFault != nil && h.cdnFault(n, w, h.files[name]) {
		return
	}
	h.file(w, r, name)
}

func (h *fakeHub) fetcher(t *testing.T, token string) *Fetcher {
	return newFetcher(t, Options{HuggingFace: HuggingFaceOptions{Endpoint: h.api.URL, Token: token}})
}

func peftFiles(folder string, weights []byte) map[string][]byte {
	return map[string][]byte{
		path.Join(folder, archive.PEFTConfig):  []byte(`{"peft_type":"LORA"}`),
		path.Join(folder, archive.PEFTWeights): weights,
		path.Join(folder, "README.md"):         []byte("# x"),
	}
}

func TestHubPicksTheOnlyGGUF(t *testing.T) {
	data := someGGUF(1, 100_000)
	h := newHubServer(t, map[string][]byte{"README.md": []byte("#"), "quant/a b%2F?.gguf": data})
	h.token = "hf_secret"
	f := h.fetcher(t, "hf_secret")
	for _, ref := range []string{
		"hf://owner/repo", "hf://owner/repo/quant", "hf://owner/repo/quant/a b%2F?.gguf",
		"hf://owner/repo@refs/pr/1", "hf://owner/repo@" + h.commit(),
	} {
		wantFile(t, mustFetch(t, f, ref, ""), data)
	}
	if h.leaked {
		t.Error("the token was sent on to another host")
	}
}

func TestHubPEFT(t *testing.T) {
	weights := someGGUF(1, 100_000)
	for _, folder := range []string{"", "checkpoints/last"} {
		h := newHubServer(t, peftFiles(folder, weights))
		f := h.fetcher(t, "")
		var done, total int64
		ref := strings.TrimSuffix("hf://owner/repo/"+folder, "/")
		a, err := got(f.Fetch(t.Context(), ref, digestOf(weights), func(d, n int64) { done, total = d, n }))
		if err != nil {
			t.Fatal(err)
		}
		wantPEFT(t, a, weights)
		want := int64(len(weights) + len(h.files[path.Join(folder, archive.PEFTConfig)]))
		if done != want || total != want {
			t.Errorf("the last progress is %d of %d, want %d", done, total, want)
		}
		if left := leftovers(t, f); left != nil {
			t.Errorf("left over: %v", left)
		}
		_, _, err = f.Fetch(t.Context(), ref, digestOf(nil), nil)
		wantError(t, err, failure.DigestMismatch, digestOf(weights))
	}
}

func TestHubResumesThroughTheRedirect(t *testing.T) {
	weights := someGGUF(1, 300_000)
	h := newHubServer(t, peftFiles("", weights))
	h.cdnFault = func(n int, w http.ResponseWriter, data []byte) bool {
		if n == 0 {
			w.Header().Set("ETag", `"`+digestOf(data)[:40]+`"`)
			cutAt(w, data, 100_000)
		}
		return false
	}
	wantPEFT(t, mustFetch(t, h.fetcher(t, ""), "hf://owner/repo", ""), weights)
	if h.cdnCalls != 2 {
		t.Errorf("%d downloads, want 2", h.cdnCalls)
	}
}

func TestHubVerifiesWhatItSends(t *testing.T) {
	h := newHubServer(t, map[string][]byte{"x.gguf": someGGUF(1, 5000)})
	h.cdnFault = func(_ int, w http.ResponseWriter, data []byte) bool {
		_, _ = w.Write(someGGUF(2, len(data)))
		return true
	}
	f := h.fetcher(t, "")
	_, _, err := f.Fetch(t.Context(), "hf://owner/repo", "", nil)
	wantError(t, err, failure.DigestMismatch, digestOf(h.files["x.gguf"]), digestOf(someGGUF(2, 5000)))
	if left := leftovers(t, f); left != nil {
		t.Errorf("left over: %v", left)
	}
}

func TestHubRevalidates(t *testing.T) {
	weights, newer := someGGUF(1, 5000), someGGUF(2, 5000)
	h := newHubServer(t, peftFiles("", weights))
	f := h.fetcher(t, "")
	pinned := "hf://owner/repo@" + h.commit()
	first, second := mustFetch(t, f, "hf://owner/repo", ""), mustFetch(t, f, pinned, "")
	second.Release()
	calls := len(h.seen)
	mustFetch(t, f, pinned, "").Release() // a commit never changes
	if len(h.seen) != calls {
		t.Errorf("a commit was asked for again: %v", h.seen[calls:])
	}
	// A commit that changes other files is no reason to download.
	h.commits++
	h.files["README.md"] = []byte("# y")
	if a := mustFetch(t, f, "hf://owner/repo", ""); a.Path != first.Path {
		t.Error("an unchanged adapter was fetched again")
	}
	h.commits++
	h.files[archive.PEFTWeights] = newer
	wantPEFT(t, mustFetch(t, f, "hf://owner/repo", ""), newer)
	// The configuration counts as well.
	h.commits++
	h.files[archive.PEFTConfig] = []byte(`{"peft_type":"LORA","r":8}`)
	a := mustFetch(t, f, "hf://owner/repo", digestOf(newer))
	got, err := os.ReadFile(a.Path)
	if err != nil || !bytes.HasPrefix(got[len("GGUF"):], h.files[archive.PEFTConfig]) {
		t.Errorf("the configuration is not the new one: %v", err)
	}
	// While the Hub is away, a digest that fits will do.
	h.api.Close()
	wantPEFT(t, mustFetch(t, f, "hf://owner/repo", digestOf(newer)), newer)
	_, _, err = f.Fetch(t.Context(), "hf://owner/repo", "", nil)
	wantError(t, err, failure.Unreachable, "hf://owner/repo: ")
}

// TestHubHasWhatIsStored: what the store has from elsewhere is not downloaded, by the digest
// that the Hub tells beforehand.
func TestHubHasWhatIsStored(t *testing.T) {
	data := someGGUF(1, 5000)
	packed := makeZip(t, peftFiles("", data))
	h := newHubServer(t, map[string][]byte{"x.gguf": data, "x.zip": packed})
	f := h.fetcher(t, "")
	for name, content := range map[string][]byte{"x.gguf": data, "x.zip": packed} {
		first := mustFetch(t, f, newSite(t, content).URL+"/"+name, "")
		ref := "hf://owner/repo/" + name
		for range 2 { // the second time it is known by its version
			if a := mustFetch(t, f, ref, ""); a.Path != first.Path || h.cdnCalls > 0 {
				t.Errorf("%s: %s, not %s, after %d downloads", name, a.Path, first.Path, h.cdnCalls)
			}
		}
		_, _, err := f.Fetch(t.Context(), ref, digestOf(nil), nil)
		wantError(t, err, failure.DigestMismatch, digestOf(content))
	}
}

func TestHubRefusals(t *testing.T) {
	weights := someGGUF(1, 500)
	many := peftFiles("a", weights)
	for name, data := range peftFiles("b", weights) {
		many[name] = data
	}
	two := map[string][]byte{"a.gguf": weights, "b.gguf": weights}
	bin := map[string][]byte{archive.PEFTConfig: nil, "adapter_model.bin": weights}
	for name, c := range map[string]struct {
		files       map[string][]byte
		ref         string
		needs, have string // tokens
		gated       bool
		code        failure.Code
		message     []string
	}{
		"two GGUFs": {files: two, ref: "hf://owner/repo", code: failure.BadSource,
			message: []string{"a.gguf", "b.gguf", "name one"}},
		"two PEFTs": {files: many, ref: "hf://owner/repo", code: failure.BadSource,
			message: []string{"a/", "b/", "name one"}},
		"no adapter": {files: map[string][]byte{"x.txt": nil}, ref: "hf://owner/repo", code: failure.BadSource,
			message: []string{"holds no adapter"}},
		"pickled weights": {files: bin, ref: "hf://owner/repo", code: failure.BadSource,
			message: []string{archive.PEFTWeights}},
		"no such file": {files: two, ref: "hf://owner/repo/c.gguf", code: failure.NotFound,
			message: []string{"no such file", "a.gguf"}},
		"not an adapter": {files: peftFiles("", weights), ref: "hf://owner/repo/" + archive.PEFTWeights,
			code: failure.BadSource, message: []string{"name the folder"}},
		"no such revision": {files: two, ref: "hf://owner/repo@nope", code: failure.NotFound,
			message: []string{`no revision "nope"`}},
		"no such repo": {files: two, ref: "hf://owner/other", code: failure.Unauthorized,
			message: []string{"does not exist or is private", "HF_TOKEN"}},
		"with a token": {files: two, ref: "hf://owner/other", have: "t", code: failure.NotFound,
			message: []string{"no such repository", "HF_TOKEN"}},
		"private": {files: two, ref: "hf://owner/repo", needs: "t", code: failure.Unauthorized,
			message: []string{"HF_TOKEN"}},
		"wrong token": {files: two, ref: "hf://owner/repo", needs: "t", have: "u", code: failure.NotFound,
			message: []string{"HF_TOKEN does not give access"}},
		"gated": {files: two, ref: "hf://owner/repo/a.gguf", needs: "t", gated: true,
			code: failure.Unauthorized, message: []string{"gated", "/owner/repo", "HF_TOKEN"}},
		"gated, a token": {files: two, ref: "hf://owner/repo/a.gguf", needs: "t", have: "u", gated: true,
			code: failure.Unauthorized, message: []string{"gated", "accept its terms"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHubServer(t, c.files)
			h.token, h.gated = c.needs, c.gated
			f := h.fetcher(t, c.have)
			_, _, err := f.Fetch(t.Context(), c.ref, "", nil)
			e := wantError(t, err, c.code, append(c.message, c.ref)...)
			if e.Temporary {
				t.Error("it is not worth trying again")
			}
		})
	}
}

func TestHubEndpointIsNone(t *testing.T) {
	s := newSite(t, []byte("<html>"))
	f := newFetcher(t, Options{HuggingFace: HuggingFaceOptions{Endpoint: s.URL}})
	_, _, err := f.Fetch(t.Context(), "hf://owner/repo", "", nil)
	wantError(t, err, failure.HTTPStatus, "not a Hub's")
	_, err = New(Options{Store: newStore(t, t.TempDir()), HuggingFace: HuggingFaceOptions{Endpoint: "huggingface.co"}})
	wantError(t, err, failure.BadSource, "not the address of a server")
}
