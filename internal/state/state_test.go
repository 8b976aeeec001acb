package state

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// record is one of which nothing else matters.
func record(origin lora.Origin, name, reason string) Adapter {
	return Adapter{Record: lora.Record{Spec: lora.Spec{Name: name}, Origin: origin, Reason: reason}}
}

func open(t *testing.T, dir string) *DB {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestRecordsSurvive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "state")
	d := open(t, dir)
	pinned := false
	want := Adapter{
		Record: lora.Record{
			Spec: lora.Spec{
				Name: "team/a", Source: "/a", Digest: "d", Scale: .5, Pin: true, Preload: true,
				Shares:   []lora.Share{{Adapter: "b", Scale: .5}},
				Settings: lora.Settings{Aliases: []string{"x"}, Weight: 2, MaxConcurrency: 3, Description: "about"},
			},
			Kind: "adapter", Origin: "api", State: "ready", Reason: "r", Updated: time.Unix(7, 8).UTC(),
			Versions: []*lora.Version{
				{Number: 2, Digest: "e", Bytes: 1, Rank: 8, Alpha: 16, Architecture: "llama", Source: "/a",
					Created: time.Unix(5, 6).UTC()},
			},
		},
		Pinned: &pinned, Answering: 2, Seen: "e",
	}
	other := record("directory", want.Name, "")
	older := record("api", want.Name, "")
	older.Source = "/older"
	for _, u := range []Update{
		{Put: []Adapter{record("", "gone", ""), older, other}, Quarantine: map[string]string{"one": "old", "two": "bad"}},
		{Put: []Adapter{want}, Forget: []Key{{"", "gone"}, {"", "never"}}, Quarantine: map[string]string{"one": "bad"},
			Release: []string{"two", "never"}},
		{},
	} {
		if err := d.Apply(u); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, dir)
	if got, err := d.Adapters(); err != nil || !reflect.DeepEqual(got, []Adapter{want, other}) {
		t.Errorf("%+v, %v; want %+v and %+v", got, err, want, other)
	}
	if got, err := d.Quarantined(); err != nil || !reflect.DeepEqual(got, map[string]string{"one": "bad"}) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestMain lets the test binary be another gateway: it holds the directory named
// in the environment, says so, and stays until it is killed.
func TestMain(m *testing.M) {
	dir := os.Getenv("LORAGATE_TEST_HOLD")
	if dir == "" {
		os.Exit(m.Run())
	}
	d, err := Open(dir)
	if err == nil {
		fmt.Println("open")
		_, err = io.ReadAll(os.Stdin)
		d.Close()
	}
	fmt.Println(err)
}

func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	var locked *LockedError
	if _, err := Open(dir); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("a second one: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

// TestOneProcessAtATime opens what another process has open: it is turned away
// before it touches anything, and takes over when that process was killed.
func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "LORAGATE_TEST_HOLD="+dir)
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "open\n" {
		t.Fatalf("%q, %v", line, err)
	}
	writing := filepath.Join(dir, "work", "of-the-other")
	if err := os.WriteFile(writing, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	_, err = Open(dir)
	if !errors.As(err, &locked) || locked.PID != other.Process.Pid ||
		!strings.Contains(err.Error(), dir+" is in use by another gateway, process ") {
		t.Errorf("while another process has it: %v", err)
	}
	if _, err := os.Stat(writing); err != nil {
		t.Errorf("what the other is writing: %v", err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait()
	open(t, dir)
	if _, err := os.Stat(writing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the killed one left: %v", err)
	}
}

// filled makes a directory with records and one blob, closed, and returns it.
func filled(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	d := open(t, dir)
	var u Update
	for i := range 200 {
		u.Put = append(u.Put, record("api", fmt.Sprint("adapter-", i), strings.Repeat("x", 200)))
	}
	source := filepath.Join(dir, "source")
	if err := errors.Join(d.Apply(u), os.WriteFile(source, []byte("bytes"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Blobs().Put(t.Context(), source); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDatabasesThatCannotBeUsed are told apart, and nothing is changed.
func TestDatabasesThatCannotBeUsed(t *testing.T) {
	overwrite := func(file string, at int64, with string) error {
		f, err := os.OpenFile(file, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte(with), at)
		return errors.Join(err, f.Close())
	}
	for name, c := range map[string]struct {
		spoil func(file string) error
		want  []string
	}{
		"no database": {func(file string) error {
			return os.WriteFile(file,
				[]byte(strings.Repeat("no database ", 100)), 0o600)
		}, []string{"is damaged", "move it away"}},
		"a page overwritten": {func(file string) error {
			return overwrite(file, 3*4096,
				strings.Repeat("garbage ", 512))
		}, []string{"is damaged", "move it away"}},
		"a header overwritten": {func(file string) error { return overwrite(file, 0, "garbage") },
			[]string{"is damaged", "move it away"}},
		"cut in half": {func(file string) error { return os.Truncate(file, 5*4096) },
			[]string{"is damaged", "move it away"}},
		"cut to nothing": {func(file string) error { return os.Truncate(file, 0) },
			[]string{"is empty", "blobs", "move it away"}},
		"not there": {os.Remove, []string{"is empty", "blobs", "move it away"}},
		"of a newer gateway": {func(file string) error { return overwrite(file, 60, "\x00\x00\x03\xe8") },
			[]string{"version 1000", "run a newer one"}},
		"a folder": {func(file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) },
			[]string{"unable to open"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			file := filepath.Join(dir, "loragate.db")
			if err := c.spoil(file); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(file)
			for range 2 { // a second try does not take what the first one left for good
				_, err := Open(dir)
				for _, part := range append(c.want, file) {
					if err == nil || !strings.Contains(err.Error(), part) {
						t.Errorf("%v does not say %q", err, part)
					}
				}
			}
			if after, _ := os.ReadFile(file); len(before) > 0 && !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
			if blobs, err := os.ReadDir(filepath.Join(dir, "blobs")); err != nil || len(blobs) != 1 {
				t.Errorf("the adapters' files are %v, %v", blobs, err)
			}
		})
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "loragate.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir) // as a gateway leaves it that is killed at its first start
}

// TestRecordsOfOlderGateways are read: fields are added to records, and never
// renamed.
func TestRecordsOfOlderGateways(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	const first = `{"Name":"a","Kind":"adapter","Origin":"api","Source":"/a.gguf","WantDigest":"","Scale":0.5,"Aliases":["b"],"Weight":2,"MaxConcurrency":3,` +
		`"Pin":false,"Preload":true,"Pinned":true,"Shares":null,"Active":1,"Seen":"ab","State":"ready","Reason":"",` +
		`"Versions":[{"number":1,"digest":"ab","bytes":5,"rank":8,"alpha":16,"architecture":"llama","source":"/a.gguf","created":"2026-11-27T06:00:00Z"}],` +
		`"Updated":"2026-11-27T06:00:00Z"}`
	if _, err := d.SQL().Exec("INSERT INTO adapters (origin, name, record) VALUES ('api', 'a', ?)", first); err != nil {
		t.Fatal(err)
	}
	if _, err := d.SQL().Exec("PRAGMA user_version = 5"); err != nil { // before max_concurrency had that name
		t.Fatal(err)
	}
	d.Close()
	d = open(t, dir)
	pinned, at := true, time.Date(2026, 11, 27, 6, 0, 0, 0, time.UTC)
	want := Adapter{
		Record: lora.Record{
			Spec: lora.Spec{
				Name: "a", Source: "/a.gguf", Scale: .5, Preload: true,
				Settings: lora.Settings{Aliases: []string{"b"}, Weight: 2, MaxConcurrency: 3},
			},
			Kind: "adapter", Origin: "api", State: "ready", Updated: at,
			Versions: []*lora.Version{{Number: 1, Digest: "ab", Bytes: 5, Rank: 8, Alpha: 16, Architecture: "llama",
				Source: "/a.gguf", Created: at}},
		},
		Pinned: &pinned, Answering: 1, Seen: "ab",
	}
	if got, err := d.Adapters(); err != nil || !reflect.DeepEqual(got, []Adapter{want}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := d.SQL().Exec("UPDATE adapters SET record = '{'"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Adapters(); err == nil || !strings.Contains(err.Error(), `"a"`) ||
		!strings.Contains(err.Error(), "from a backup") {
		t.Errorf("a damaged record: %v", err)
	}
}

// TestUpdatesAreWholeOrNot lets one fail in the middle: for a value that JSON
// lacks, for a full disk, and for a directory that was closed.
func TestUpdatesAreWholeOrNot(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	old := record("api", "old", "")
	if err := d.Apply(Update{Put: []Adapter{old}, Quarantine: map[string]string{"bad": "it ends"}}); err != nil {
		t.Fatal(err)
	}
	full := func(pages int) {
		t.Helper()
		if _, err := d.SQL().Exec(fmt.Sprint("PRAGMA max_page_count = ", pages)); err != nil {
			t.Fatal(err)
		}
	}
	unchanged := func(t *testing.T, err error) {
		t.Helper()
		if err == nil {
			t.Error("it did not fail")
		}
		if got, err := d.Adapters(); err != nil || !reflect.DeepEqual(got, []Adapter{old}) {
			t.Errorf("records %+v, %v", got, err)
		}
		if got, err := d.Quarantined(); err != nil || len(got) != 1 {
			t.Errorf("marks %v, %v", got, err)
		}
	}
	u := Update{Forget: []Key{{"api", "old"}}, Put: []Adapter{record("api", "new", "")}, Release: []string{"bad"}}
	wrong := u
	nan := record("", "wrong", "")
	nan.Scale = math.NaN()
	wrong.Put = append(wrong.Put, nan)
	unchanged(t, d.Apply(wrong))
	full(1) // no page more than there are
	large := u
	large.Put = append(large.Put, record("", "large", strings.Repeat("x", 1<<16)))
	unchanged(t, d.Apply(large))
	full(1 << 30)
	if err := d.Apply(large); err != nil {
		t.Errorf("after there is room again: %v", err)
	}
	if got, err := d.Adapters(); err != nil || len(got) != 2 {
		t.Errorf("records %+v, %v", got, err)
	}
	d.Close()
	if err := d.Apply(u); err == nil {
		t.Error("a closed one took an update")
	}
}

// TestOddPaths holds the database's file in folders whose names mean something in
// a URL.
func TestOddPaths(t *testing.T) {
	for _, name := range []string{"with space", "a?b=c&d", "50%41#x", "snow☃", ":memory:"} {
		dir := filepath.Join(t.TempDir(), name)
		d := open(t, dir)
		if err := d.Apply(Update{Put: []Adapter{record("", "a", "")}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		d.Close()
		if _, err := os.Stat(filepath.Join(dir, "loragate.db")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := open(t, dir).Adapters(); err != nil || len(got) != 1 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file in place of the folder: %v", err)
	}
}

// TestFullDisksAreExplained: the error says what to do.
func TestFullDisksAreExplained(t *testing.T) {
	for _, err := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		if got := explain(&os.PathError{Op: "write", Path: "x", Err: err}); !errors.Is(got, err) ||
			!strings.Contains(got.Error(), "the disk is full: free space where state.dir is") {
			t.Errorf("%v: %v", err, got)
		}
	}
}
