package pool

// SetStock says which files there are now. Workers are restarted, one at a time,
// when what they have loaded should be something else; see docs/scheduling.md.
func (p *Pool) SetStock(stock []Stock) {
	p.withLock(func() {
		p.state.sched.SetStock(stock, p.state.now())
		p.state.rejectRoomless()
		p.state.schedule()
	})
}

// Drain keeps new requests from a worker, until it is called with false, through
// its restarts. It reports false if there is no worker of that number.
func (p *Pool) Drain(id int, drained bool) (exists bool) {
	p.withLock(func() {
		if exists = id >= 0 && id < len(p.state.members); exists {
			p.state.sched.Drain(id, drained, p.state.now())
			p.state.schedule()
		}
	})
	return exists
}

// Restart lets a worker's requests end and replaces its process. It reports false
// if there is no worker of that number that is up.
func (p *Pool) Restart(id int) (up bool) {
	p.withLock(func() {
		if up = id >= 0 && id < len(p.state.members) && p.state.members[id].up != nil; up {
			p.state.sched.Restart(id)
			p.state.schedule()
		}
	})
	return up
}

// Kill ends every worker that is up at once; only useful when the pool is to be
// closed without waiting for workers to end by themselves.
func (p *Pool) Kill(cause string) {
	p.withLock(func() {
		for _, m := range p.state.members {
			if m.up != nil {
				m.up.Kill(cause)
			}
		}
	})
}
