// Package logsink takes the writing of a log off the path of those who log: they
// leave their lines in memory, in order, and one goroutine writes them, many at a
// time.
package logsink

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
)

const (
	// limit is how many bytes wait at most, but for one line that is longer. As many
	// again may be with the writer.
	limit = 64 << 10
	// delay is how long a line may wait for others to be written with.
	delay = 100 * time.Millisecond
	// patience is how long a full sink waits for its output to take something. What
	// takes nothing for so long is given up: a log must not stop its program.
	patience = 10 * time.Second
)

// Sink is an io.Writer whose every Write is one line or more of a log. It is safe
// for concurrent use. Lines reach the output in the order of the calls, and none is
// lost unless the output fails or takes nothing for long.
type Sink struct {
	out    io.Writer // the writer's alone until it has ended
	report func(lines int, cause error)
	wake   chan struct{} // has one when lines are to be written now
	stop   chan struct{} // closed by Close
	done   chan struct{} // closed when the writer has ended
	once   sync.Once     // for Close
	half   bool          // the writer's: the output ends in the middle of a line

	// mu guards what follows. The writer holds it for moments only.
	mu      sync.Mutex
	room    sync.Cond   // told when the writer has taken lines, or is given up
	waiting []byte      // lines, whole ones
	timer   *time.Timer // wakes the writer when the first of them has waited for delay
	stuck   bool        // the output was given up, until it takes something
	closed  bool        // there is no writer any more
	lost    int         // lines that have not been reported
	cause   error       // of the last loss
}

// errStuck is the cause when lines were given up because the output took nothing.
var errStuck = errors.New("the output takes nothing")

// New returns a sink that writes to out until Close. report is told how many lines
// were lost and why, once out works again; it is called by the writer and must not
// write to the sink.
func New(out io.Writer, report func(lines int, cause error)) *Sink {
	s := &Sink{
		out: out, report: report,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	s.room.L = &s.mu
	s.timer = time.AfterFunc(delay, s.Flush)
	go s.run()
	return s
}

// Write takes lines in. It blocks only while there is no room, and fails only if they
// are lost.
func (s *Sink) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.awaitRoom(len(lines)) {
		s.lose(lines, errStuck)
		return 0, errStuck
	}
	if s.closed {
		return s.out.Write(lines)
	}
	if len(s.waiting) == 0 {
		s.timer.Reset(delay) // not for every line: it costs more than taking one in
	}
	s.waiting = append(s.waiting, lines...)
	if len(s.waiting) >= limit/2 {
		s.Flush()
	}
	return len(lines), nil
}

// awaitRoom blocks until there is room for n bytes. It reports false if there will be
// none. The caller holds the lock.
func (s *Sink) awaitRoom(n int) bool {
	for len(s.waiting) > 0 && len(s.waiting)+n > limit {
		if s.stuck {
			return false
		}
		timer := time.AfterFunc(patience, s.giveUp)
		s.room.Wait()
		timer.Stop()
	}
	return !s.closed || !s.stuck
}

func (s *Sink) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck = true
	s.room.Broadcast()
}

// lose counts lines that will not be written. The caller holds the lock.
func (s *Sink) lose(lines []byte, cause error) {
	s.lost += bytes.Count(lines, []byte{'\n'})
	s.cause = cause
}

// Flush lets the lines that wait be written now. It does not wait for that.
func (s *Sink) Flush() {
	select {
	case s.wake <- struct{}{}:
	default: // they will be
	}
}

// Close writes what waits; lines that come later are written at once, by their own
// callers. It blocks until all is written, or out has taken nothing for long.
func (s *Sink) Close() error {
	s.once.Do(func() { close(s.stop) })
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.done:
		return nil
	case <-timer.C:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed, s.stuck = true, true
		s.room.Broadcast()
		return errStuck
	}
}

// run is the writer.
func (s *Sink) run() {
	defer close(s.done)
	var batch []byte
	for stopping := false; !stopping; {
		select {
		case <-s.wake:
		case <-s.stop:
			stopping = true
		}
		for batch = s.take(batch, stopping); len(batch) > 0; batch = s.take(batch, stopping) {
			s.write(batch)
		}
	}
}

// take returns the lines that wait; the next ones go into the place of those that
// were written before. When it returns none at the end, the sink is closed.
func (s *Sink) take(written []byte, stopping bool) []byte {
	if cap(written) > 2*limit {
		written = nil // a very long line was there
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := s.waiting
	s.waiting = written[:0]
	s.room.Broadcast()
	if stopping && len(lines) == 0 {
		s.closed = true
		s.timer.Stop()
	}
	return lines
}

// write blocks on the output.
func (s *Sink) write(lines []byte) {
	if s.half {
		lines = append([]byte{'\n'}, lines...)
	}
	n, err := s.out.Write(lines)
	if n > 0 {
		s.half = lines[n-1] != '\n'
	}
	s.mu.Lock()
	s.stuck = s.closed // it takes something again, unless Close has not waited for that
	if err != nil {
		s.lose(lines[n:], err)
		s.mu.Unlock()
		return
	}
	lost, cause := s.lost, s.cause
	s.lost = 0
	s.mu.Unlock()
	if lost > 0 {
		s.report(lost, cause)
	}
}
