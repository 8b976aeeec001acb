package admincli

import (
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/admin"
)

var now = time.Unix(100000, 0)

func some() []admin.Adapter {
	used, half := now.Add(-3*time.Minute), .5
	return []admin.Adapter{
		{
			Name: "shop", Kind: "adapter", Origin: "api", Source: "/models/shop.gguf", State: "ready", Version: 2, Digest: strings.Repeat("ab", 32),
			Bytes: 9 << 20, Rank: 8, Scale: 1, Weight: 1, Aliases: []string{"store", "gpt-4o"}, LoadedOn: []int{0, 1}, AppliedOn: []int{1}, LastUsed: &used, Pin: true,
			Staged: &admin.Staged{Version: 3, Digest: "cd"},
			Versions: []admin.Version{
				{Version: 1, Digest: "ef", Bytes: 1 << 20, Rank: 4, Created: now.Add(-48 * time.Hour)},
				{Version: 2, Digest: "ab", Bytes: 9 << 20, Rank: 8, Created: now.Add(-time.Hour), Active: true},
			},
		},
		{Name: "sum", Kind: "composition", State: "ready", Parts: []admin.Part{{Adapter: "a", Scale: &half}, {Adapter: "b"}}},
		{Name: "evil\x1b[2J", State: "rejected", Source: "/a", Reason: "/a: no\nGGUF", Kind: "adapter"},
		{Name: "sent", State: "rejected", Reason: "is bad"},
	}
}

func TestTables(t *testing.T) {
	var out strings.Builder
	if err := Adapters(&out, some(), now); err != nil {
		t.Fatal(err)
	}
	const want = `NAME      STATE     VERSION  DIGEST        RANK  SIZE     LOADED ON  APPLIED ON  USED           SOURCE
shop      ready     2        abababababab  8     9.0 MiB  0,1        1           3 minutes ago  /models/shop.gguf
sum       ready     -        -             -     -        -          -           -              a@0.5 + b
evil?[2J  rejected  -        -             -     -        -          -           -              /a: no?GGUF
sent      rejected  -        -             -     -        -          -           -              (upload): is bad
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s", got)
	}
	out.Reset()
	if err := Workers(&out, []admin.Worker{
		{ID: 0, State: "up", PID: 7, Applied: "shop", Loaded: []string{"shop", "sum"}, InFlight: 1, Slots: 4, Device: "Vulkan0", Restarts: 2},
		{ID: 1, State: "reloading", Drained: true}, {ID: 2, State: "spare"},
	}); err != nil {
		t.Fatal(err)
	}
	const workers = `ID  STATE               PID  DEVICE   APPLIED  LOADED  SLOTS  RESTARTS
0   up                  7    Vulkan0  shop     2       1/4    2
1   reloading, drained  -    -        -        0       0/0    0
2   spare               -    -        -        0       0/0    0
`
	if got := out.String(); got != workers {
		t.Errorf("got\n%s", got)
	}
}

func TestDetails(t *testing.T) {
	var out strings.Builder
	if err := Adapter(&out, some()[0], now); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"aliases             store, gpt-4o", "kind                adapter, from the admin API", "pinned, preloaded   true, false",
		"waits to be loaded  version 3, cd", "version 1           ef, rank 4, 1.0 MiB, 2 days ago\n", "version 2           ab, rank 8, 9.0 MiB, 1 hour ago, answers",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is not in\n%s", line, out.String())
		}
	}
}

// TestProgressWithoutTerminal says each thing once.
func TestProgressWithoutTerminal(t *testing.T) {
	var out strings.Builder
	p := NewProgress(&out, "shop")
	p.Sent(1, 10)
	p.Sent(10, 10)
	p.State(admin.Adapter{State: "downloading", Progress: &admin.Progress{}})
	p.State(admin.Adapter{State: "downloading", Progress: &admin.Progress{Done: 5}})
	p.State(admin.Adapter{State: "ready"})
	p.State(admin.Adapter{State: "ready"})
	p.Close()
	if want := "shop: uploading\nshop: downloading\nshop: ready\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// TestBar draws where there is a terminal, and leaves nothing.
func TestBar(t *testing.T) {
	var out strings.Builder
	p := NewProgress(&out, "shop")
	p.terminal = true
	p.Sent(0, 100)
	p.Sent(50, 100)
	p.State(admin.Adapter{State: "downloading", Progress: &admin.Progress{Done: 60, Total: 100}})
	p.State(admin.Adapter{State: "ready"})
	p.Close()
	if text := out.String(); !strings.Contains(text, "shop: uploading") || !strings.HasSuffix(text, "shop: ready\n") {
		t.Errorf("%q", text)
	}
}
