package ingest

import (
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/catalog/records"
	"github.com/loragate/loragate/internal/lora"
)

// TestListsAreRefusedForEveryProblem at once.
func TestListsAreRefusedForEveryProblem(t *testing.T) {
	r := newRig(t)
	r.put("api", "one")
	r.drop("file.gguf", "two")
	r.until("the file", func() bool { return r.answers("file") == digest("two") })
	if err := r.Configure([]lora.Spec{{Name: "kept", Source: r.file("kept", "kept")}}); err != nil {
		t.Fatal(err)
	}
	r.until("the entry", func() bool { return r.answers("kept") == digest("kept") })
	err := r.Configure([]lora.Spec{
		{Name: "good", Source: "/good"}, {Name: "two words", Source: "/a"}, {Name: "loud", Source: "/a", Scale: 200},
		{Name: "twice", Source: "/a"}, {Name: "twice", Source: "/b"},
		{Name: "alias", Source: "/a", Settings: lora.Settings{Aliases: []string{"good"}}},
		{Name: "base", Source: "/a"}, {Name: "other", Source: "/a",
			Settings: lora.Settings{Aliases: []string{"api", "file"}}}, {Name: "api", Source: "/a"},
	})
	if code := refusal(err); code != lora.Invalid && code != lora.Conflict {
		t.Errorf("code %q", code)
	}
	want := []string{
		`"two words" cannot name a model: letters, digits and . _ : / - only, beginning with a letter or digit, at most 128`,
		`loud: the scale must be a number of at most 100`,
		`the name "twice" is taken twice: by "twice" and by "twice"`,
		`the name "good" is taken twice: by "good" and by "alias"`,
		`the name "api" is taken twice: by "other" and by "api"`,
		`the name "base" is taken by the base model`,
		`the name "api" is taken by "api"`,
		`the name "file" is taken by the file file.gguf of the directory`,
		`the name "api" is taken by "api"`,
	}
	if got := err.Error(); got != strings.Join(want, "\n") {
		t.Errorf("it says\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	r.want("kept", "kept")
	r.want("api", "one")
	r.unknown("good", "loud", "twice", "alias", "other")
}

// TestListsThatCannotBeStored change nothing, not even a part.
func TestListsThatCannotBeStored(t *testing.T) {
	r := newRig(t)
	one, two := r.file("one", "one"), r.file("two", "two")
	first := []lora.Spec{{Name: "a", Source: one}, {Name: "b", Source: two},
		{Name: "sum", Shares: []lora.Share{{Adapter: "a", Scale: .5}, {Adapter: "b", Scale: .5}}},
		{Name: "c", Source: one, Scale: .5}}
	if err := r.Configure(first); err != nil {
		t.Fatal(err)
	}
	ready := func() bool {
		return r.answers("a") == digest("one") && r.answers("b") == digest("two") && r.answers("c") == digest("one")
	}
	r.until("all", ready)
	sum := r.answers("sum")
	exec := func(sql string) {
		t.Helper()
		if _, err := r.base.Store.SQL().Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	// The second of what is deleted or changed fails.
	exec("CREATE TRIGGER full BEFORE DELETE ON adapters WHEN OLD.name = 'sum' BEGIN SELECT RAISE(ABORT, 'full'); END")
	second := []lora.Spec{{Name: "new", Source: one}, {Name: "b", Source: one}, {Name: "c", Source: one, Scale: .25}}
	if err := r.Configure(second); refusal(err) != lora.Failed {
		t.Errorf("%v, want it failed", err)
	}
	for range 2 {
		r.SetAdhoc(true) // publishes
		if !ready() || r.answers("sum") != sum {
			t.Errorf("of the first list are left %+v", r.List())
		}
		if m, err := r.Resolve("c"); err != nil || m.Identity() != digest("one")+"@0.5" {
			t.Errorf("%+v, %v", m, err)
		}
		r.unknown("new")
		r.opts.Entries = first
		r.reopen()
	}
	exec("DROP TRIGGER full")
	if err := r.Configure(second); err != nil {
		t.Fatal(err)
	}
	r.until("the second list", func() bool {
		return r.answers("new") == digest("one") && r.answers("b") == digest("one")
	})
	r.unknown("a", "sum")
}

// TestEntriesThatBecomeSomethingElse are made anew: what the adapter
// that was waits for is given up, and what comes of it is nobody's.
func TestEntriesThatBecomeSomethingElse(t *testing.T) {
	r := newRig(t)
	part := lora.Spec{Name: "part", Source: r.file("part", "part")}
	adapter := lora.Spec{Name: "a", Source: r.file("one", "one")}
	sum := lora.Spec{Name: "a", Shares: []lora.Share{{Adapter: "part", Scale: .5}}}
	if err := r.Configure([]lora.Spec{part}); err != nil {
		t.Fatal(err)
	}
	r.until("the part", func() bool { return r.answers("part") == digest("part") })
	release := r.hold()
	ended := make(chan struct{})
	r.jobs.catalog = ending{r.Catalog, ended}
	if err := r.Configure([]lora.Spec{part, adapter}); err != nil {
		t.Fatal(err)
	}
	if err := r.Configure([]lora.Spec{part, sum}); err != nil {
		t.Fatal(err)
	}
	release()
	<-ended
	want := digest("part") + "@0.5"
	if got := r.answers("a"); got != want {
		t.Errorf("it is %s", got)
	}
	kept, err := r.base.Store.Adapters()
	if err != nil || len(kept) != 2 || kept[0].Name != "a" || kept[0].Kind != lora.KindComposition {
		t.Errorf("kept are %+v, %v", kept, err)
	}
	r.opts.Entries = []lora.Spec{part, sum}
	r.reopen()
	if got := r.answers("a"); got != want {
		t.Errorf("after a restart it is %s", got)
	}
	if err := r.Configure([]lora.Spec{part, adapter}); err != nil {
		t.Fatal(err)
	}
	r.until("the adapter", func() bool { return r.answers("a") == digest("one") })
	r.opts.Entries = []lora.Spec{part, adapter}
	r.reopen()
	r.want("a", "one")
}

// ending tells of the end of a job.
type ending struct {
	*catalog.Catalog
	ended chan struct{}
}

func (e ending) Finish(p *records.Pending, got catalog.Outcome) error {
	defer close(e.ended)
	return e.Catalog.Finish(p, got)
}

// TestFailedEntriesAreTriedAgain without a word from anybody, and logged once.
func TestFailedEntriesAreTriedAgain(t *testing.T) {
	r := closedRig(t, lora.Spec{Name: "far", Source: "far://far"}, lora.Spec{Name: "bad", Source: "far://bad"})
	r.file("bad", "bad bytes")
	r.open()
	rejected := func(name string) func() bool {
		return func() bool { rec, _ := r.Get(name); return rec.State == lora.Rejected }
	}
	for range 3 {
		r.Retry()
		r.until("it fails", rejected("far"))
	}
	r.file("far", "one")
	r.unknown("far")
	r.Retry()
	r.until("it is there", func() bool { return r.answers("far") == digest("one") })
	r.until("the other is as it was", rejected("bad"))
	r.mu.Lock()
	if r.asked["far://far"] != 5 || r.asked["far://bad"] != 1 {
		t.Errorf("they were fetched %v times", r.asked)
	}
	r.mu.Unlock()
	r.Close()
	r.Retry() // nothing begins any more
	if log, _ := r.log.read(); strings.Count(log, "adapter rejected") != 2 {
		t.Errorf("each of the two was to be logged once:\n%s", log)
	}
}
