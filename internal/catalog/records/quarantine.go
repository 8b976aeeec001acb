package records

import (
	"slices"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// Quarantined returns why bytes are quarantined, and whether they are.
func (s *Set) Quarantined(digest string) (reason string, bad bool) {
	reason, bad = s.quarantined[digest]
	return reason, bad
}

// Previous returns the version before the one that answers or will, leaving out those in
// quarantine, or nil.
func (s *Set) Previous(e *Entry) *lora.Version {
	i := slices.Index(e.Versions, e.Latest())
	for i--; i >= 0; i-- {
		if _, bad := s.quarantined[e.Versions[i].Digest]; !bad {
			return e.Versions[i]
		}
	}
	return nil
}

// Quarantine takes a version out of service wherever it is; changed are the entries that
// it was in.
func (s *Set) Quarantine(digest, reason string, isLoaded func(string) bool, now time.Time) (changed []*Entry) {
	s.quarantined[digest] = reason
	for e := range s.all() {
		if s.withdraw(e, digest, reason, isLoaded, now) {
			changed = append(changed, e)
		}
	}
	return changed
}

// withdraw takes a version out of service, if it is: the staged one takes over, or the one
// before.
func (s *Set) withdraw(e *Entry, digest, reason string, isLoaded func(string) bool, now time.Time) (changed bool) {
	if e.Staged != nil && e.Staged.Digest == digest {
		e.Staged, changed = nil, true
	}
	if e.Active != nil && e.Active.Digest == digest {
		next := e.Staged
		if next == nil {
			next = s.Previous(e)
		}
		e.Active, e.Staged, changed = nil, nil, true
		if e.State = lora.Quarantined; next != nil {
			e.Activate(next, isLoaded)
		}
	}
	if changed {
		e.Reason, e.Updated = "quarantined: "+reason, now
		e.Settle()
	}
	return changed
}

// Releasing returns the quarantined bytes that nobody knows any more without those entries.
func (s *Set) Releasing(gone []*Entry) (digests []string) {
	for digest := range s.quarantined {
		known := func(e *Entry) bool { return e.knows(digest) }
		if slices.ContainsFunc(gone, known) && !s.known(digest, gone) {
			digests = append(digests, digest)
		}
	}
	return digests
}

// known reports whether an entry other than those knows the bytes.
func (s *Set) known(digest string, but []*Entry) bool {
	for e := range s.all() {
		if e.knows(digest) && !slices.Contains(but, e) {
			return true
		}
	}
	return false
}

// Release takes bytes out of quarantine.
func (s *Set) Release(digests []string) {
	for _, digest := range digests {
		delete(s.quarantined, digest)
	}
}
