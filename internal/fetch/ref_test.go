package fetch

import (
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/fetch/failure"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"/a/b/../x.gguf":                          "/a/x.gguf",
		"/with @ and space.zip":                   "/with @ and space.zip",
		"https://u:p@h.example/x.gguf?sig=s#frag": "https://h.example/x.gguf",
		"http://127.0.0.1:9/x":                    "http://127.0.0.1:9/x",
		"http://localhost/x":                      "http://localhost/x",
		"http://[::1]:80/x":                       "http://[::1]:80/x",
		"hf://owner/repo":                         "hf://owner/repo",
		"hf://owner/repo/":                        "hf://owner/repo",
		"hf://owner/repo@main":                    "hf://owner/repo",
		"hf://owner/repo/sub/x.gguf@refs/pr/1":    "hf://owner/repo/sub/x.gguf@refs/pr/1",
		"s3://bucket/a/b%20c.gguf":                "s3://bucket/a/b%20c.gguf",
		"s3://bucket/dir/":                        "s3://bucket/dir/",
	} {
		ref, err := Parse(in)
		if err != nil || ref.String() != want {
			t.Errorf("Parse(%q) = %v, %v; want %s", in, ref, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 "empty",
		"adapters/x.gguf":                  "must be absolute",
		"/a\nb":                            "control character",
		"file:///x.gguf":                   "give the path alone",
		"ftp://h/x":                        "cannot begin with ftp://",
		"http://h.example/x":               "use https://",
		"http://127.0.0.1.h.example/x":     "use https://",
		"https:///x":                       "not a valid URL",
		"https://h/%zz":                    "not a valid URL",
		"hf://owner":                       "not of the form",
		"hf://owner/repo@":                 "not of the form",
		"hf://../repo":                     "not of the form",
		"hf://owner/repo/../x":             "not the path of a file",
		"hf://owner/repo@main/x.gguf":      "the revision comes last",
		"hf://owner/repo@a..b":             "not a revision",
		"s3://bucket":                      "not of the form",
		"s3://b/x":                         "not of the form",
		"https://user:secret@h:bad/?q=tok": "not a valid URL",
	} {
		_, err := Parse(in)
		e := wantError(t, err, failure.BadSource, want)
		if strings.Contains(e.Message, "secret") || strings.Contains(e.Message, "tok") {
			t.Errorf("the message %q has a credential", e.Message)
		}
	}
}

func TestParseDigest(t *testing.T) {
	hex := strings.Repeat("aB", 32)
	for _, in := range []string{hex, "sha256:" + hex} {
		if got, err := parseDigest(in); err != nil || got != strings.ToLower(hex) {
			t.Errorf("parseDigest(%q) = %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"sha256:", "abc", hex + "00", "md5:" + hex} {
		_, err := parseDigest(in)
		wantError(t, err, failure.BadSource, "64 hex digits")
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "soon": 0,
		"Wed, 02 Jan 2030 03:04:35 GMT": 30 * time.Second, "Wed, 02 Jan 2030 03:04:04 GMT": 0,
	} {
		if got := retryAfter(in, now); got != want {
			t.Errorf("retryAfter(%q) = %v, want %v", in, got, want)
		}
	}
}
