package admin

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/lora"
)

// TestSourcesAreShown without what may be secret in them.
func TestSourcesAreShown(t *testing.T) {
	for source, want := range map[string]string{
		"https://user:secret@host:8443/a%2Fb.gguf?token=secret#secret": "https://host:8443/a%2Fb.gguf",
		"https://secret@host/a":      "https://host/a",
		"http://127.0.0.1/a?secret":  "http://127.0.0.1/a",
		"https://user:secret@%zz/a":  "(a URL)",
		"https://user:sec ret@ho st": "(a URL)",
		"hf://owner/repo/file@v1":    "hf://owner/repo/file@v1",
		"s3://bucket/a?b":            "s3://bucket/a?b",
		"/models/a?b.gguf":           "/models/a?b.gguf",
		"":                           "",
	} {
		r := newCatalog()
		r.records[0].Source, r.records[0].Active.Source = source, source
		for _, path := range []string{adminapi.AdaptersPath, somePath} {
			text := r.serve(t, "GET", path, "", "").Body.String()
			if strings.Count(text, `"source":"`+want+`"`) != 2 || strings.Contains(text, "secret") {
				t.Errorf("%s: %s", source, text)
			}
		}
	}
}

// TestPlacesOfFilesAreNotShown in reasons.
func TestPlacesOfFilesAreNotShown(t *testing.T) {
	version := func(n int, path string) *lora.Version { return &lora.Version{Number: n, Path: path} }
	r := newCatalog()
	rec := &r.records[0]
	rec.State, rec.Reason = lora.Rejected, "first /state/1.gguf, then /state/2.gguf and /state/3.gguf, of "+
		"/models/shop.gguf"
	rec.Active, rec.Staged = version(2, "/state/2.gguf"), version(3, "/state/3.gguf")
	rec.Versions = []*lora.Version{version(1, "/state/1.gguf")}
	for _, c := range [][3]string{{"GET", adminapi.AdaptersPath, ""}, {"GET", somePath, ""},
		{"PUT", somePath, `{"source":"/a"}`}} {
		text := r.serve(t, c[0], c[1], isJSON, c[2]).Body.String()
		if strings.Contains(text, "/state/") || !strings.Contains(text,
			"first the adapter's file, then the adapter's file") ||
			!strings.Contains(text, "/models/shop.gguf") {
			t.Errorf("%s %s: %s", c[0], c[1], text)
		}
	}
}

// wantAdapters is the whole answer: the names of fields are a promise.
const wantAdapters = `{"adapters": [
  {"name": "shop", "kind": "adapter", "origin": "api", "source": "hf://owner/shop", "state": "downloading", "reason": "",
   "warnings": ["it changes nothing"], "progress": {"done": 3, "total": 10}, "version": 2, "digest": "ab02", "staged": {"version": 3, "digest": "ab03"},
   "bytes": 12, "rank": 8, "alpha": 16.5, "scale": 0.5, "description": "sells", "aliases": ["x", "y"], "weight": 2, "max_concurrency": 4, "pin": true,
   "preload": true, "parts": [], "versions": [
     {"version": 1, "digest": "ab01", "bytes": 11, "rank": 4, "source": "/a", "created": "1970-01-01T00:00:01Z", "active": false},
     {"version": 2, "digest": "ab02", "bytes": 12, "rank": 8, "source": "/b", "created": "1970-01-01T00:00:02Z", "active": true},
     {"version": 3, "digest": "ab03", "bytes": 13, "rank": 9, "source": "/c", "created": "1970-01-01T00:00:03Z", "active": false}],
   "loaded_on": [0], "applied_on": [], "last_used": "1970-01-01T00:00:05Z", "updated": "1970-01-01T00:00:04Z"},
  {"name": "sum", "kind": "composition", "origin": "config", "source": "", "state": "ready", "reason": "",
   "warnings": [], "progress": null, "version": 0, "digest": "", "staged": null,
   "bytes": 0, "rank": 0, "alpha": 0, "scale": 1, "description": "", "aliases": [], "weight": 1, "max_concurrency": 0, "pin": false,
   "preload": false, "parts": [{"adapter": "shop", "scale": -0.5}, {"adapter": "x", "scale": null}], "versions": [],
   "loaded_on": [0], "applied_on": [], "last_used": null, "updated": "1970-01-01T00:00:04Z"},
  {"name": "wrong", "kind": "adapter", "origin": "directory", "source": "/models/wrong.gguf", "state": "rejected",
   "reason": "not a GGUF file", "warnings": [], "progress": null, "version": 0, "digest": "", "staged": null,
   "bytes": 0, "rank": 0, "alpha": 0, "scale": 1, "description": "", "aliases": [], "weight": 1, "max_concurrency": 0, "pin": false,
   "preload": false, "parts": [], "versions": [],
   "loaded_on": [], "applied_on": [], "last_used": null, "updated": "1970-01-01T00:00:04Z"}]}`

func TestAdaptersAreShown(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	var versions []*lora.Version
	for n, source := range []string{"/a", "/b", "/c"} {
		versions = append(versions, &lora.Version{
			Number: n + 1, Digest: fmt.Sprintf("ab0%d", n+1), Path: fmt.Sprintf("/state/%d", n+1), Bytes: int64(11 + n),
			Rank: []int{4, 8, 9}[n], Alpha: 16.5, Source: source, Created: at(int64(n + 1)),
		})
	}
	versions[2].Warnings = []string{"it changes nothing"}
	r := newCatalog()
	r.records = []lora.Record{
		{
			Spec: lora.Spec{Name: "shop", Source: "hf://owner/shop", Scale: .5,
				Settings: lora.Settings{Aliases: []string{"x", "y"}, Weight: 2, MaxConcurrency: 4, Description: "sells"},
				Pin:      true, Preload: true},
			Kind: lora.KindAdapter, Origin: lora.FromAPI, State: lora.Downloading, Progress: lora.Progress{Done: 3, Total: 10},
			Active: versions[1], Staged: versions[2], Versions: versions, Updated: at(4),
		},
		{
			Spec: lora.Spec{Name: "sum", Shares: []lora.Share{{Adapter: "shop", Scale: -.5}, {Adapter: "x"}}},
			Kind: lora.KindComposition, Origin: lora.FromConfig, State: lora.Ready, Progress: lora.Progress{Done: 3},
			Updated: at(4),
		},
		{
			Spec: lora.Spec{Name: "wrong", Source: "/models/wrong.gguf"}, Kind: lora.KindAdapter, Origin: lora.FromDirectory,
			State: lora.Rejected, Reason: "not a GGUF file", Updated: at(4),
		},
	}
	r.pool.files = map[string]FileView{"/state/2": {LoadedOn: []int{0}, LastUsed: at(5)}, "/state/3": {LoadedOn: []int{1}}}
	rec := r.serve(t, "GET", adminapi.AdaptersPath, "", "")
	if have, want := canonical(t, json.RawMessage(rec.Body.Bytes())),
		canonical(t, json.RawMessage(wantAdapters)); have != want {
		t.Errorf("the adapters are\n%s\nnot\n%s", have, want)
	}
}

// TestPlaces tells where files and sums of them are loaded and applied.
func TestPlaces(t *testing.T) {
	r := newCatalog()
	used := time.Unix(1000, 0)
	other := ready()
	other.Name, other.Active = "other", &lora.Version{Number: 1, Digest: "cd", Path: "/other"}
	sum := lora.Record{
		Spec: lora.Spec{Name: "sum", Shares: []lora.Share{{Adapter: "shop", Scale: .5}, {Adapter: "other"}}},
		Kind: lora.KindComposition, Origin: lora.FromConfig, State: lora.Ready,
	}
	lacking := sum
	lacking.Name, lacking.Shares = "lacking", []lora.Share{{Adapter: "shop"}, {Adapter: "nobody"}}
	byAlias := sum
	byAlias.Name, byAlias.Shares = "byalias", []lora.Share{{Adapter: "shop"}, {Adapter: "another"}}
	other.Aliases = []string{"another"}
	// A file of the folder that was rejected is no part of anything.
	nobody := lora.Record{Spec: lora.Spec{Name: "nobody"}, Kind: lora.KindAdapter, Origin: lora.FromDirectory,
		State: lora.Rejected}
	r.records = append(r.records, other, sum, lacking, byAlias, nobody)
	files := func() map[string]FileView {
		return map[string]FileView{
			"/state/blobs/ab01.gguf": {LoadedOn: []int{2, 0, 1}, AppliedOn: []int{1, 0}, LastUsed: used},
			"/other":                 {LoadedOn: []int{1, 2}, AppliedOn: []int{1}, Wanted: true},
		}
	}
	r.pool.files = files()
	var got adminapi.Adapters
	rec := r.serve(t, "GET", "/admin/v1/adapters", "", "")
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || len(got.Adapters) != len(r.records) {
		t.Fatalf("%d %s, %v", rec.Code, rec.Body, err)
	}
	want := map[string][2][]int{"shop": {{0, 1, 2}, {0, 1}}, "other": {{1, 2}, {1}}, "sum": {{1, 2}, {1}},
		"lacking": {{}, {}},
		"byalias": {{1, 2}, {1}}, "nobody": {{}, {}}}
	for _, a := range got.Adapters {
		if a.State != "ready" && a.Name != "nobody" {
			t.Errorf("%s is %s", a.Name, a.State)
		}
		if w := want[a.Name]; !reflect.DeepEqual([2][]int{a.LoadedOn, a.AppliedOn}, w) {
			t.Errorf("%s is loaded on %v and applied on %v, want %v", a.Name, a.LoadedOn, a.AppliedOn, w)
		}
		if (a.LastUsed != nil) != (a.Name == "shop") {
			t.Errorf("%s was used %v", a.Name, a.LastUsed)
		}
	}
	if !reflect.DeepEqual(r.pool.files, files()) {
		t.Errorf("the pool's own lists were changed: %v", r.pool.files)
	}
	var one adminapi.Adapter
	rec = r.serve(t, "GET", "/admin/v1/adapters/sum", "", "")
	if err := json.Unmarshal(rec.Body.Bytes(), &one); err != nil || !reflect.DeepEqual(one.LoadedOn, []int{1, 2}) {
		t.Errorf("the sum alone: %s, %v", rec.Body, err)
	}
	r.pool.files["/other"] = FileView{Wanted: true}
	if rec := r.serve(t, "GET", "/admin/v1/adapters/other", "", ""); !strings.Contains(rec.Body.String(),
		`"state":"loading"`) {
		t.Errorf("a file that some worker is to load: %s", rec.Body)
	}
	r.records[1].State = lora.Downloading
	if rec := r.serve(t, "GET", "/admin/v1/adapters/other", "", ""); !strings.Contains(rec.Body.String(),
		`"state":"downloading"`) {
		t.Errorf("a file that some worker is to load, with another to come: %s", rec.Body)
	}
}
