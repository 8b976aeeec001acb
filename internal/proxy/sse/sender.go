package sse

import (
	"net/http"
	"sync"
	"time"
)

// Sender writes a stream's events to its client. The client's handler owns it.
type Sender struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	timeout  time.Duration
	waiting  []byte    // events that are to leave with the next ones
	room     *room     // what they lie in; nil while there are none
	last     time.Time // when the last event came
	extended time.Time // when the write deadline was set last
}

// NewSender returns one that writes to w, whose deadlines control sets. A client that does
// not read for the timeout is dropped.
func NewSender(w http.ResponseWriter, control *http.ResponseController, timeout time.Duration) *Sender {
	return &Sender{w: w, control: control, timeout: timeout}
}

// Mark notes that an event has come and returns how long that took; 0 for the
// first one.
func (s *Sender) Mark() (gap time.Duration) {
	now := time.Now()
	if !s.last.IsZero() {
		gap = now.Sub(s.last)
	}
	s.last = now
	return gap
}

// Pause says that the time until the next event is no gap between two.
func (s *Sender) Pause() { s.last = time.Time{} }

// maxWaiting bounds the events that leave together, in bytes.
const maxWaiting = 16 << 10

// room is for events that wait. Few streams have any at the same time.
type room [maxWaiting]byte

var rooms = sync.Pool{New: func() any { return new(room) }}

// Send writes an event and, unless the next one is there already, sees to it
// that it leaves.
func (s *Sender) Send(event []byte, flush bool) error {
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
	if s.last.Sub(s.extended) > s.timeout/8 {
		s.extended = s.last
		_ = s.control.SetWriteDeadline(s.last.Add(s.timeout))
	}
	if _, err := s.w.Write(event); err != nil {
		return err
	}
	if !flush {
		return nil
	}
	return s.control.Flush()
}
