package logsink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// output is a file that can be slow and can fail.
type output struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes int
	fail   func(lines []byte) (int, error) // nil works
	gate   chan struct{}                   // nil is open; else each write takes one
}

func (o *output) Write(lines []byte) (int, error) {
	if o.gate != nil {
		<-o.gate
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writes++
	if o.fail != nil {
		n, err := o.fail(lines)
		o.text.Write(lines[:n])
		return n, err
	}
	return o.text.Write(lines)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) setFail(fail func([]byte) (int, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail = fail
}

// losses collects what is reported.
type losses []string

func (l *losses) report(lines int, cause error) { *l = append(*l, fmt.Sprintf("%d: %v", lines, cause)) }

func none(t *testing.T) func(int, error) {
	return func(lines int, cause error) { t.Errorf("%d lines were lost: %v", lines, cause) }
}

func TestLinesOfManyAreAllWrittenInOrder(t *testing.T) {
	out := &output{}
	s := New(out, none(t))
	const clients, each = 8, 5000
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for n := range each {
				fmt.Fprintf(s, "%d %d\n", c, n)
			}
		})
	}
	all.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var next [clients]int
	for line := range strings.Lines(out.String()) {
		var c, n int
		if _, err := fmt.Sscanf(line, "%d %d\n", &c, &n); err != nil || n != next[c] {
			t.Fatalf("line %q, want number %d (%v)", line, next[c], err)
		}
		next[c]++
	}
	for c, n := range next {
		if n != each {
			t.Errorf("%d lines of client %d, want %d", n, c, each)
		}
	}
	if out.writes > clients*each/100 {
		t.Errorf("%d writes for %d lines", out.writes, clients*each)
	}
}

func TestLinesWaitForDelayAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &output{}
		s := New(out, none(t))
		defer s.Close()
		for _, want := range []string{"a\nb\n", "a\nb\nc\n"} {
			s.Write([]byte(strings.TrimPrefix(want, out.String())))
			time.Sleep(delay - 1)
			synctest.Wait()
			if got := out.String(); got == want {
				t.Errorf("%q was written before its time", got)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if got := out.String(); got != want {
				t.Errorf("%q after the delay, want %q", got, want)
			}
		}
		if out.writes != 2 {
			t.Errorf("%d writes, want 2", out.writes)
		}
	})
}

func TestHalfFullIsWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &output{}
		s := New(out, none(t))
		defer s.Close()
		line := strings.Repeat("x", 99) + "\n"
		for range limit / 2 / len(line) {
			s.Write([]byte(line))
		}
		synctest.Wait()
		if got := out.String(); got != "" {
			t.Errorf("%d bytes were written before it was half full", len(got))
		}
		s.Write([]byte(line))
		synctest.Wait()
		if got := len(out.String()); got <= limit/2 {
			t.Errorf("%d bytes are written", got)
		}
	})
}

func TestWarningsAreWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &output{}
		s := New(out, none(t))
		defer s.Close()
		log := slog.New(s.Handler(slog.NewTextHandler(s, nil))).With("a", 1).WithGroup("g")
		log.Info("quiet")
		synctest.Wait()
		if got := out.String(); got != "" {
			t.Errorf("%q was written at once", got)
		}
		log.Warn("loud", "b", 2)
		synctest.Wait()
		if got := out.String(); !strings.Contains(got, "quiet a=1\n") || !strings.HasSuffix(got, "loud a=1 g.b=2\n") {
			t.Errorf("written: %q", got)
		}
	})
}

// TestFullWaits has a slow output: whoever logs must wait, and nothing may be lost.
func TestFullWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &output{gate: make(chan struct{})}
		s := New(out, none(t))
		line := []byte(strings.Repeat("x", 1023) + "\n")
		const lines = 8 * limit / 1024
		written := 0
		go func() {
			for range lines {
				s.Write(line)
				written++
			}
		}()
		for range 3 {
			synctest.Wait()
			if written == lines || len(s.waiting) > limit {
				t.Fatalf("%d lines of %d are taken in, %d bytes wait", written, lines, len(s.waiting))
			}
			time.Sleep(patience - 1) // it is slow, and not stuck
			out.gate <- struct{}{}
		}
		close(out.gate)
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := len(out.String()); got != lines*len(line) {
			t.Errorf("%d bytes are written, want %d", got, lines*len(line))
		}
	})
}

// TestStuckOutputStopsNobody has an output that takes nothing for longer than patience.
func TestStuckOutputStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, lost := &output{gate: make(chan struct{})}, losses{}
		s := New(out, lost.report)
		half := []byte(strings.Repeat("x", limit/2-1) + "\n")
		for range 3 { // one is with the writer, two wait
			s.Write(half)
			synctest.Wait()
		}
		begun := time.Now()
		if _, err := s.Write([]byte("gone\n")); !errors.Is(err, errStuck) {
			t.Errorf("a line was taken in by a full sink: %v", err)
		}
		if waited := time.Since(begun); waited != patience {
			t.Errorf("the first line waited for %s, want %s", waited, patience)
		}
		if _, err := s.Write([]byte("gone, too\n")); err == nil || time.Since(begun) != patience {
			t.Errorf("the second line was taken in, or waited: %v", err)
		}
		close(out.gate)
		synctest.Wait()
		s.Write([]byte("works again\n"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(lost); got != "[2: the output takes nothing]" {
			t.Errorf("reported: %s", got)
		}
		if got := out.String(); !strings.HasSuffix(got, "x\nworks again\n") {
			t.Errorf("%q is written last", got[len(got)-20:])
		}
	})
}

func TestFailuresAreReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, lost := &output{}, losses{}
		s := New(out, lost.report)
		log := func(line string) {
			s.Write([]byte(line))
			s.Flush()
			synctest.Wait()
		}
		full := errors.New("disk full")
		out.setFail(func(lines []byte) (int, error) { return 3, full })
		log("one\ntwo\n")
		out.setFail(func(lines []byte) (int, error) { return 2, full })
		log("three\n")
		if len(lost) > 0 {
			t.Errorf("reported while nothing can be written: %v", lost)
		}
		out.setFail(nil)
		log("four\n")
		log("five\n")
		if got := fmt.Sprint(lost); got != "[3: disk full]" {
			t.Errorf("reported: %s", got)
		}
		if got := out.String(); got != "one\nt\nfour\nfive\n" {
			t.Errorf("written: %q", got)
		}
		s.Close()
	})
}

func TestLongLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &output{}
		s := New(out, none(t))
		long := strings.Repeat("x", 5*limit) + "\n"
		for _, line := range []string{"a\n", long, "b\n", long} {
			s.Write([]byte(line))
		}
		s.Close()
		if got := out.String(); got != "a\n"+long+"b\n"+long {
			t.Errorf("%d bytes are written", len(got))
		}
		if len(s.waiting)+cap(s.waiting) > 2*limit {
			t.Errorf("room for %d bytes is kept", cap(s.waiting))
		}
	})
}

func TestLinesAfterClose(t *testing.T) {
	out := &output{}
	s := New(out, none(t))
	s.Write([]byte("before\n"))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s.Write([]byte("after\n"))
	if got := out.String(); got != "before\nafter\n" {
		t.Errorf("written: %q", got)
	}
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &output{gate: make(chan struct{})}
		s := New(out, func(int, error) {})
		s.Write([]byte("line\n"))
		begun := time.Now()
		if err := s.Close(); !errors.Is(err, errStuck) || time.Since(begun) != patience {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		if _, err := s.Write([]byte("line\n")); !errors.Is(err, errStuck) {
			t.Errorf("a line after that: %v", err)
		}
		close(out.gate)
	})
}

// BenchmarkWrite tells what a line costs whoever logs it.
func BenchmarkWrite(b *testing.B) {
	s := New(io.Discard, func(int, error) {})
	defer s.Close()
	line := []byte(strings.Repeat("x", 350) + "\n")
	b.ReportAllocs()
	for b.Loop() {
		s.Write(line)
	}
}
