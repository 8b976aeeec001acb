package residency

import (
	"slices"

	"github.com/loragate/loragate/internal/residency/stock"
)

// Status is what a Planner is at, for tests and for what failures print.
type Status struct {
	Phase        Phase
	Victim, Next int // of the reload that is under way, or was last
	SpareBroken  stock.Time
	Lacking      bool       // some worker may lack what it should have
	Again        stock.Time // when that is so again
	Forced       []int
	Members      map[int]MemberStatus
}

// MemberStatus is what a Planner knows of a member.
type MemberStatus struct {
	Starting, Drained, Vacant bool
	Planned, Had              []stock.File
}

// Status returns what the planner is at.
func (p *Planner) Status() Status {
	st := Status{
		Phase: p.reload.phase, SpareBroken: p.reload.spareBroken, Lacking: p.agenda.lacking, Again: p.agenda.again,
		Forced: slices.Clone(p.reload.forced), Members: make(map[int]MemberStatus, len(p.members.byID)),
	}
	if p.reload.victim != nil {
		st.Victim, st.Next = p.reload.victim.id, p.reload.next.id
	}
	for id, m := range p.members.byID {
		ms := MemberStatus{Starting: m.starting(), Drained: m.drained, Vacant: m.vacant, Planned: m.planned}
		if m.had != nil {
			ms.Had = m.had.list
		}
		st.Members[id] = ms
	}
	return st
}

// Items returns what is known of files, by name.
func (p *Planner) Items() []stock.Item { return p.stock.Items() }

// Item returns what is known of a file.
func (p *Planner) Item(file stock.File) (item stock.Item, known bool) {
	it := p.stock.Known(file)
	if it == nil {
		return stock.Item{}, false
	}
	return *it, true
}

// Used returns the files that a process has loaded, and those that one will.
func (p *Planner) Used() map[stock.File]bool { return p.used() }
