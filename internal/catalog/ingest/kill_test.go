package ingest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// expected is what a model of the victim has to be, by the changes that it was
// seen to make.
type expected struct {
	exists   bool
	versions []string // contents, oldest first
	numbers  []int    // of the versions
	active   int      // the number of the one that answers, or 0
	seen     string
	pin      bool
	bad      map[string]bool // contents in quarantine
	scale    string          // of the sum's first part
}

func (m expected) String() string {
	return fmt.Sprintf("exists %t, versions %v %v, active %d, seen %q, pin %t, bad %v, scale %q", m.exists, m.numbers,
		m.versions, m.active, m.seen, m.pin,
		slices.Sorted(maps.Keys(m.bad)), m.scale)
}

// after returns what a change makes of the model, and the code that it ends with.
func (m expected) after(verb, arg string) (expected, lora.Code) {
	m.versions, m.numbers, m.bad = slices.Clone(m.versions), slices.Clone(m.numbers), maps.Clone(m.bad)
	switch verb {
	case "put", "upload", "later":
		return m.put(arg)
	case "set":
		return expected{exists: true, scale: arg}, ""
	case "quarantine":
		if m.active != 0 {
			m.bad[m.versions[slices.Index(m.numbers, m.active)]] = true
			m.active = m.before()
		}
		return m, ""
	}
	if !m.exists {
		return m, lora.NotFound
	}
	switch verb {
	case "pin", "unpin":
		m.pin = verb == "pin"
	case "rollback":
		before := m.before()
		if before == 0 {
			return m, lora.Conflict
		}
		m.active = before
	case "remove":
		gone := expected{bad: m.bad}
		maps.DeleteFunc(gone.bad, func(content string, _ bool) bool {
			return content == m.seen || slices.Contains(m.versions, content)
		})
		return gone, ""
	}
	return m, ""
}

func (m expected) put(content string) (expected, lora.Code) {
	m.exists, m.seen = true, content
	if m.bad[content] {
		return m, lora.Refused
	}
	number := 1
	if len(m.numbers) > 0 {
		number = m.numbers[len(m.numbers)-1] + 1
	}
	if i := slices.Index(m.versions, content); i >= 0 {
		if i == len(m.versions)-1 || m.numbers[i] == m.active {
			m.active = m.numbers[i]
			return m, ""
		}
		m.versions, m.numbers = slices.Delete(m.versions, i, i+1), slices.Delete(m.numbers, i, i+1)
	}
	m.versions, m.numbers, m.active = append(m.versions, content), append(m.numbers, number), number
	if drop := len(m.versions) - 3; drop > 0 {
		m.versions, m.numbers = m.versions[drop:], m.numbers[drop:]
	}
	return m, ""
}

// before returns the number of the version that a rollback goes to, or 0.
func (m expected) before() int {
	for i := slices.Index(m.numbers, m.active) - 1; i >= 0; i-- {
		if !m.bad[m.versions[i]] {
			return m.numbers[i]
		}
	}
	return 0
}

// killer kills victims and looks at what they left.
type killer struct {
	t      *testing.T
	dir    string
	rng    *rand.Rand
	models map[string]expected
	names  map[string]string // contents by digest

	acknowledged, done, undone int // changes: seen to end, and others that took place or did not
}

// TestKilled kills a gateway at random moments of adding, replacing, removing,
// rolling back, pinning and quarantining. What it acknowledged is there then;
// what it was at is as it was before or as it was to be; every version's bytes
// are there, and no others.
func TestKilled(t *testing.T) {
	const kills = 30
	k := &killer{t: t, dir: t.TempDir(), rng: rand.New(rand.NewPCG(7, 11)), models: map[string]expected{"sum": {}},
		names: map[string]string{}}
	for _, dir := range []string{"sources", "adapters"} {
		if err := os.Mkdir(filepath.Join(k.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(k.dir, "base"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range victims {
		k.models[name] = expected{bad: map[string]bool{}}
		for i := range contents {
			content := fmt.Sprintf("%s-%d", name, i)
			k.names[digest(content)] = content
			if err := os.WriteFile(filepath.Join(k.dir, "sources", content), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range kills {
		lines := k.kill(1+k.rng.IntN(80), uint64(i))
		under, accepted := k.follow(lines)
		k.checkStored()
		k.checkCatalog(under, accepted)
		if t.Failed() {
			t.Fatalf("kill %d, after the victim said\n%s", i, strings.Join(lines, "\n"))
		}
	}
	t.Logf("%d changes were acknowledged; of others %d took place, and %d did not", k.acknowledged, k.done, k.undone)
	if k.acknowledged == 0 || k.done+k.undone == 0 {
		t.Error("kills that always come too early or too late test nothing")
	}
}

// kill starts a victim, kills it at a line, and returns all that it said.
func (k *killer) kill(at int, seed uint64) (lines []string) {
	k.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimVariable+"="+k.dir, fmt.Sprint(seedVariable, "=", seed))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		lines = append(lines, scanner.Text())
		if len(lines) == 1 {
			var locked *state.LockedError
			if _, err := state.Open(filepath.Join(k.dir, "state")); !errors.As(err, &locked) ||
				locked.PID != cmd.Process.Pid {
				k.t.Errorf("a second gateway: %v", err)
			}
		}
		if len(lines) == at {
			if err := cmd.Process.Kill(); err != nil {
				k.t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		k.t.Fatalf("it was not killed: %v, and said\n%s", err, strings.Join(lines, "\n"))
	}
	return lines
}

// follow makes the models those of what was acknowledged. It returns the change of
// each model that was under way, and which of those were accepted.
func (k *killer) follow(lines []string) (under map[string][]string, accepted map[string]bool) {
	k.t.Helper()
	under, accepted = map[string][]string{}, map[string]bool{}
	for _, line := range lines {
		words := strings.Fields(line)
		switch words[0] {
		case "begin":
			under[words[1]] = words[2:]
		case "accepted":
			accepted[words[1]] = true
		case "done":
			name, verb := words[1], under[words[1]][0]
			next, want := k.models[name].after(verb, under[name][1])
			if got := lora.Code(strings.Join(words[2:], " ")); got != want && verb != "later" {
				k.t.Errorf("%s of %s: %s ended with code %q, want %q", verb, name, k.models[name], got, want)
			}
			k.models[name] = next
			k.acknowledged++
			delete(under, name)
			delete(accepted, name)
		}
	}
	return under, accepted
}

// checkStored looks at what is on the disk, before a gateway mends anything.
func (k *killer) checkStored() {
	k.t.Helper()
	db, err := state.Open(filepath.Join(k.dir, "state"))
	if err != nil {
		k.t.Fatal(err)
	}
	defer db.Close()
	records, err := db.Adapters()
	if err != nil {
		k.t.Fatal(err)
	}
	for _, a := range records {
		active := a.Answering == 0
		for _, v := range a.Versions {
			active = active || v.Number == a.Answering
			content, err := os.ReadFile(db.Blobs().Path(v.Digest))
			if err != nil || digest(string(content)) != v.Digest || int64(len(content)) != v.Bytes {
				k.t.Errorf("version %d of %s: %q, %v", v.Number, a.Name, content, err)
			}
		}
		if !active {
			k.t.Errorf("%s is answered by version %d, which it has not: %+v", a.Name, a.Answering, a)
		}
	}
}

// checkCatalog opens the catalog and compares.
func (k *killer) checkCatalog(under map[string][]string, accepted map[string]bool) {
	k.t.Helper()
	r := victimRig(k.t, k.dir)
	var err error
	if r.base.Store, err = state.Open(filepath.Join(k.dir, "state")); err != nil {
		k.t.Fatal(err)
	}
	defer r.base.Store.Close()
	if err := r.begin(context.Background()); err != nil {
		k.t.Fatal(err)
	}
	defer r.Close()
	r.until("what was being fetched is there", func() bool {
		return !slices.ContainsFunc(r.List(), func(rec lora.Record) bool { return rec.State == lora.Downloading })
	})
	for name, before := range k.models {
		got := k.found(r, name)
		change, open := under[name]
		if !open {
			if got.String() != before.String() {
				k.t.Errorf("%s is\n%s, want\n%s", name, got, before)
			}
			continue
		}
		after, _ := before.after(change[0], change[1])
		switch {
		case got.String() == after.String():
			k.done++
		case got.String() == before.String() && !(accepted[name] && !before.exists):
			k.undone++
		default:
			k.t.Errorf("%s is after an unfinished %v (accepted: %t)\n%s, want\n%s or\n%s", name, change,
				accepted[name], got, before, after)
		}
		k.models[name] = got
	}
	k.checkFile(r)
	r.collect()
	k.checkBytes(r)
}

// found describes what the catalog has.
func (k *killer) found(r *rig, name string) (m expected) {
	if name != "sum" {
		m.bad = map[string]bool{}
	}
	quarantined, err := r.base.Store.Quarantined()
	if err != nil {
		k.t.Fatal(err)
	}
	for digest := range quarantined {
		if strings.HasPrefix(k.names[digest], name+"-") {
			m.bad[k.names[digest]] = true
		}
	}
	rec, ok := r.Get(name)
	if !ok {
		return m
	}
	kept, err := r.base.Store.Adapters()
	if err != nil {
		k.t.Fatal(err)
	}
	i := slices.IndexFunc(kept, func(a state.Adapter) bool { return a.Name == name })
	m.exists, m.seen, m.pin = true, k.names[kept[i].Seen], rec.Pin
	for _, v := range rec.Versions {
		m.versions, m.numbers = append(m.versions, k.names[v.Digest]), append(m.numbers, v.Number)
	}
	if rec.Active != nil {
		m.active = rec.Active.Number
		if got := r.answers(name); got != rec.Active.Digest {
			k.t.Errorf("%s is answered by %s", name, got)
		}
	}
	if len(rec.Shares) > 0 {
		m.scale = fmt.Sprint(rec.Shares[0].Scale)
	}
	return m
}

// checkFile compares the watched folder with what answers.
func (k *killer) checkFile(r *rig) {
	k.t.Helper()
	content, err := os.ReadFile(filepath.Join(r.opts.Dir, "file.gguf"))
	if errors.Is(err, os.ErrNotExist) {
		r.unknown("file")
		return
	}
	if err != nil {
		k.t.Fatal(err)
	}
	r.want("file", string(content))
}

// checkBytes compares the stored bytes with the versions: none is missing, and
// none is too many.
func (k *killer) checkBytes(r *rig) {
	k.t.Helper()
	want := map[string]bool{}
	for _, rec := range r.List() {
		for _, v := range rec.Versions {
			want[filepath.Base(v.Path)] = true
		}
	}
	files, err := os.ReadDir(filepath.Join(k.dir, "state", "blobs"))
	if err != nil {
		k.t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range files {
		got[f.Name()] = true
	}
	if !maps.Equal(got, want) {
		k.t.Errorf("stored are\n%v, want\n%v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}
