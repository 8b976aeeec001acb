package catalog

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// records is the catalog's mutable state. Whoever holds the catalog's lock owns
// it; nothing in it does I/O.
type records struct {
	base        string
	entries     map[string]*entry // by name
	lost        map[string]*entry // the API's own whose names belong to others since a restart, by name
	strays      map[string]Record // files of the directory that cannot have their name, by path
	quarantined map[string]string // reasons, by digest
	keep        int               // versions of each adapter
}

// entry is an adapter or a composition.
type entry struct {
	spec   Spec
	kind   Kind
	origin Origin
	pinned *bool // what an operator said, in place of spec.Pin

	state    State
	reason   string
	progress Progress
	versions []*lora.Version // oldest first
	active   *lora.Version
	staged   *lora.Version
	seen     string // the digest of the bytes that its source had last
	print    string // of those bytes' source and of what became of them, see Catalog.print
	updated  time.Time

	job   *job // the intake that is under way, or nil
	retry bool // the last one failed, through no fault of the source
	// unfinished says that one was when the gateway ended.
	unfinished bool
}

func (e *entry) pin() bool {
	if e.pinned != nil {
		return *e.pinned
	}
	return e.spec.Pin
}

// latest is the version that answers, or will.
func (e *entry) latest() *lora.Version {
	if e.staged != nil {
		return e.staged
	}
	return e.active
}

// become gives a record another description.
func (e *entry) become(s Spec) {
	if e.spec.Pin != s.Pin {
		e.pinned = nil // the newer word holds
	}
	s.Aliases, s.Shares = slices.Clone(s.Aliases), slices.Clone(s.Shares)
	e.spec = s
}

// has reports whether the record has a version of those bytes.
func (e *entry) has(digest string) bool {
	return slices.ContainsFunc(e.versions, func(v *lora.Version) bool { return v.Digest == digest })
}

// knows reports whether it has them, or its source had them last.
func (e *entry) knows(digest string) bool { return e.seen == digest || e.has(digest) }

// record is a copy for others.
func (e *entry) record() Record {
	r := Record{
		Spec: e.spec, Kind: e.kind, Origin: e.origin, State: e.state, Reason: e.reason, Progress: e.progress,
		Active: e.active, Staged: e.staged, Versions: slices.Clone(e.versions), Updated: e.updated,
	}
	r.Pin = e.pin()
	r.Aliases, r.Shares = slices.Clone(r.Aliases), slices.Clone(r.Shares)
	return r
}

// all are the records, those without their names included.
func (st *records) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, set := range []map[string]*entry{st.entries, st.lost} {
			for _, e := range set {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// digests returns those of all versions.
func (st *records) digests() map[string]bool {
	all := make(map[string]bool)
	for e := range st.all() {
		for _, v := range e.versions {
			all[v.Digest] = true
		}
	}
	return all
}

// known reports whether a record other than those knows the bytes.
func (st *records) known(digest string, but []*entry) bool {
	for e := range st.all() {
		if e.knows(digest) && !slices.Contains(but, e) {
			return true
		}
	}
	return false
}

// aliases returns all of them, those that records will have when their intakes have
// ended included.
func (st *records) aliases() map[string]bool {
	all := make(map[string]bool)
	for _, e := range st.entries {
		for _, alias := range e.spec.Aliases {
			all[alias] = true
		}
		if e.job == nil {
			continue
		}
		for _, alias := range e.job.spec.Aliases {
			all[alias] = true
		}
	}
	return all
}

// owner returns the record that a name or an alias belongs to, or nil.
func (st *records) owner(name string) *entry {
	if e, ok := st.entries[name]; ok {
		return e
	}
	for _, e := range st.entries {
		if slices.Contains(e.spec.Aliases, name) {
			return e
		}
	}
	return nil
}

// namePattern is what a name may be; '@' and '+' are kept for scales and sums.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$`)

// filePattern is what a file's name may be to name a model.
var filePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// validate reports what makes no sense in a spec by itself.
func validate(s Spec) error {
	for _, name := range append([]string{s.Name}, s.Aliases...) {
		if !namePattern.MatchString(name) {
			return refuse(Invalid, "%q cannot name a model: letters, digits and . _ : / - only, beginning with a letter or digit, at most 128", shorten(name))
		}
	}
	finite := func(x float64) bool { return !math.IsNaN(x) && math.Abs(x) <= maxScale }
	switch {
	case len(s.Shares) > maxTerms:
		return refuse(Invalid, "%s: a composition has at most %d adapters", s.Name, maxTerms)
	case len(s.Shares) > 0 && s.Source != "":
		return refuse(Invalid, "%s: a composition has no source", s.Name)
	case !finite(s.Scale):
		return refuse(Invalid, "%s: the scale must be a number of at most %d", s.Name, maxScale)
	}
	if field, must := s.Check(); field != "" {
		return refuse(Invalid, "%s: %s %s", s.Name, field, must)
	}
	for _, share := range s.Shares {
		if !namePattern.MatchString(share.Adapter) || !finite(share.Scale) {
			return refuse(Invalid, "%s: %q at %g is no part of a composition", s.Name, shorten(share.Adapter), share.Scale)
		}
	}
	return nil
}

// holder returns the record that a name belongs to, or will when its intake has
// ended, or nil.
func (st *records) holder(name string) *entry {
	if e := st.owner(name); e != nil {
		return e
	}
	for _, e := range st.entries {
		if e.job != nil && slices.Contains(e.job.spec.Aliases, name) {
			return e
		}
	}
	return nil
}

// reserved returns why the API must not give a spec its names, or nil: those of
// its own records that wait for their names would never have them back. The
// record that the spec replaces does not count.
func (st *records) reserved(s Spec, replaced *entry) error {
	for _, name := range append([]string{s.Name}, s.Aliases...) {
		for _, e := range st.lost {
			if e != replaced && (e.spec.Name == name || slices.Contains(e.spec.Aliases, name)) {
				return refuse(Conflict, "the name %q is kept for %q, which waits for its names to be free", name, e.spec.Name)
			}
		}
	}
	return nil
}

// freed reports whether a file of the directory could have its name now.
func (st *records) freed() bool {
	for _, r := range st.strays {
		if filePattern.MatchString(r.Name) && st.clash(Spec{Name: r.Name}, nil) == nil {
			return true
		}
	}
	return false
}

// clash returns why a spec's names cannot be its own, or nil. The record that it
// replaces does not count.
func (st *records) clash(s Spec, replaced *entry) error {
	seen := map[string]bool{}
	for _, name := range append([]string{s.Name}, s.Aliases...) {
		if seen[name] {
			return refuse(Invalid, "%s: the name %q is there twice", s.Name, name)
		}
		seen[name] = true
		if name == st.base {
			return refuse(Conflict, "the name %q is taken by the base model", name)
		}
		if e := st.holder(name); e != nil && e != replaced {
			return refuse(Conflict, "the name %q is taken by %s", name, e.describe())
		}
	}
	return nil
}

func (e *entry) describe() string {
	switch e.origin {
	case FromDirectory:
		return fmt.Sprintf("the file %s of the directory", filepath.Base(e.spec.Source))
	case FromConfig:
		return fmt.Sprintf("%q of the configuration", e.spec.Name)
	default:
		return fmt.Sprintf("%q", e.spec.Name)
	}
}

// foreign returns why the API may not change a record, or nil.
func (e *entry) foreign() error {
	switch e.origin {
	case FromDirectory:
		return refuse(Conflict, "%s comes from the directory: change its file %s there", e.spec.Name, filepath.Base(e.spec.Source))
	case FromConfig:
		return refuse(Conflict, "%s comes from the configuration: change it there", e.spec.Name)
	}
	return nil
}

// accept takes checked bytes in as the newest version and makes that the one that
// answers, unless it is so already.
func (st *records) accept(e *entry, v *lora.Version, isLoaded func(string) bool, now time.Time) {
	unchanged := e.seen == v.Digest && e.latest() != nil && e.has(v.Digest)
	e.seen, e.updated, e.reason = v.Digest, now, ""
	if unchanged && e.origin != FromAPI {
		e.settle() // whatever an operator rolled back to goes on
		return
	}
	e.activate(e.newest(v), isLoaded)
	e.prune(st.keep)
}

// newest returns the version of v's bytes: the newest, with a number of its own,
// or the one that answers. What came before it is so what a rollback goes to.
func (e *entry) newest(v *lora.Version) *lora.Version {
	versions := slices.Clone(e.versions) // the caller may put the old ones back
	last := len(versions) - 1
	if i := slices.IndexFunc(versions, func(x *lora.Version) bool { return x.Digest == v.Digest }); i >= 0 {
		if i == last || versions[i] == e.latest() {
			return versions[i]
		}
		v.Number = versions[last].Number
		versions = slices.Delete(versions, i, i+1)
	} else if last >= 0 {
		v.Number = versions[last].Number
	}
	v.Number++
	e.versions = append(versions, v)
	return v
}

// activate makes v the version that answers: at once, or when a worker has loaded
// it if that is so of the one before.
func (e *entry) activate(v *lora.Version, isLoaded func(string) bool) {
	e.staged = nil
	if e.active != nil && e.active.Path != v.Path && isLoaded(e.active.Path) && !isLoaded(v.Path) {
		e.staged = v
	} else {
		e.active = v
	}
	e.settle()
}

// settle sets the state of a record with nothing under way.
func (e *entry) settle() {
	e.progress = Progress{}
	switch {
	case e.job != nil:
		e.state = Downloading
	case e.staged != nil:
		e.state = Loading
	case e.active != nil:
		e.state = Ready
	case e.state != Quarantined:
		e.state = Rejected
	}
}

// prune forgets the oldest versions, but none from the active one on, and reports
// whether there were any. While a version is staged all are kept.
func (e *entry) prune(keep int) bool {
	excess := min(len(e.versions)-keep, slices.Index(e.versions, e.active))
	if excess <= 0 || e.staged != nil {
		return false
	}
	e.versions = slices.Clone(e.versions[excess:])
	return true
}

// refused ends an intake whose source cannot be served, perhaps because its bytes
// are quarantined.
func (e *entry) refused(reason string, quarantined bool, now time.Time) {
	e.reason, e.updated, e.print = reason, now, ""
	if e.state = Rejected; quarantined {
		e.state = Quarantined
	}
	e.settle()
}

// previous returns the version before the one that answers or will, leaving out
// those in quarantine, or nil.
func (st *records) previous(e *entry) *lora.Version {
	i := slices.Index(e.versions, e.latest())
	for i--; i >= 0; i-- {
		if _, bad := st.quarantined[e.versions[i].Digest]; !bad {
			return e.versions[i]
		}
	}
	return nil
}

// quarantine takes a version out of service wherever it is; changed are the
// records that it was in.
func (st *records) quarantine(digest, reason string, isLoaded func(string) bool, now time.Time) (changed []*entry) {
	st.quarantined[digest] = reason
	for e := range st.all() {
		if st.withdraw(e, digest, reason, isLoaded, now) {
			changed = append(changed, e)
		}
	}
	return changed
}

// withdraw takes a version out of service, if it is: the staged one takes over,
// or the one before.
func (st *records) withdraw(e *entry, digest, reason string, isLoaded func(string) bool, now time.Time) (changed bool) {
	if e.staged != nil && e.staged.Digest == digest {
		e.staged, changed = nil, true
	}
	if e.active != nil && e.active.Digest == digest {
		next := e.staged
		if next == nil {
			next = st.previous(e)
		}
		e.active, e.staged, changed = nil, nil, true
		if e.state = Quarantined; next != nil {
			e.activate(next, isLoaded)
		}
	}
	if changed {
		e.reason, e.updated = "quarantined: "+reason, now
		e.settle()
	}
	return changed
}

// list returns copies of all records, by name.
func (st *records) list() []Record {
	var list []Record
	for _, e := range st.entries {
		list = append(list, e.record())
	}
	for _, e := range st.lost {
		list = append(list, st.withoutName(e))
	}
	for _, r := range st.strays {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Record) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Source, b.Source))
	})
	return list
}

// withoutName is the record of one whose names belong to others.
func (st *records) withoutName(e *entry) Record {
	r := e.record()
	r.State, r.Active, r.Staged = Rejected, nil, nil
	if err := st.clash(e.spec, nil); err != nil {
		r.Reason = err.Error()
	}
	return r
}
