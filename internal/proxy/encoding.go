package proxy

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/loragate/loragate/internal/httpkit"
)

// maxWindow bounds what a zstd frame may have its reader remember, in bytes: what RFC 8878
// wants every reader to have.
const maxWindow = 8 << 20

// decoded returns a request's body as it was before its Content-Encoding, and how long that is, -1
// if it is not known. It reads no more than where the encoding shows. Whoever reads it bounds
// how much: a few bytes can stand for gigabytes.
func decoded(req *http.Request) (body io.ReadCloser, length int64, err error) {
	encoding := strings.ToLower(strings.TrimSpace(req.Header.Get("Content-Encoding")))
	sent := &sender{r: req.Body}
	var r io.Reader
	switch encoding {
	case "", "identity":
		return req.Body, req.ContentLength, nil
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(sent)
	case "deflate":
		r, err = inflate(sent)
	case "zstd":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(sent, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow)); err == nil {
			return &decoding{z, z.Close, encoding, sent}, -1, nil
		}
	case "br":
		r = brotli.NewReader(sent)
	default:
		return nil, 0, &httpkit.Error{
			Status: http.StatusUnsupportedMediaType, Type: httpkit.TypeInvalid, Code: "unsupported_encoding",
			Message: "The Content-Encoding of the request is " + httpkit.Shorten(encoding) +
				": gzip, deflate, zstd and br can be read.",
		}
	}
	if err != nil {
		return nil, 0, sent.blame(encoding, err)
	}
	return &decoding{r, func() {}, encoding, sent}, -1, nil
}

// decoding is a body that is being decoded.
type decoding struct {
	io.Reader
	end      func()
	encoding string
	sent     *sender
}

func (d *decoding) Read(b []byte) (int, error) {
	n, err := d.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = d.sent.blame(d.encoding, err)
	}
	return n, err
}

func (d *decoding) Close() error {
	d.end()
	return nil
}

// sender is a body as it comes.
type sender struct {
	r   io.Reader
	err error // why it could not be read to its end; nil if it could so far
}

func (s *sender) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// blame returns the sender's own error, if there is one, or that what it sent is not what it
// was said to be, which is one that it must be told of.
func (s *sender) blame(encoding string, err error) error {
	if s.err != nil {
		return s.err
	}
	return badEncoding(encoding, err)
}

// inflate reads "deflate", which is zlib's format by RFC 9110, and the bare one by habit.
func inflate(body io.Reader) (io.Reader, error) {
	r := bufio.NewReader(body)
	start, err := r.Peek(2)
	if err != nil {
		return nil, err
	}
	const method, check = 8, 31 // of RFC 1950
	if start[0]&0xf == method && (int(start[0])<<8|int(start[1]))%check == 0 {
		return zlib.NewReader(r)
	}
	return flate.NewReader(r), nil
}

func badEncoding(encoding string, cause error) *httpkit.Error {
	return &httpkit.Error{
		Status: http.StatusBadRequest, Type: httpkit.TypeInvalid,
		Message: "The request body is not what its Content-Encoding says, " + encoding + ".", Cause: cause,
	}
}
