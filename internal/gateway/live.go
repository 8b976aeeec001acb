package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/catalog/ingest"
	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy"
	"github.com/loragate/loragate/internal/state"
)

// specs are the adapters and compositions of a configuration.
func specs(cfg *config.Config) []lora.Spec {
	var list []lora.Spec
	for _, a := range cfg.Adapters.List {
		from := a.Path
		if from == "" {
			from = a.Source
		}
		list = append(list, lora.Spec{
			Name: a.Name, Source: from, Digest: a.Digest, Scale: a.Scale,
			Settings: a.Settings, Pin: a.Pin, Preload: a.Preload,
		})
	}
	for _, c := range cfg.Compositions {
		list = append(list, lora.Spec{Name: c.Name, Scale: 1, Settings: c.Settings, Shares: c.Parts})
	}
	return list
}

// openCatalog opens the state and what is in it, the directory and the
// configuration's list; it blocks until all of that has been looked at. What it
// opened, close closes, also after an error.
func (g *gateway) openCatalog(ctx context.Context) error {
	dir := g.cfg.State.Dir
	if dir == "" {
		dir = filepath.Join(g.dir.path, "state")
	}
	var err error
	if g.state, err = state.Open(dir); err != nil {
		return without(g.cfg, "GATEWAY_STATE_DIR", fmt.Errorf("state.dir: %w", err))
	}
	in, err := newSources(g.cfg, g.state.Store(), g.log)
	if err != nil {
		return err
	}
	g.models, err = catalog.New(catalog.Options{
		BaseName: g.cfg.Model.Name, BasePath: g.cfg.Model.Path,
		Adhoc: g.cfg.Catalog.Adhoc, KeepVersions: g.cfg.State.Versions, Store: g.state, Changed: g.catalogChanged,
		IsLoaded: func(path string) bool { return g.fromPool(path, (*pool.Pool).Loaded) },
		Log:      g.log,
	})
	if err != nil {
		return err
	}
	g.ingest, err = ingest.Open(ctx, ingest.Options{
		Catalog: g.models, BasePath: g.cfg.Model.Path, Blobs: g.state.Blobs(), Sources: in,
		Dir: g.cfg.Adapters.Dir, Settle: g.cfg.Adapters.Settle, Rescan: g.cfg.Adapters.Rescan,
		Entries: specs(g.cfg), MaxBytes: g.cfg.Workers.AdapterMemory, Opening: g.opening,
		InUse: func(path string) bool { return g.before.lives() || g.fromPool(path, (*pool.Pool).Opens) },
		Log:   g.log,
	})
	return err
}

// adapters is what operators look at and change: the catalog, and what is brought into it.
type adapters struct {
	*catalog.Catalog
	*ingest.Ingest
}

// opening tells those who ask meanwhile how far the start is.
func (g *gateway) opening(done, total int) {
	text := fmt.Sprintf("%s of %s adapters read", thousands(done), thousands(total))
	for _, e := range g.entrances() {
		e.starting.Progress(text)
	}
}

// thousands writes a number as people read it.
func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// fromPool asks the pool, once there is one.
func (g *gateway) fromPool(path string, ask func(*pool.Pool, pool.File) bool) bool {
	p := g.running.Load()
	return p != nil && ask(p, pool.File(path))
}

// catalogChanged tells the pool and the metrics what there is now. It is called
// by the catalog, which may be opening: then there is no pool yet.
func (g *gateway) catalogChanged() {
	p := g.running.Load()
	if p == nil {
		return
	}
	g.changing.Lock() // the latest state comes last
	defer g.changing.Unlock()
	g.metrics.AddModels(metricNames(g.models))
	p.SetStock(stock(g.models))
}

// stock puts the catalog's files into the pool's words.
func stock(models *catalog.Catalog) []pool.Stock {
	var list []pool.Stock
	for _, s := range models.Stock() {
		list = append(list, pool.Stock{File: pool.File(s.Path), Bytes: s.Bytes, Pin: s.Pin, Preload: s.Preload})
	}
	return list
}

// metricNames are the labels that models have in the metrics.
func metricNames(models *catalog.Catalog) []string {
	names := []string{proxy.Adhoc}
	for _, m := range models.Models() {
		if m.Kind != lora.KindAlias {
			names = append(names, m.Name)
		}
	}
	return names
}

// loaded is told by the pool what a new process has loaded.
func (g *gateway) loaded(files []pool.File) {
	for _, file := range files {
		g.models.Loaded(string(file))
	}
}

// quarantined is told by the pool of a file that cannot be loaded.
func (g *gateway) quarantined(file pool.File, reason string) {
	g.log.Error("an adapter cannot be loaded", "file", filepath.Base(string(file)), "reason", reason)
	g.models.Quarantine(string(file), reason)
}

// errOpens refuses a configuration that would let everybody in who can reach the
// gateway: a file that was emptied, or half written, looks the same.
var errOpens = errors.New("it has no tenants any more, so that nobody would be asked for a key: a restart is needed " +
	"for that")

// watchConfig applies changes of the configuration's file, and loads it again on
// SIGHUP, until ctx ends.
func (g *gateway) watchConfig(ctx context.Context, load func() (*config.Config, error), hangup <-chan os.Signal) {
	config.Watch(ctx, config.WatchOptions{
		Current: g.cfg, Load: load, Trigger: hangup, Log: g.log,
		Apply: func(next *config.Config, _ []config.Change) error {
			if len(next.Tenants) == 0 && g.auth.Required() {
				return errOpens
			}
			if err := g.models.Configure(specs(next), nil); err != nil {
				return err
			}
			if len(next.Tenants) > 0 {
				g.token.need(g.state, g.log) // before the first key is asked for
			}
			g.models.SetAdhoc(next.Catalog.Adhoc)
			g.auth.SetTenants(tenants(next))
			g.proxy.SetRules(rules(next))
			g.proxy.SetMaxTokens(next.Catalog.MaxTokens)
			g.level.Set(next.Log.Level)
			return nil
		},
	})
}
