package records

import (
	"path/filepath"
	"regexp"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// filePattern is what a file's name may be to name a model.
var filePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// File is something in the watched directory that is an adapter, or may be meant to be one.
type File struct {
	Name  string // of the model
	Path  string
	Print string // changes when the bytes do
	// Unsure is set if it cannot be seen whether there is an adapter.
	Unsure bool
	// Refused says why it cannot be served, and what to do about that; "" is that it may be.
	Refused string
	Settled bool // it has not changed for so long that it may be read
	Known   bool // it would bring nothing but what was kept of it over a restart
}

// Followed is what follows from what is in the directory.
type Followed struct {
	Begun   []*Pending        // versions to get
	Waiting map[string]string // prints of the files that are new and not settled, by path
	Gone    []*Entry          // whose files are not there any more
	Strays  []lora.Record     // of files that are not served, or cannot have their names, as they were not before
	Changed bool              // entries are not as they were, even if those that are gone stay
}

// Follow makes the directory's entries those of what was found, but for those that are gone.
// Files that have not settled are left alone.
func (s *Set) Follow(found []File, now time.Time) Followed {
	r := Followed{Waiting: make(map[string]string)}
	owners := make(map[string]string) // by name, the path
	strays := make(map[string]stray)
	aliases := s.aliases()
	refuse := func(f File, reason string, name bool) {
		strays[f.Path] = stray{lora.Record{
			Spec: lora.Spec{Name: f.Name, Source: f.Path}, Kind: lora.KindAdapter, Origin: lora.FromDirectory,
			State: lora.Rejected, Reason: reason, Updated: now,
		}, name}
	}
	for _, f := range found {
		e, kept := s.entries[f.Name], s.Kept(lora.FromDirectory, f.Name)
		err := s.mayHave(f, e, owners, aliases)
		switch {
		case f.Unsure: // it goes on as it is, if it is there
			if e == nil && err == nil {
				e = kept
			}
			if e != nil && e.Origin == lora.FromDirectory && e.Source == f.Path {
				owners[f.Name], s.entries[f.Name] = f.Path, e
			} else {
				refuse(f, f.Refused, false)
			}
			continue
		case f.Refused != "" && (f.Settled || s.strays[f.Path].Reason == f.Refused):
			refuse(f, f.Refused, false)
			continue
		case f.Refused != "":
			r.Waiting[f.Path] = f.Print
			continue
		case err != nil:
			refuse(f, err.Error(), true)
			continue
		}
		owners[f.Name] = f.Path
		switch {
		case e != nil && e.Source == f.Path && e.Taken == f.Print:
		case e == nil && kept != nil && f.Known:
			s.entries[f.Name], kept.Taken = kept, f.Print
			s.reused++
		case !f.Settled:
			r.Waiting[f.Path] = f.Print
		default:
			r.Begun = append(r.Begun, s.takeFile(f, e, kept, now))
		}
	}
	for name, e := range s.entries {
		if e.Origin == lora.FromDirectory && owners[name] == "" {
			e.Taken = "" // if it cannot be removed and the file comes back, that is another
			r.Gone = append(r.Gone, e)
		}
	}
	var renewed bool
	r.Strays, renewed = s.renewStrays(strays)
	r.Changed = renewed || len(r.Begun) > 0
	return r
}

// mayHave returns why a file cannot have its name, or nil. aliases are those of all entries.
func (s *Set) mayHave(f File, e *Entry, owners map[string]string, aliases map[string]bool) error {
	if !filePattern.MatchString(f.Name) {
		return lora.Errorf(lora.Invalid, "%q cannot name a model: letters, digits and . _ : - only, "+
			"beginning with a letter or digit, at most 128", lora.Shorten(f.Name))
	}
	if other, twice := owners[f.Name]; twice {
		return lora.Errorf(lora.Conflict, "the name %q is taken by the file %s of the directory",
			f.Name, filepath.Base(other))
	}
	if e != nil && e.Origin == lora.FromDirectory {
		return nil
	}
	if e == nil && !aliases[f.Name] && f.Name != s.base {
		return nil // nearly always: to look for a clash takes a look at every entry
	}
	return s.Clash(&lora.Spec{Name: f.Name}, nil)
}

func (s *Set) takeFile(f File, e, kept *Entry, now time.Time) *Pending {
	if e == nil {
		if e = kept; e == nil {
			e = &Entry{Record: lora.Record{Kind: lora.KindAdapter, Origin: lora.FromDirectory, Updated: now}}
		}
		s.entries[f.Name] = e
	}
	e.Become(lora.Spec{Name: f.Name, Source: f.Path, Scale: 1, Settings: lora.Settings{Weight: 1}})
	e.Taken = f.Print
	return e.Begin(e.Spec)
}

// renewStrays puts new strays in place of those before, and returns those that were none.
func (s *Set) renewStrays(strays map[string]stray) (added []lora.Record, changed bool) {
	for path, old := range s.strays {
		if now, still := strays[path]; still && now.Reason == old.Reason {
			strays[path] = old
		} else {
			delete(s.strays, path)
			changed = true
		}
	}
	for path, now := range strays {
		if _, old := s.strays[path]; !old {
			s.strays[path] = now
			added = append(added, now.Record)
		}
	}
	return added, changed || len(added) > 0
}

// Freed reports whether a file of the directory could have its name now.
func (s *Set) Freed() bool {
	for _, r := range s.strays {
		if r.name && filePattern.MatchString(r.Name) && s.Clash(&lora.Spec{Name: r.Name}, nil) == nil {
			return true
		}
	}
	return false
}
