// Package sse reads server-sent events from a worker and sends them to a client.
package sse

import (
	"bytes"
	"errors"
	"io"

	"github.com/loragate/loragate/internal/rawjson"
	"github.com/loragate/loragate/internal/upstream"
)

// Lines is what a Reader reads from; *upstream.Body is the real one.
type Lines interface {
	ReadSlice(delim byte) ([]byte, error)
	Peek(n int) ([]byte, error)
	Buffered() int
}

// Reader cuts a stream into server-sent events, each with the blank line that ends it.
type Reader struct {
	From Lines

	buf []byte
}

// maxEvent bounds what one event may take of memory.
const maxEvent = 32 << 20

var errEventTooLong = errors.New("an event is longer than 32 MiB")

// Next blocks until an event is whole and returns it; it is valid until the
// next call. Comments are passed over: llama-server sends them while it has nothing to say. A
// stream that ends returns io.EOF, in the middle of an event
// io.ErrUnexpectedEOF.
func (r *Reader) Next() ([]byte, error) {
	r.buf = r.buf[:0]
	lineStart := 0
	for {
		part, err := r.From.ReadSlice('\n')
		r.buf = append(r.buf, part...)
		switch {
		case err == nil:
		case errors.Is(err, upstream.ErrBufferFull):
			if len(r.buf) > maxEvent {
				return nil, errEventTooLong
			}
			continue
		case errors.Is(err, io.EOF) && len(r.buf) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
		if len(r.buf) > maxEvent {
			return nil, errEventTooLong
		}
		blank := len(bytes.TrimRight(r.buf[lineStart:], "\r\n")) == 0
		if blank && lineStart > 0 && !isComment(r.buf) {
			return r.buf, nil
		}
		if blank {
			r.buf = r.buf[:0] // blank lines before an event mean nothing
		}
		lineStart = len(r.buf)
	}
}

// isComment reports whether what would be an event is but a comment, of one line.
func isComment(event []byte) bool {
	return event[0] == ':' && bytes.IndexByte(bytes.TrimRight(event, "\r\n"), '\n') < 0
}

// Ready reports whether a whole further event has arrived already.
func (r *Reader) Ready() bool {
	waiting, _ := r.From.Peek(r.From.Buffered())
	return bytes.Contains(waiting, []byte("\n\n"))
}

// DataPrefix begins a line of an event's data.
var DataPrefix = []byte("data: ")

// IsDone reports whether an event, less the ends of its lines, says that its stream is
// complete.
func IsDone(line []byte) bool { return string(line) == "data: [DONE]" }

// Event returns an event of data, which must be one line, with lines before it.
func Event(head string, data []byte) []byte {
	return bytes.Join([][]byte{[]byte(head), DataPrefix, data, []byte("\n\n")}, nil)
}

// Object returns the object that an event's data is, and the lines before it.
func Object(line []byte) (head []byte, object rawjson.Object, ok bool) {
	head, data, ok := Data(line)
	if !ok {
		return nil, object, false
	}
	object, ok = rawjson.Scan(data)
	return head, object, ok
}

// Data returns an event's data, and the lines before it; the event must have
// one line of data, which is its last.
func Data(line []byte) (head, data []byte, ok bool) {
	at := bytes.LastIndexByte(line, '\n') + 1
	data, ok = bytes.CutPrefix(line[at:], DataPrefix)
	head = line[:at]
	return head, data, ok && !bytes.HasPrefix(head, DataPrefix) && !bytes.Contains(head, []byte("\ndata:"))
}
