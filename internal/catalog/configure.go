package catalog

import (
	"errors"
	"reflect"
	"time"

	"github.com/loragate/loragate/internal/state"
)

// Configure replaces the configuration's list, all or nothing: it is refused
// (Invalid, Conflict; all problems joined) for specs that make no sense and names
// that are taken, never for a source. Sources that are new or changed are taken
// in after it returned.
func (c *Catalog) Configure(entries []Spec) error {
	return c.change(func() error {
		_, err := c.configure(entries, nil)
		return err
	})
}

// checkEntries reports what makes no sense in the list by itself.
func checkEntries(entries []Spec) error {
	var problems []error
	taken := make(map[string]string) // by name, whose it is
	for _, s := range entries {
		problems = append(problems, validate(s))
		for _, name := range append([]string{s.Name}, s.Aliases...) {
			if other, twice := taken[name]; twice {
				problems = append(problems, refuse(Conflict, "the name %q is taken twice: by %q and by %q", name, other, s.Name))
			}
			taken[name] = s.Name
		}
	}
	return errors.Join(problems...)
}

// configure puts a list in the place of the one before, all or nothing, and
// returns the intakes that a start waits for. past has what was kept of entries
// before a restart. The caller holds the lock.
func (c *Catalog) configure(entries []Spec, past past) ([]*job, error) {
	if err := errors.Join(checkEntries(entries), c.clashes(entries)); err != nil {
		return nil, err
	}
	gone := c.unwanted(entries)
	u := c.forgetting(gone)
	var plans []plan
	for _, s := range entries {
		p, changed := c.plan(s, past[pastKey{FromConfig, s.Name}])
		if !changed {
			continue
		}
		plans = append(plans, p)
		if !p.intake { // others are stored when it ends
			u.Put = append(u.Put, p.next.stored())
		}
	}
	if err := c.commit(u); err != nil && !(c.opening && state.IsFull(err)) {
		return nil, err
	}
	c.drop(gone, u.Release)
	var jobs []*job
	for _, p := range plans {
		if j := c.adopt(p); j != nil {
			jobs = append(jobs, j)
		}
	}
	return jobs, nil
}

// clashes reports names of the list that belong to others.
func (c *Catalog) clashes(entries []Spec) error {
	var problems []error
	for _, s := range entries {
		for _, name := range append([]string{s.Name}, s.Aliases...) {
			if name == c.base.Name {
				problems = append(problems, refuse(Conflict, "the name %q is taken by the base model", name))
			} else if e := c.st.holder(name); e != nil && e.origin != FromConfig {
				problems = append(problems, refuse(Conflict, "the name %q is taken by %s", name, e.describe()))
			}
		}
	}
	return errors.Join(problems...)
}

// unwanted returns the configuration's records that have no place in the list.
func (c *Catalog) unwanted(entries []Spec) (gone []*entry) {
	kinds := make(map[string]Kind, len(entries))
	for _, s := range entries {
		kinds[s.Name] = kindOf(s)
	}
	for name, e := range c.st.entries {
		if e.origin == FromConfig && e.kind != kinds[name] {
			gone = append(gone, e)
		}
	}
	return gone
}

func kindOf(s Spec) Kind {
	if len(s.Shares) > 0 {
		return KindComposition
	}
	return KindAdapter
}

// plan is what becomes of one entry of the list.
type plan struct {
	e      *entry // that goes on, or begins
	next   entry  // as this
	intake bool   // its source is new or changed
}

// plan returns what becomes of an entry, unless it is as it was.
func (c *Catalog) plan(s Spec, past *entry) (p plan, changed bool) {
	kind := kindOf(s)
	e := c.st.entries[s.Name]
	fresh := e == nil || e.kind != kind
	if fresh {
		if e = past; e == nil || e.kind != kind {
			e = &entry{origin: FromConfig, kind: kind, state: Downloading}
		}
	} else if reflect.DeepEqual(e.spec, s) {
		return plan{}, false
	}
	p = plan{e: e, next: *e}
	p.intake = kind == KindAdapter && (fresh || e.spec.Source != s.Source || e.spec.Digest != s.Digest)
	if p.intake && e == past && e.spec.Digest == s.Digest && c.unchanged(e, s.Source, sourcePrint(s.Source)) {
		p.intake = false
		c.known++
	}
	p.next.become(s)
	p.next.updated = time.Now().UTC()
	return p, true
}

// adopt puts a plan in force, and returns the intake if a start waits for it.
func (c *Catalog) adopt(p plan) *job {
	*p.e = p.next
	c.st.entries[p.e.spec.Name] = p.e
	if !p.intake {
		if p.e.job != nil {
			p.e.job.spec = p.e.spec // the one that it began with is out of date
		}
		return nil
	}
	slots := c.slotsFor(p.e.spec.Source)
	j := c.take(c.ctx, p.e, p.e.spec, nil, slots, c.source(p.e.spec))
	if slots == c.remote && p.e.latest() != nil {
		return nil // whatever became of its source, it can be served
	}
	return j
}
