package fetch

import (
	"context"
	"errors"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/loragate/loragate/internal/fetch/archive"
	"github.com/loragate/loragate/internal/fetch/failure"
)

// plan asks the store for the object's version or, if the key ends in /, for those of the
// PEFT adapter's files. It is one attempt.
func (o *objects) plan(ctx context.Context, r Ref) (*plan, error) {
	p := &plan{format: path.Base(r.key)}
	keys := []string{r.key}
	if strings.HasSuffix(r.key, "/") {
		p.peft, keys = true, []string{r.key + archive.PEFTConfig, r.key + archive.PEFTWeights}
	} else if archive.ByName(r.key) == archive.Unknown && path.Ext(r.key) != "" {
		return nil, failure.BadSource.New("%s: the object is none of %s; a PEFT adapter's key ends in /",
			r, archive.Formats)
	}
	for _, key := range keys {
		info, err := o.stat(ctx, r, key)
		if err != nil {
			return nil, err
		}
		p.validator += key + "=" + info.ETag + ";"
		p.files = append(p.files, o.file(r, key, info))
	}
	if !p.peft {
		p.files[0].name = "file"
	}
	return p, nil
}

// stat asks for an object's size and version.
func (o *objects) stat(parent context.Context, r Ref, key string) (minio.ObjectInfo, error) {
	ctx, cancel := context.WithTimeoutCause(parent, o.stall, failure.ErrStalled)
	defer cancel()
	info, err := o.core.StatObject(ctx, r.bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return info, failure.Transfer(ctx, r.String(), objectError(r, key, err))
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
		return failure.NotFound.New("%s: the bucket has no such object", what).Because(err)
	case "NoSuchBucket":
		return failure.NotFound.New("%s: there is no such bucket", what).Because(err)
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
		return failure.Unauthorized.New(
			"%s: the store refuses (%s); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may read",
			what, e.Code).Because(err)
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusBadRequest:
		return failure.HTTPStatus.New("%s: the store answered %s (%s); check the region and the endpoint",
			what, strconv.Itoa(e.StatusCode), e.Code).Because(err)
	}
	return statusError(what, status).Because(err)
}
