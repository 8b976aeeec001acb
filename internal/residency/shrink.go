package residency

// Shrink has no worker given up any more for files that nobody waits for, and no spare
// take a place: workers go one after the other from now on. A worker that drains for such
// files is released; Orders tells it.
func (p *Planner) Shrink() {
	r := &p.reload
	r.shrinking = true
	if r.phase == Draining && r.victim.up() && p.demand.Pressure().Missing == 0 {
		r.phase = None
		r.release()
	}
}

// Removable reports whether a member has a place that no spare is about to take, and takes
// none.
func (p *Planner) Removable(id int) bool {
	r := &p.reload
	return r.phase == None || r.next == r.victim || id != r.next.id && id != r.victim.id
}

// Remove forgets a member for good. Its worker must be down.
func (p *Planner) Remove(id int) {
	m := p.members.get(id)
	if r := &p.reload; r.phase != None && r.victim == m && r.next == m {
		r.phase = None
	}
	p.members.stop(m)
	p.members.vacate(m)
}

// Excuse has nobody stay because a member has no process: it may not have one yet.
func (p *Planner) Excuse(id int) { delete(p.members.absent, id) }
