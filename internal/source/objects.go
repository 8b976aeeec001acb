package source

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// objects is an S3 object store.
type objects struct{ core *minio.Core }

func newObjects(o S3Options, transport http.RoundTripper) (*objects, error) {
	endpoint, secure := o.Endpoint, !o.Insecure
	if endpoint == "" {
		endpoint = "s3.amazonaws.com"
	}
	if strings.Contains(endpoint, "://") {
		u, err := baseURL(endpoint)
		if err != nil {
			return nil, err
		}
		if u.Scheme == "http" && secure && !httpkit.Loopback(u.Hostname()) {
			return nil, fail(BadSource, "the S3 endpoint %s is plain HTTP: allow it with insecure, or use https://", u.Host)
		}
		endpoint, secure = u.Host, u.Scheme == "https"
	}
	if t, ok := transport.(*http.Transport); ok {
		// Else net/http would unpack what was stored packed.
		t = t.Clone()
		t.DisableCompression = true
		transport = t
	}
	core, err := minio.NewCore(endpoint, &minio.Options{
		Creds: awsCredentials(), Secure: secure, Region: o.Region, Transport: transport,
		MaxRetries: 1, // a transfer has its own
	})
	if err != nil {
		return nil, fail(BadSource, "the S3 endpoint %q cannot be used: %v", o.Endpoint, err).because(err)
	}
	return &objects{core}, nil
}

// awsCredentials looks where AWS's tools look. The services of a cloud machine
// are asked only if the environment says that there are some: elsewhere the
// question would only be answered by a timeout.
func awsCredentials() *credentials.Credentials {
	chain := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}
	for _, name := range []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		if os.Getenv(name) != "" {
			chain = append(chain, &credentials.IAM{})
			break
		}
	}
	return credentials.NewChainCredentials(chain)
}

// planObjects asks the store for the object's version or, if the key ends in /,
// for those of the PEFT adapter's files.
func (f *Fetcher) planObjects(ctx context.Context, r Ref) (*plan, error) {
	store, err := f.objects()
	if err != nil {
		return nil, err
	}
	p := &plan{format: path.Base(r.key)}
	keys := []string{r.key}
	if strings.HasSuffix(r.key, "/") {
		p.peft, keys = true, []string{r.key + peftConfig, r.key + peftWeights}
	} else if byName(r.key) == unknown && path.Ext(r.key) != "" {
		return nil, fail(BadSource, "%s: the object is none of %s; a PEFT adapter's key ends in /", r, formats)
	}
	for _, key := range keys {
		var info minio.ObjectInfo
		err := f.persist(ctx, r.String(), func() (bool, error) {
			var err error
			info, err = store.stat(ctx, f, r, key)
			return false, err
		})
		if err != nil {
			return nil, err
		}
		p.validator += key + "=" + info.ETag + ";"
		p.files = append(p.files, store.file(r, key, info))
	}
	if !p.peft {
		p.files[0].name = "file"
	}
	return p, nil
}

// stat asks for an object's size and version. It is one attempt.
func (o *objects) stat(parent context.Context, f *Fetcher, r Ref, key string) (minio.ObjectInfo, error) {
	ctx, cancel := context.WithTimeoutCause(parent, f.stall, errStalled)
	defer cancel()
	info, err := o.core.StatObject(ctx, r.bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return info, transferError(ctx, r.String(), objectError(r, key, err))
	}
	return info, nil
}

func (o *objects) file(r Ref, key string, info minio.ObjectInfo) remote {
	version := `"` + info.ETag + `"`
	return remote{
		name: path.Base(key), size: info.Size,
		open: func(ctx context.Context, from int64, etag string) (*stream, error) {
			if from > 0 && etag != "" && etag != version || from > info.Size {
				return nil, errRestart
			}
			if from == info.Size && from > 0 {
				return &stream{body: http.NoBody, close: http.NoBody.Close, from: from, total: from, etag: version}, nil
			}
			var opts minio.GetObjectOptions
			if err := opts.SetMatchETag(info.ETag); err != nil {
				return nil, err
			}
			if from > 0 {
				if err := opts.SetRange(from, 0); err != nil {
					return nil, err
				}
			}
			body, _, header, err := o.core.GetObject(ctx, r.bucket, key, opts)
			if err != nil {
				return nil, objectError(r, key, err)
			}
			s := &stream{body: body, close: body.Close, total: info.Size, etag: version}
			if at, _, err := contentRange(header.Get("Content-Range")); err == nil {
				s.from = at
			}
			return s, nil
		},
	}
}

// objectError explains a store's refusal. Other errors it returns as they are.
func objectError(r Ref, key string, err error) error {
	var e minio.ErrorResponse
	if !errors.As(err, &e) {
		return err
	}
	what := r.String()
	status := &http.Response{StatusCode: e.StatusCode, Header: http.Header{}}
	switch e.Code {
	case "NoSuchKey":
		if key != r.key {
			what += " (" + path.Base(key) + ")"
		}
		return fail(NotFound, "%s: the bucket has no such object", what).because(err)
	case "NoSuchBucket":
		return fail(NotFound, "%s: there is no such bucket", what).because(err)
	case "PreconditionFailed":
		return errReplaced
	case "InvalidRange":
		return errRestart
	case "SlowDown", "SlowDownRead", "RequestTimeout", "InternalError", "ServiceUnavailable":
		status.StatusCode = max(status.StatusCode, http.StatusInternalServerError)
	case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken":
		status.StatusCode = http.StatusForbidden
	}
	switch status.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fail(Unauthorized, "%s: the store refuses (%s); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may read", what, e.Code).because(err)
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusBadRequest:
		return fail(HTTPStatus, "%s: the store answered %s (%s); check the region and the endpoint", what, strconv.Itoa(e.StatusCode), e.Code).because(err)
	}
	return statusError(what, status).because(err)
}
