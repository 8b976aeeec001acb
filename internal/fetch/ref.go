package fetch

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/loragate/loragate/internal/fetch/archive"
	"github.com/loragate/loragate/internal/fetch/failure"
	"github.com/loragate/loragate/internal/httpkit"
)

// Kind is where an adapter comes from.
type Kind int

const (
	Local       Kind = iota // a file or directory of this machine
	Web                     // https://, or http:// on loopback
	HuggingFace             // hf://owner/repo[/file][@revision]
	S3                      // s3://bucket/key
)

// Ref is a parsed reference to an adapter. It is a value; the zero Ref is none.
type Ref struct {
	Kind Kind
	Path string // Local: the absolute, cleaned path

	url      *url.URL // Web
	repo     string   // HuggingFace: owner/repo
	file     string   // HuggingFace: the file or folder in it; "" picks one
	revision string   // HuggingFace: a branch, tag or commit
	bucket   string   // S3
	key      string   // S3; one that ends in / is a directory
}

// String names the source for people: without userinfo, query and fragment,
// which may be credentials.
func (r Ref) String() string {
	switch r.Kind {
	case Web:
		return (&url.URL{Scheme: r.url.Scheme, Host: r.url.Host, Path: r.url.Path}).String()
	case HuggingFace:
		s := "hf://" + r.repo
		if r.file != "" {
			s += "/" + r.file
		}
		if r.revision != defaultRevision {
			s += "@" + r.revision
		}
		return s
	case S3:
		return "s3://" + r.bucket + "/" + r.key
	}
	return r.Path
}

// identity tells any two sources apart. It may hold credentials.
func (r Ref) identity() string {
	if r.Kind == Web {
		return r.url.String()
	}
	return r.String()
}

// id names the source in the store: without the credentials that its address may hold.
func (r Ref) id() string {
	sum := sha256.Sum256([]byte(r.identity()))
	return hex.EncodeToString(sum[:16])
}

// immutable tells whether the reference can only ever name the same bytes.
func (r Ref) immutable() bool { return r.Kind == HuggingFace && hfCommit.MatchString(r.revision) }

// Parse reads a reference: an absolute path, https://…, hf://owner/repo[/file][@revision]
// or s3://bucket/key. It asks neither the disk nor the network; its error is an *failure.Error.
func Parse(s string) (Ref, error) {
	scheme, rest, found := strings.Cut(s, "://")
	switch {
	case s == "":
		return Ref{}, failure.BadSource.New("the source is empty: give a path, https://, hf:// or s3://")
	case strings.ContainsAny(s, "\x00\n\r"):
		return Ref{}, failure.BadSource.New("the source contains a control character")
	case !found:
		return parsePath(s)
	}
	switch scheme {
	case "https", "http":
		return parseWeb(s)
	case "hf":
		return parseHuggingFace(rest)
	case "s3":
		return parseS3(rest)
	case "file":
		return Ref{}, failure.BadSource.New("file:// is not supported: give the path alone")
	}
	return Ref{}, failure.BadSource.New("a source cannot begin with %s://: give a path, https://, hf:// or s3://",
		scheme)
}

func parsePath(s string) (Ref, error) {
	if !filepath.IsAbs(s) {
		return Ref{}, failure.BadSource.New(
			"%s: a path must be absolute; other sources begin with https://, hf:// or s3://", s)
	}
	return Ref{Kind: Local, Path: filepath.Clean(s)}, nil
}

func parseWeb(s string) (Ref, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		// The text is not repeated: what cannot be parsed cannot be redacted.
		return Ref{}, failure.BadSource.New("the source is not a valid URL")
	}
	u.Fragment, u.RawFragment = "", ""
	ref := Ref{Kind: Web, url: u}
	if u.Scheme == "http" && !httpkit.Loopback(u.Hostname()) {
		return Ref{}, failure.BadSource.New("%s: plain http:// is only for this machine itself; use https://", ref)
	}
	return ref, nil
}

const (
	defaultRevision = "main"
	hfSyntax        = "hf://owner/repo[/file][@revision]"
)

var hfName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,95}$`)

var hfCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)

func parseHuggingFace(rest string) (Ref, error) {
	ref := Ref{Kind: HuggingFace, revision: defaultRevision}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		ref.revision, rest = rest[i+1:], rest[:i]
	}
	parts := strings.SplitN(strings.TrimSuffix(rest, "/"), "/", 3)
	if len(parts) < 2 || !hfName.MatchString(parts[0]) || !hfName.MatchString(parts[1]) || ref.revision == "" {
		return Ref{}, failure.BadSource.New("hf://%s: not of the form %s", rest, hfSyntax)
	}
	if archive.ByName(ref.revision) != archive.Unknown {
		return Ref{}, failure.BadSource.New("hf://%s@%s: the revision comes last: %s", rest, ref.revision, hfSyntax)
	}
	if strings.ContainsAny(ref.revision, " ?#%\\") || strings.Contains(ref.revision, "..") {
		return Ref{}, failure.BadSource.New("hf://%s: %q is not a revision", rest, ref.revision)
	}
	ref.repo = parts[0] + "/" + parts[1]
	if len(parts) == 3 {
		ref.file = parts[2]
		if path.Clean(ref.file) != ref.file || !filepath.IsLocal(ref.file) {
			return Ref{}, failure.BadSource.New("hf://%s: %q is not the path of a file", rest, ref.file)
		}
	}
	return ref, nil
}

var s3Bucket = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$`)

func parseS3(rest string) (Ref, error) {
	bucket, key, _ := strings.Cut(rest, "/")
	if !s3Bucket.MatchString(bucket) || key == "" || len(key) > 1024 {
		return Ref{}, failure.BadSource.New("s3://%s: not of the form s3://bucket/key", rest)
	}
	return Ref{Kind: S3, bucket: bucket, key: key}, nil
}

// parseDigest returns the hex of a SHA-256, in lower case; "" for none.
func parseDigest(digest string) (string, error) {
	bare := strings.ToLower(strings.TrimPrefix(digest, "sha256:"))
	if raw, err := hex.DecodeString(bare); digest != "" && (err != nil || len(raw) != 32) {
		return "", failure.BadSource.New(
			"the digest %q is not a SHA-256: give 64 hex digits, with or without sha256: in front", digest)
	}
	return bare, nil
}
