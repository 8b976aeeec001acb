package catalog

import (
	"errors"
	"reflect"
	"time"
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

// configure puts a list in the place of the one before. past has what was kept of
// entries before a restart. The caller holds the lock.
func (c *Catalog) configure(entries []Spec, past past) ([]*job, error) {
	if err := errors.Join(checkEntries(entries), c.clashes(entries)); err != nil {
		return nil, err
	}
	wanted := make(map[string]bool, len(entries))
	for _, s := range entries {
		wanted[s.Name] = true
	}
	for name, e := range c.st.entries {
		if e.origin == FromConfig && !wanted[name] {
			if err := c.remove(e); err != nil {
				return nil, err
			}
		}
	}
	var jobs []*job
	for _, s := range entries {
		j, err := c.configureOne(s, past[pastKey{FromConfig, s.Name}])
		if err != nil {
			return nil, err
		}
		if j != nil {
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
			} else if e := c.st.owner(name); e != nil && e.origin != FromConfig {
				problems = append(problems, refuse(Conflict, "the name %q is taken by %s", name, e.describe()))
			}
		}
	}
	return errors.Join(problems...)
}

// configureOne puts one spec in force, and returns the intake of its source if
// that is new or changed.
func (c *Catalog) configureOne(s Spec, past *entry) (*job, error) {
	kind := KindAdapter
	if len(s.Shares) > 0 {
		kind = KindComposition
	}
	e := c.st.entries[s.Name]
	fresh := e == nil || e.kind != kind
	if fresh {
		if e = past; e == nil || e.kind != kind {
			e = &entry{origin: FromConfig, kind: kind, state: Downloading}
		}
	}
	if reflect.DeepEqual(e.spec, s) && !fresh {
		return nil, nil
	}
	changed := fresh || e.spec.Source != s.Source || e.spec.Digest != s.Digest
	if e.spec.Pin != s.Pin {
		e.pinned = nil
	}
	e.spec, e.updated = s, time.Now().UTC()
	c.st.entries[s.Name] = e
	if kind == KindAdapter && changed {
		return c.take(c.ctx, e, s, nil, c.slotsFor(s.Source), c.source(s)), nil
	}
	return nil, c.store(e)
}
