package sse

import (
	"net/http"
	"sync"
	"time"
)

// Sender writes a stream's events to its client. One goroutine at a time uses it.
type Sender struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	timeout  time.Duration
	waiting  []byte    // events that are to leave with the next ones
	room     *room     // what they lie in; nil while there are none
	extended time.Time // when the write deadline was set last
}

// NewSender returns one that writes to w, whose deadlines control sets. A client that does
// not read for the timeout is dropped.
func NewSender(w http.ResponseWriter, control *http.ResponseController, timeout time.Duration) *Sender {
	return &Sender{w: w, control: control, timeout: timeout}
}

// maxWaiting bounds the events that leave together, in bytes.
const maxWaiting = 16 << 10

// room is for events that wait. Few streams have any at the same time.
type room [maxWaiting]byte

var rooms = sync.Pool{New: func() any { return new(room) }}

// Send writes an event; with flush it sees to it that it leaves, as it should unless the next
// one is there already.
func (s *Sender) Send(event []byte, now time.Time, flush bool) error {
	if !flush && len(s.waiting)+len(event) < maxWaiting {
		if s.room == nil {
			s.room = rooms.Get().(*room)
			s.waiting = s.room[:0]
		}
		s.waiting = append(s.waiting, event...)
		return nil
	}
	if s.room != nil {
		event = append(s.waiting, event...)
		defer rooms.Put(s.room) // when they have left
		s.room, s.waiting = nil, nil
	}
	// Not at every event: setting a deadline costs as much as writing one.
	if now.Sub(s.extended) > s.timeout/8 {
		s.extended = now
		_ = s.control.SetWriteDeadline(now.Add(s.timeout))
	}
	if _, err := s.w.Write(event); err != nil {
		return err
	}
	if !flush {
		return nil
	}
	return s.control.Flush()
}
