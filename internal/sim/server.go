package sim

import (
	"slices"

	"github.com/loragate/loragate/internal/sched"
)

// device is a GPU, or a host's processors. Servers on it share its speed.
type device struct {
	busy      int // servers in a step
	busySince sched.Time
	busyTime  sched.Time
}

func (d *device) begin(now sched.Time) {
	if d.busy == 0 {
		d.busySince = now
	}
	d.busy++
}

func (d *device) end(now sched.Time) {
	d.busy--
	if d.busy == 0 {
		d.busyTime += now - d.busySince
	}
}

// server is a modelled llama-server. It works in steps, each of which gives every
// request of a batch one token.
type server struct {
	id     int
	device *device
	slots  int
	// raw servers get requests of several adapters at once and order them as
	// llama-server does. For others the policy sees to it that they do not.
	raw bool

	ready   sched.Time // when its last swap is done
	pending []*job     // in slots, their prompts not begun
	active  []*job     // being generated
	batch   []*job     // those of active that are in the present step
	inStep  bool
	queued  bool   // in the engine's list of servers that may begin a step
	current string // the adapter of the last step, if raw
}

// admit makes those pending requests active that the server begins now, and
// returns the adapters that it takes up.
func (s *server) admit() (begun []*job, takenUp []string) {
	if len(s.pending) == 0 {
		return nil, nil
	}
	begin := func(*job) bool { return true }
	if s.raw {
		adapters := s.adapters(s.active)
		if len(adapters) == 0 {
			adapters = s.wakeUp()
			takenUp = adapters
		}
		begin = func(j *job) bool { return slices.Contains(adapters, j.Adapter) }
	}
	rest := s.pending[:0]
	for _, j := range s.pending {
		if begin(j) {
			begun = append(begun, j)
		} else {
			rest = append(rest, j)
		}
	}
	clear(s.pending[len(rest):])
	s.pending = rest
	s.active = append(s.active, begun...)
	return begun, takenUp
}

// wakeUp returns the adapters that a raw server begins when nothing is being
// generated: all that have several requests, or else the first one.
func (s *server) wakeUp() []string {
	counts := map[string]int{}
	for _, j := range s.pending {
		counts[j.Adapter]++
	}
	var several []string
	for _, a := range s.adapters(s.pending) {
		if s.alternates(counts[a]) {
			several = append(several, a)
		}
	}
	if len(several) > 0 {
		return several
	}
	return []string{s.pending[0].Adapter}
}

func (s *server) alternates(requests int) bool {
	m := s.pending[0].model
	return m.AlternateMin > 0 && requests >= m.AlternateMin
}

// adapters lists the adapters of requests, each once, in order.
func (s *server) adapters(jobs []*job) []string {
	var list []string
	for _, j := range jobs {
		if !slices.Contains(list, j.Adapter) {
			list = append(list, j.Adapter)
		}
	}
	return list
}

// step chooses the batch of the next step and returns how long it takes on a
// device of its own. There must be an active request.
func (s *server) step(m *Model) float64 {
	s.batch = s.batch[:0]
	extra := 0.0
	if s.raw {
		adapters := s.adapters(s.active)
		turn := adapters[(slices.Index(adapters, s.current)+1)%len(adapters)]
		switch {
		case len(adapters) > 1:
			extra = float64(m.Switch)
		case turn != s.current:
			extra = float64(m.Swap)
		}
		s.current = turn
	}
	prompts, tokens := 0, 0
	for _, j := range s.active {
		if s.raw && j.Adapter != s.current {
			continue
		}
		s.batch = append(s.batch, j)
		if j.tokens == 0 {
			prompts++
			tokens += max(0, j.PromptTokens-j.warm/bytesPerToken)
		}
	}
	if prompts > 0 {
		extra += m.prefill(tokens)
	}
	return m.step(len(s.batch)) + extra
}

// drop takes a request out of those that were not begun and reports whether it
// was among them.
func (s *server) drop(j *job) bool {
	i := slices.Index(s.pending, j)
	if i >= 0 {
		s.pending = slices.Delete(s.pending, i, i+1)
	}
	return i >= 0
}

// end takes a request out of those being generated.
func (s *server) end(j *job) {
	s.active = slices.DeleteFunc(s.active, func(x *job) bool { return x == j })
}
