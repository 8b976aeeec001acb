package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// victimVariable names the directory that the test binary, started as a gateway
// to be killed, works in; seedVariable what it does there.
const (
	victimVariable = "LORAGATE_TEST_VICTIM"
	seedVariable   = "LORAGATE_TEST_SEED"
)

// victims are the adapters that it changes over the API, each with contents of
// its own: their names with numbers.
var victims = []string{"a", "b", "c"}

const contents = 6

// victimRig is that of the victim, and of whoever looks at what it left. It is not open.
func victimRig(t *testing.T, dir string) *rig {
	r := &rig{t: t, root: dir, asked: map[string]int{}}
	r.base = catalog.Options{BaseName: "base", BasePath: filepath.Join(dir, "base"), Changed: r.tell}
	r.opts = Options{Dir: filepath.Join(dir, "adapters"), Settle: 1, Sources: r}
	return r
}

// victim changes a catalog until it is killed. It prints a line before and after
// each change, and at moments within.
type victim struct {
	*rig
	dir    string
	loaded sync.Map // files that a worker would have loaded, by path
	mu     sync.Mutex
}

// beVictim is the process that is killed. Each of its models has a goroutine.
func beVictim(dir string) {
	v := &victim{rig: victimRig(nil, dir), dir: dir}
	seed, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64)
	v.must(err)
	v.opts.Sources = v
	changed := make(chan struct{}, 1)
	v.base.Changed = func() {
		v.tell()
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	v.base.IsLoaded = func(path string) bool { _, ok := v.loaded.Load(path); return ok }
	v.base.Store, err = state.Open(filepath.Join(dir, "state"))
	v.must(err)
	v.say("open")
	v.must(v.begin(context.Background()))
	for i, name := range victims {
		go v.adapter(name, rand.New(rand.NewPCG(seed, uint64(i))))
	}
	go v.composition(rand.New(rand.NewPCG(seed, 1000)))
	go v.file(rand.New(rand.NewPCG(seed, 1001)))
	for range changed { // a worker that loads whatever is in stock
		for _, s := range v.Stock() {
			v.loaded.Store(s.Path, true)
			v.Loaded(s.Path)
		}
	}
}

// Check implements Sources.
func (v *victim) Check(ctx context.Context, path string) (lora.Version, error) {
	v.say("checking")
	return v.rig.Check(ctx, path)
}

func (v *victim) must(err error) {
	if err != nil {
		v.say("failed:", err)
		os.Exit(1)
	}
}

func (v *victim) say(words ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Println(words...)
}

// adapter changes one adapter in every way.
func (v *victim) adapter(name string, rng *rand.Rand) {
	for {
		content := fmt.Sprintf("%s-%d", name, rng.IntN(contents))
		verbs := []string{"put", "put", "put", "upload", "upload", "later", "later", "rollback", "rollback", "remove",
			"pin", "unpin", "quarantine"}
		verb := verbs[rng.IntN(len(verbs))]
		v.say("begin", name, verb, content)
		spec, source, err := lora.Spec{Name: name}, filepath.Join(v.dir, "sources", content), error(nil)
		switch verb {
		case "put":
			spec.Source = source
			_, err = v.Put(context.Background(), spec, true)
		case "upload":
			f, openErr := os.Open(source)
			v.must(openErr)
			_, err = v.Upload(context.Background(), spec, f, "a.gguf")
			f.Close()
		case "later":
			spec.Source = source
			_, err = v.Put(context.Background(), spec, false)
			v.say("accepted", name)
		case "rollback":
			_, err = v.Rollback(name)
		case "remove":
			err = v.Remove(name)
		case "pin", "unpin":
			_, err = v.Pin(name, verb == "pin")
		case "quarantine":
			if rec, _ := v.Get(name); rec.Active != nil {
				v.Quarantine(rec.Active.Path, "it ended llama-server")
			}
		}
		v.settle(name)
		v.say("done", name, refusal(err))
	}
}

// settle blocks until nothing of the model is under way.
func (v *victim) settle(name string) {
	for {
		changed := v.changed()
		if rec, _ := v.Get(name); rec.State != lora.Downloading && rec.Staged == nil {
			return
		}
		<-changed
	}
}

// composition sets and removes a sum of adapters.
func (v *victim) composition(rng *rand.Rand) {
	for {
		scale := 1 + rng.IntN(9)
		var err error
		if rng.IntN(4) == 0 {
			v.say("begin sum remove 0")
			err = v.Remove("sum")
		} else {
			v.say("begin sum set", scale)
			_, err = v.Put(context.Background(),
				lora.Spec{Name: "sum", Shares: []lora.Share{{Adapter: "a", Scale: float64(scale)},
					{Adapter: "b", Scale: 1}}}, true)
		}
		v.say("done sum", refusal(err))
	}
}

// file changes a file of the watched folder.
func (v *victim) file(rng *rand.Rand) {
	path, moving := filepath.Join(v.dir, "adapters", "file.gguf"), filepath.Join(v.dir, "moving")
	for {
		if rng.IntN(6) == 0 {
			err := os.Remove(path)
			if !errors.Is(err, os.ErrNotExist) {
				v.must(err)
			}
		} else {
			content := fmt.Sprintf("file-%d %s", rng.IntN(contents), "and more"[:rng.IntN(8)])
			v.must(errors.Join(os.WriteFile(moving, []byte(content), 0o600), os.Rename(moving, path)))
		}
		v.say("moved a file")
		v.settle("file")
	}
}
