package sse

import "bytes"

// Frame is what stands before and behind the text in an event. Nearly all events of a stream
// differ from the one before in a piece of text only: whoever remembers what was around that
// need look closely only at events that are not like it.
type Frame struct{ head, tail []byte }

// textKeys begin the text of an event: a chat's and of llama-server's own API, that
// of a chat's reasoning, a completion's, a response's, a tool call's.
var textKeys = [][]byte{
	[]byte(`"content":"`), []byte(`"reasoning_content":"`), []byte(`"text":"`), []byte(`"delta":"`),
	[]byte(`"arguments":"`),
}

// TextAt returns where the first text in an event begins that is not empty, or 0.
func TextAt(event []byte) int {
	for _, key := range textKeys {
		at := bytes.Index(event, key)
		if at += len(key); at >= len(key) && at < len(event) && event[at] != '"' {
			return at
		}
	}
	return 0
}

// FrameOf returns what is around the first text in an event.
func FrameOf(event []byte) (f Frame) {
	at := TextAt(event)
	if at == 0 {
		return Frame{}
	}
	end := bytes.IndexByte(event[at:], '"')
	if end < 0 || end > 0 && event[at+end-1] == '\\' {
		return Frame{} // the text has a quote in it
	}
	return Frame{head: bytes.Clone(event[:at]), tail: bytes.Clone(event[at+end:])}
}

// Text returns the text of an event that is like the frame's but for that: one
// JSON string, for there is no quote in it, nor is the one behind it escaped.
func (f *Frame) Text(event []byte) ([]byte, bool) {
	if f.head == nil || len(event) < len(f.head)+len(f.tail) ||
		!bytes.HasPrefix(event, f.head) || !bytes.HasSuffix(event, f.tail) {
		return nil, false
	}
	text := event[len(f.head) : len(event)-len(f.tail)]
	if bytes.IndexByte(text, '"') >= 0 || len(text) > 0 && text[len(text)-1] == '\\' {
		return nil, false
	}
	return text, true
}

// Append adds to out the event that the frame makes around a text.
func (f *Frame) Append(out, text []byte) []byte {
	return append(append(append(out, f.head...), text...), f.tail...)
}
