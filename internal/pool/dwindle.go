package pool

import "slices"

// Dwindle has workers end one after the other, each as soon as nothing runs on it, nothing
// waits and another can serve what may still come: the last one stays until Close. ended
// is told the device of each when its process is gone; it may block. Spares are told of
// to nobody, and none starts any more. It is called at most once.
func (p *Pool) Dwindle(ended func(device string)) {
	p.withLock(func() {
		p.ended = ended
		p.state.leave()
	})
}

// Devices returns what each worker runs on, "" where llama-server picks; spares have no
// place in it. It reports false while it is not known how many workers there are.
func (p *Pool) Devices() (devices []string, known bool) {
	select {
	case <-p.sized:
	default:
		return nil, false
	}
	p.withLock(func() {
		for _, m := range p.state.members[:p.count] {
			devices = append(devices, m.device)
		}
	})
	return devices, true
}

// PIDs returns the processes that are up.
func (p *Pool) PIDs() (pids []int) {
	p.withLock(func() {
		for _, m := range p.state.members {
			if m.up != nil {
				pids = append(pids, m.up.PID())
			}
		}
	})
	return pids
}

// leave has members go from now on, as soon as they are not needed.
func (s *state) leave() {
	s.leaving = true
	s.sched.Shrink(s.now())
	s.schedule()
}

// dwindle lets those members go that are not needed any more.
func (s *state) dwindle() {
	if !s.leaving || s.closing || len(s.waiting) > 0 || len(s.trials.queue) > 0 || s.trials.on() {
		return
	}
	for _, m := range s.members {
		pausing := m.up == nil && m.restart.After(s.effects.now())
		if m.up == nil && !pausing || !s.dispensable(m) {
			continue // what starts is let go when it is up
		}
		if m.up != nil {
			s.replace(m)
		}
		s.goes(m)
		s.effects.begin(m) // which wakes one that pauses
	}
}

// dispensable reports whether the members can do without one.
func (s *state) dispensable(m *member) bool {
	if !s.leaving || m.over || s.sched.Vacant(m.id) || !s.sched.Removable(m.id) {
		return false
	}
	return slices.ContainsFunc(s.members, func(x *member) bool { return x != m && !x.over && s.sched.Serves(x.id) })
}

func (s *state) goes(m *member) {
	m.over = true
	s.sched.Remove(m.id, s.now())
}
