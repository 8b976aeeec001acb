package sched

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestScanDoesNotDriveOutWhatIsInUse lets a client go over hundreds of adapters, two
// a second and one request each, while others use a few every few seconds.
func TestScanDoesNotDriveOutWhatIsInUse(t *testing.T) {
	const room = 8
	for _, c := range []struct {
		workers, hot int
		missed       float64 // at most, of the requests for the hot ones
	}{
		{1, 4, 0.5}, // as long as the only worker restarts, all miss
		{2, 7, 0.02},
		{3, 14, 0.02},
	} {
		t.Run(fmt.Sprint(c.workers), func(t *testing.T) {
			s := newScan(t, bounded(c.workers, room), c.hot)
			s.open()
			s.run()
			t.Logf("%d of %d requests for what is in use missed; %d scanned with %d reloads in %s",
				s.misses, s.asked, s.scanned, s.s.Counts().Reloads, s.Now())
			if rate := float64(s.misses) / float64(s.asked); rate > c.missed {
				t.Errorf("%.1f %% of the requests for what is in use missed", 100*rate)
			}
			if least := Time(s.s.Counts().Reloads-1) * townInterval; s.Now() < least {
				t.Errorf("%d reloads in %s", s.s.Counts().Reloads, s.Now())
			}
		})
	}
}

// scan is a town with a client who goes over all files but the first, hot ones,
// which others use all the time.
type scan struct {
	*town
	hot                    int
	scanned, asked, misses int
}

// warmUp is how long it takes until it is known which files are hot.
const warmUp = 30 * time.Second

func newScan(t *testing.T, o Options, hot int) *scan {
	s := &scan{town: plainTown(t, seeds(1)[0], o), hot: hot}
	s.all = stockOf(1000)
	s.stop, s.longest, s.arrives = 5*time.Minute, 200*time.Millisecond, s.next
	s.plans = func(id int, files []File) {
		for _, st := range s.all[:hot] {
			if w := s.s.status().Members[id].Had; s.Now() > warmUp && slices.Contains(w, st.File) &&
				!slices.Contains(files, st.File) {
				t.Errorf("at %s worker %d has to make room for %v with %s, which is in use", s.Now(), id, files, st.File)
			}
		}
	}
	return s
}

func (s *scan) next() {
	s.arrival = s.At(s.Now()+300*time.Millisecond, s.next)
	n := s.hot + s.scanned
	if s.rng.IntN(3) == 0 {
		n = s.rng.IntN(s.hot)
	}
	file := s.all[n].File
	missed := !s.s.Loaded(file)
	s.arrive(Request{Identity: Identity(file), Files: []File{file}})
	switch {
	case n >= s.hot:
		s.scanned++
	case s.Now() > warmUp:
		if s.asked++; missed {
			s.misses++
		}
	}
}
