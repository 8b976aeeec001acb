package residency

import "github.com/loragate/loragate/internal/residency/stock"

// convincing is how many processes must have failed with a file as the only unproven one
// before it is put into quarantine, if the same member comes up without it: one could have
// another reason.
const convincing = 2

// starts learns from the processes that come up, or do not, how much a worker can have
// loaded, and which files end the processes that load them.
type starts struct {
	stock   *stock.Stock
	members *members
	found   []stock.File // that were put into quarantine since somebody asked
}

// cameUp takes notice of a member that is up with what it was to load, all of which is
// proven now.
func (s *starts) cameUp(m *member) {
	m.had = m.coming
	if m.had == nil {
		m.had = newSet(nil)
	}
	m.most = max(m.most, s.stock.Bytes(m.planned))
	for _, file := range m.planned {
		it := s.stock.Item(file)
		it.Proven, it.Strikes = true, 0
	}
	s.members.stop(m)
	m.careful = false
	if file := m.accused; file != "" {
		m.accused = ""
		if it := s.stock.Item(file); !it.Proven && !it.Quarantined && it.Strikes >= convincing {
			s.stock.Quarantine(it)
			s.found = append(s.found, file)
		}
	}
}

// failed takes notice of a member that did not come up. It reports whether files that
// were never loaded before may be to blame: then it starts without them.
func (s *starts) failed(m *member) (suspicion bool) {
	var fresh []*stock.Item
	for _, file := range m.planned {
		if it := s.stock.Item(file); !it.Proven {
			fresh = append(fresh, it)
		}
	}
	s.members.stop(m)
	m.accused = ""
	if len(fresh) == 0 {
		return false
	}
	for _, it := range fresh {
		it.Batch = max(1, len(fresh)/2)
	}
	m.careful = true
	if len(fresh) == 1 {
		fresh[0].Strikes++
		m.accused = fresh[0].File
	}
	return true
}

// tooMuch takes notice of a member that did not come up because memory ran out. If
// it was to load more than it ever had, or any other if it had nothing, all members load
// less from then on, at most bound. That is halfway to the most that any member has had,
// so the right bound is found after a few starts.
func (s *starts) tooMuch(m *member) (bound int64, learned bool) {
	wanted, most := s.stock.Bytes(m.planned), m.most
	for _, other := range s.members.byID {
		if m.most == 0 {
			most = max(most, other.most)
		}
		if other.most < wanted {
			bound = max(bound, other.most)
		}
	}
	if most == 0 || wanted <= most {
		return 0, false
	}
	s.members.stop(m)
	m.accused = ""
	bound += (wanted - bound) / 2
	s.stock.LimitBytes(bound) // it was more, or none
	return bound, true
}

// quarantine takes a file out of everything that is planned.
func (s *starts) quarantine(file stock.File) {
	s.stock.Quarantine(s.stock.Item(file))
	for _, m := range s.members.byID {
		if !m.starting() || !m.coming.Has(file) {
			continue
		}
		var rest []stock.File
		for _, x := range m.planned {
			if x != file {
				rest = append(rest, x)
			}
		}
		m.coming, m.planned = newSet(rest), rest
	}
}
