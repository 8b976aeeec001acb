package ingest

import (
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/lora"
)

// TestQuarantineBesideAStagedVersion withdraws what answers: what was to take its
// TestQuarantineGoesWithTheLastRecord that knows the bytes, though they are no
// TestQuarantinedFile is served again when it has other bytes, and not before.
func TestQuarantinedFile(t *testing.T) {
	r := newRig(t)
	r.drop("a.gguf", "one")
	r.until("the first", func() bool { return r.answers("a") == digest("one") })
	r.drop("a.gguf", "two, longer")
	r.until("the second", func() bool { return r.answers("a") == digest("two, longer") })
	r.Quarantine(r.path("two, longer"), "it ended llama-server")
	r.want("a", "one")
	r.reopen()
	r.want("a", "one")
	if rec, _ := r.Get("a"); !strings.Contains(rec.Reason, "quarantined") {
		t.Errorf("%+v", rec)
	}
	if _, err := r.Rollback("a"); refusal(err) != lora.Conflict {
		t.Errorf("a rollback to nothing: %v", err)
	}
	r.drop("a.gguf", "three")
	r.until("the third", func() bool { return r.answers("a") == digest("three") })
	if _, err := r.Rollback("a"); err != nil {
		t.Fatal(err)
	}
	r.want("a", "one") // past what is quarantined
}

// TestQuarantineDuringIngest refuses bytes that were found out meanwhile.
func TestQuarantineDuringIngest(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.put("b", "two")
	release := r.hold()
	waited := make(chan error, 1)
	source := r.file("two", "two")
	go func() {
		_, err := r.Put(t.Context(), lora.Spec{Name: "a", Source: source}, true)
		waited <- err
	}()
	r.until("it has begun", func() bool { rec, _ := r.Get("a"); return rec.State == lora.Downloading })
	r.Quarantine(r.path("two"), "it ended llama-server")
	release()
	if err := <-waited; refusal(err) != lora.Refused {
		t.Errorf("%v, want it refused", err)
	}
	r.want("a", "one")
	if rec, _ := r.Get("a"); rec.State != lora.Ready || rec.Active == nil ||
		!strings.Contains(rec.Reason, "quarantined") {
		t.Errorf("%+v", rec)
	}
}
