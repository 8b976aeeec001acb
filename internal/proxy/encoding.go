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

// leastWindow is what a zstd frame may have its reader remember in any case, in bytes: what RFC 8878
// wants every reader to have.
const leastWindow = 8 << 20

// maxDecoding bounds how many bodies are decoded at once: a few bytes make a reader of br or
// zstd have tens of megabytes, which no count of a body's bytes shows.
const maxDecoding = 4

// unpacker reads what was encoded; end is to be called when that is over.
type unpacker func(encoded io.Reader) (plain io.Reader, end func(), err error)

// unpackerFor returns what reads a body of a request as it was before its Content-Encoding, nil if
// it has none, for one that stands for so many bytes at most. Whoever reads by it bounds how much: a
// few bytes can stand for gigabytes.
func unpackerFor(header http.Header, limit int64) (encoding string, u unpacker, err error) {
	encoding = strings.ToLower(strings.TrimSpace(strings.Join(header.Values("Content-Encoding"), ", ")))
	switch encoding {
	case "", "identity":
		return encoding, nil, nil
	case "gzip", "x-gzip":
		u = endless(func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) })
	case "deflate":
		u = endless(inflate)
	case "zstd":
		u = func(r io.Reader) (io.Reader, func(), error) {
			z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1),
				zstd.WithDecoderMaxWindow(uint64(max(leastWindow, limit))))
			if err != nil {
				return nil, nil, err
			}
			return z, z.Close, nil
		}
	case "br":
		u = endless(func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil })
	default:
		return encoding, nil, &httpkit.Error{
			Status: http.StatusUnsupportedMediaType, Type: httpkit.TypeInvalid, Code: "unsupported_encoding",
			Message: "The Content-Encoding of the request is " + httpkit.Shorten(encoding) +
				": gzip, deflate, zstd and br can be read.",
		}
	}
	return encoding, u, nil
}

// endless is an unpacker that holds nothing to be given back.
func endless(open func(io.Reader) (io.Reader, error)) unpacker {
	return func(r io.Reader) (io.Reader, func(), error) {
		plain, err := open(r)
		return plain, func() {}, err
	}
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
	if errors.Is(cause, zstd.ErrWindowSizeExceeded) {
		return httpkit.Invalid("", "The request body's zstd frames want more of a window than the body may have bytes.")
	}
	return &httpkit.Error{
		Status: http.StatusBadRequest, Type: httpkit.TypeInvalid,
		Message: "The request body is not what its Content-Encoding says, " + encoding + ".", Cause: cause,
	}
}
