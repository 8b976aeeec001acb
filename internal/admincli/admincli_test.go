package admincli

import (
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/lora"
)

var now = time.Unix(100000, 0)

func some() []adminapi.Adapter {
	used, half := now.Add(-3*time.Minute), .5
	return []adminapi.Adapter{
		{
			Name: "shop", Kind: "adapter", Origin: "api", Source: "/models/shop.gguf", State: "ready", Version: 2,
			Digest: strings.Repeat("ab", 32),
			Bytes:  9 << 20, Rank: 8, Scale: 1, Settings: lora.Settings{Weight: 1, Aliases: []string{"store", "gpt-4o"},
				Description: "sells shoes"}, LoadedOn: []int{0, 1}, AppliedOn: []int{1}, LastUsed: &used, Pin: true,
			Staged: &adminapi.Staged{Version: 3, Digest: "cd"},
			Versions: []adminapi.Version{
				{Version: 1, Digest: "ef", Bytes: 1 << 20, Rank: 4, Created: now.Add(-48 * time.Hour)},
				{Version: 2, Digest: "ab", Bytes: 9 << 20, Rank: 8, Created: now.Add(-time.Hour), Active: true},
			},
		},
		{Name: "sum", Kind: "composition", State: "ready",
			Parts: []adminapi.Part{{Adapter: "a", Scale: &half}, {Adapter: "b"}}},
		{Name: "evil\x1b[2J", State: "rejected", Source: "/a", Reason: "/a: no\nGGUF", Kind: "adapter"},
		{Name: "sent", State: "rejected", Reason: "is bad"},
		{Name: "idle", State: "ready", Warnings: []string{"it changes nothing", "all is zero"}},
	}
}

func TestTables(t *testing.T) {
	var out strings.Builder
	if err := Adapters(&out, some(), now); err != nil {
		t.Fatal(err)
	}
	const want = `NAME      STATE           VERSION  DIGEST        RANK  SIZE     LOADED  APPLIED  USED           SOURCE
shop      ready           2        abababababab  8     9.0 MiB  0,1     1        3 minutes ago  /models/shop.gguf
sum       ready           -        -             -     -        -       -        -              a@0.5 + b
evil?[2J  rejected        -        -             -     -        -       -        -              /a: no?GGUF
sent      rejected        -        -             -     -        -       -        -              (upload): is bad
idle      ready, warning  -        -             -     -        -       -        -              (upload)
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s", got)
	}
	out.Reset()
	if err := Workers(&out, []adminapi.Worker{
		{ID: 0, State: "up", PID: 7, Applied: "shop", Loaded: []string{"shop", "sum"}, InFlight: 1, Slots: 4,
			Device: "Vulkan0", Restarts: 2},
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
		"description         sells shoes", "aliases             store, gpt-4o",
		"kind                adapter, from the admin API", "pinned, preloaded   true, false",
		"waits to be loaded  version 3, cd", "version 1           ef, rank 4, 1.0 MiB, 2 days ago\n",
		"version 2           ab, rank 8, 9.0 MiB, 1 hour ago, answers",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is not in\n%s", line, out.String())
		}
	}
	out.Reset()
	if err := Adapter(&out, some()[4], now); err != nil {
		t.Fatal(err)
	}
	const want = "warning            it changes nothing\nwarning            all is zero\n"
	if !strings.Contains(out.String(), want) {
		t.Errorf("%q is not in\n%s", want, out.String())
	}
}

// TestProgressWithoutTerminal says each thing once.
func TestProgressWithoutTerminal(t *testing.T) {
	var out strings.Builder
	p := NewProgress(&out, "shop")
	p.Sent(1, 10)
	p.Sent(10, 10)
	p.State(adminapi.Adapter{State: "downloading", Progress: &adminapi.Progress{}})
	p.State(adminapi.Adapter{State: "downloading", Progress: &adminapi.Progress{Done: 5}})
	p.State(adminapi.Adapter{State: "ready"})
	p.State(adminapi.Adapter{State: "ready"})
	p.Close()
	p.State(adminapi.Adapter{State: "late"})
	p.Sent(1, 10)
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
	p.State(adminapi.Adapter{State: "downloading", Progress: &adminapi.Progress{Done: 60, Total: 100}})
	p.State(adminapi.Adapter{State: "ready"})
	p.Close()
	if text := out.String(); !strings.Contains(text, "shop: uploading") || !strings.HasSuffix(text, "shop: ready\n") {
		t.Errorf("%q", text)
	}
}

// TestBarIsOfWhatGoesOn begins another when something else goes on, or its end
// becomes known.
func TestBarIsOfWhatGoesOn(t *testing.T) {
	var out strings.Builder
	p := NewProgress(&out, "shop")
	p.terminal = true
	p.Sent(10, -1)
	spinner := p.bar
	p.State(adminapi.Adapter{State: "downloading", Progress: &adminapi.Progress{Done: 10}})
	unknown := p.bar
	p.State(adminapi.Adapter{State: "downloading", Progress: &adminapi.Progress{Done: 20, Total: 100}})
	known := p.bar
	p.State(adminapi.Adapter{State: "downloading", Progress: &adminapi.Progress{Done: 30, Total: 100}})
	if spinner == unknown || unknown == known || known != p.bar || known.GetMax64() != 100 {
		t.Errorf("%p uploading, %p and %p downloading, then %p of %d", spinner, unknown, known, p.bar, known.GetMax64())
	}
	p.Close()
	text := out.String()
	for _, part := range []string{"shop: uploading", "shop: downloading"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
	p.Sent(20, 100)
	if out.String() != text || p.bar != nil {
		t.Errorf("after its end it writes %q", strings.TrimPrefix(out.String(), text))
	}
}

// TestManyRows keeps a thousand adapters in columns.
func TestManyRows(t *testing.T) {
	list := make([]adminapi.Adapter, 1000)
	for i := range list {
		list[i] = adminapi.Adapter{
			Name: strings.Repeat("n", 1+i%40), State: "ready", Version: 1 + i, Digest: strings.Repeat("ab", 32), Rank: 8,
			Bytes: int64(i) << 10, Source: "hf://owner/" + strings.Repeat("long", 30) + "/end.gguf", LoadedOn: []int{i % 7},
		}
	}
	var out strings.Builder
	if err := Adapters(&out, list, now); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 1001 {
		t.Fatalf("%d lines", len(lines))
	}
	source := strings.Index(lines[0], "SOURCE")
	for _, line := range lines[1:] {
		if strings.Index(line, "…") != source || !strings.HasSuffix(line, "long/end.gguf") || len([]rune(line)) != source+60 {
			t.Fatalf("%q\nbegins its source elsewhere than\n%q", line, lines[0])
		}
	}
}
