package catalog

import (
	"errors"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/lora"
)

// place does so at once, rather than what came before both.
func TestQuarantineBesideAStagedVersion(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.put("a", "two")
	r.load("two")
	if _, err := r.Put(t.Context(), lora.Spec{Name: "a", Source: r.file("three", "three")}, false); err != nil {
		t.Fatal(err)
	}
	r.until("the third is staged", func() bool { rec, _ := r.Get("a"); return rec.Staged != nil })
	r.Quarantine(r.path("two"), "it ended llama-server")
	r.want("a", "three")
	if rec, _ := r.Get("a"); rec.State != lora.Ready || rec.Staged != nil {
		t.Errorf("%+v", rec)
	}
	r.reopen()
	r.want("a", "three")
}

// version of it any more.
func TestQuarantineGoesWithTheLastRecord(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.put("a", "bytes")
	r.Quarantine(r.path("bytes"), "it ended llama-server")
	for _, content := range []string{"three", "four", "five"} {
		r.put("a", content)
	}
	if got := strings.Join(r.versions("a"), " "); got != "3 4 5" {
		t.Fatalf("versions %s", got)
	}
	put := func(name string) error {
		_, err := r.Put(t.Context(), lora.Spec{Name: name, Source: r.file(name, "bytes")}, true)
		return err
	}
	for _, name := range []string{"b", "c"} {
		const reason = "these bytes are quarantined (it ended llama-server): remove the model and add it again"
		if err := put(name); refusal(err) != lora.Refused || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.Remove("b"); err != nil {
		t.Fatal(err)
	}
	if err := put("b"); refusal(err) != lora.Refused {
		t.Errorf("c has them still: %v", err)
	}
	if err := errors.Join(r.Remove("b"), r.Remove("c")); err != nil {
		t.Fatal(err)
	}
	if err := put("b"); err != nil {
		t.Errorf("nobody has them any more: %v", err)
	}
	r.reopen()
	r.want("b", "bytes")
}

// TestQuarantineThatCannotBeStored holds for as long as the gateway runs.
func TestQuarantineThatCannotBeStored(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.put("a", "two")
	if err := r.opts.Store.SQL().Close(); err != nil {
		t.Fatal(err)
	}
	r.Quarantine(r.path("two"), "it ended llama-server")
	r.want("a", "one")
}
