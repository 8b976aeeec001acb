package residency

import "github.com/loragate/loragate/internal/residency/stock"

// Room reports whether a worker has all of the files loaded, or has room for them
// beside what is pinned. Requests for others would wait for ever.
func (p *Planner) Room(files []stock.File) bool {
	if len(files) == 0 || p.stock.RoomBesidePins(files) {
		return true
	}
	for _, set := range p.sets.with(files) {
		if set.Holds(files) {
			return true
		}
	}
	return false
}

// Loaded reports whether a worker that is up, and was not drained by an operator,
// has the file loaded.
func (p *Planner) Loaded(file stock.File) bool { return p.sets.loaded(file) }

// With returns the sets that hold all of the files.
func (p *Planner) With(files []stock.File) (list []*Set) {
	for _, set := range p.sets.with(files) {
		if set.Holds(files) {
			list = append(list, set)
		}
	}
	return list
}

// Quarantine says that a file cannot be loaded any more, for example because it is not
// there; it is not planned again as long as it stays in stock. Requests that need
// it wait in vain: the owner turns them away.
func (p *Planner) Quarantine(file stock.File) { p.starts.quarantine(file) }

// Quarantined reports whether a file will not be loaded any more; see Quarantine and
// NewlyQuarantined.
func (p *Planner) Quarantined(file stock.File) bool { return p.stock.Quarantined(file) }

// NewlyQuarantined returns the files that were found to end every process that loads
// them, since the last call.
func (p *Planner) NewlyQuarantined() []stock.File {
	list := p.starts.found
	p.starts.found = nil
	return list
}

// Vacant reports whether a member is to have no process.
func (p *Planner) Vacant(id int) bool { return p.members.get(id).vacant }

// Drained reports whether an operator keeps requests from a member.
func (p *Planner) Drained(id int) bool { return p.members.get(id).drained }

// Opens reports whether a process may yet open the file: because it is in stock, one that
// starts is to load it, or a request that waits or runs needs it, wherever that will be. To
// have it loaded is no reason: a process reads its files once, and no later one is given
// what is not in stock. It looks at everything that waits.
func (p *Planner) Opens(file stock.File) bool {
	if it := p.stock.Known(file); it != nil && !it.Gone {
		return true
	}
	return p.comingFiles()[file]
}

// used are the files that a process has loaded, and those that one will.
func (p *Planner) used() map[stock.File]bool {
	used := p.comingFiles()
	for _, m := range p.members.byID {
		if m.up() {
			for _, file := range m.set.list {
				used[file] = true
			}
		}
	}
	return used
}

// comingFiles are those that a process which starts is to load, and those of requests that
// wait or run.
func (p *Planner) comingFiles() map[stock.File]bool {
	used := make(map[stock.File]bool)
	for _, m := range p.members.byID {
		for _, file := range m.planned {
			used[file] = true
		}
	}
	for files := range p.demand.Needed() {
		for _, file := range files {
			used[file] = true
		}
	}
	return used
}

// FileView is what is known of a file at one moment.
type FileView struct {
	File      stock.File
	LoadedOn  []int      // workers
	AppliedOn []int      // workers where the identity in force needs it
	Used      stock.Time // last; 0 is never
	Wanted    bool       // it will be loaded without anyone asking
}

// Files returns a view of every file that is in stock or loaded, but for what is applied.
func (p *Planner) Files() map[stock.File]*FileView {
	views := make(map[stock.File]*FileView)
	view := func(file stock.File) *FileView {
		v, ok := views[file]
		if !ok {
			v = &FileView{File: file}
			if it := p.stock.Known(file); it != nil {
				v.Used = it.LastUse()
			}
			views[file] = v
		}
		return v
	}
	for _, it := range p.stock.All() {
		view(it.File).Wanted = !it.Quarantined && (p.stock.AllFit() || it.Pin || it.Preload)
	}
	for _, m := range p.members.sorted() {
		if !m.up() {
			continue
		}
		for _, file := range m.set.list {
			v := view(file)
			v.LoadedOn = append(v.LoadedOn, m.id)
		}
	}
	return views
}
