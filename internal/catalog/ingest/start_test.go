package ingest

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// TestStartsThatFail say what is missing or wrong, and leave nothing running.
func TestStartsThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(r *rig)
		want  string
	}{
		"no base":   {func(r *rig) { r.base.BasePath = filepath.Join(r.root, "nothing") }, "base model: "},
		"no folder": {func(r *rig) { r.opts.Dir = filepath.Join(r.root, "nothing") }, "adapters.dir: "},
		"a list that clashes with itself": {func(r *rig) {
			r.opts.Entries = []lora.Spec{{Name: "a", Source: "/a"},
				{Name: "b", Settings: lora.Settings{Aliases: []string{"a"}}, Source: "/b"}}
		}, `the name "a" is taken twice`},
		"a list that clashes with the base": {func(r *rig) {
			r.opts.Entries = []lora.Spec{{Name: "base",
				Source: "/a"}}
		}, `the name "base" is taken by the base model`},
		"a list that makes no sense": {func(r *rig) {
			r.opts.Entries = []lora.Spec{{Name: "a", Source: "/a",
				Scale: 1000}}
		}, "a: the scale must be a number of at most 100"},
	} {
		t.Run(name, func(t *testing.T) {
			r := closedRig(t)
			c.spoil(r)
			if err := r.try(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v does not say %q", err, c.want)
			}
		})
	}
	r := closedRig(t)
	db, err := state.Open(filepath.Join(r.root, "state"))
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	r.base.Store = db
	if err := r.begin(t.Context()); err == nil {
		t.Error("a store that cannot be read is taken")
	}
}

// TestStartIsGivenUp while a source is fetched of which there is nothing yet.
func TestStartIsGivenUp(t *testing.T) {
	r := closedRig(t, lora.Spec{Name: "a", Source: "far://a"})
	r.file("a", "one")
	release := r.hold()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	r.fetch = func(ctx context.Context, source, digest string, progress func(done, total int64)) (string, func(),
		error) {
		cancel(enough)
		return r.take(ctx, source, digest, progress)
	}
	if err := r.tryIn(ctx); !errors.Is(err, enough) {
		t.Errorf("%v, want %v", err, enough)
	}
	release()
	r.open()
	r.want("a", "one")
}

// TestStartDoesNotWaitForWhatItHas: a remote source that hangs holds no gateway up
// that can serve what it had.
func TestStartDoesNotWaitForWhatItHas(t *testing.T) {
	r := closedRig(t, lora.Spec{Name: "a", Source: "far://a"})
	r.file("a", "one")
	r.open()
	r.want("a", "one")
	release := r.hold()
	r.file("a", "two")
	r.reopen()
	r.want("a", "one")
	if rec, _ := r.Get("a"); rec.State != lora.Downloading {
		t.Errorf("%+v", rec)
	}
	release()
	r.until("the second", func() bool { return r.answers("a") == digest("two") })
}

// TestStartAfterHalfAQuarantine: the mark is what counts, whether or not the
// TestPutBeforeItsSourceIsThere is fetched after a restart, by its latest
// description.
func TestPutBeforeItsSourceIsThere(t *testing.T) {
	r := newRig(t)
	release := r.hold()
	for _, s := range []lora.Spec{{Name: "a", Source: r.file("one", "one")},
		{Name: "a", Source: r.file("two", "two"), Settings: lora.Settings{Aliases: []string{"b"}}}} {
		if rec, err := r.Put(t.Context(), s, false); err != nil || rec.State != lora.Downloading ||
			rec.Source != s.Source {
			t.Fatalf("%+v, %v", rec, err)
		}
	}
	r.end()
	release()
	r.open()
	r.until("the second", func() bool { return r.answers("b") == digest("two") })
	if got := strings.Join(r.versions("a"), " "); got != "1" {
		t.Errorf("versions %s", got)
	}
}
