package adminclient

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/loragate/loragate/internal/admin"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/metrics"
)

const (
	someToken = "a-token-of-the-tests-own"
	maxUpload = 64 << 10
)

// memory is a catalog that keeps records and checks nothing, behind the API's own
// handler.
type memory struct {
	mu      sync.Mutex
	records map[string]lora.Record
	err     error
	body    []byte // of the last upload that came as a whole
	file    string // its filename
	waited  bool   // what the last Put was told
}

func (m *memory) List() []lora.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []lora.Record
	for _, r := range m.records {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b lora.Record) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (m *memory) Get(name string) (lora.Record, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[name]
	return r, ok
}

// change makes the next state of a record.
func (m *memory) change(name string, f func(r *lora.Record)) (lora.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return lora.Record{}, m.err
	}
	r := m.records[name]
	f(&r)
	m.records[name] = r
	return r, nil
}

func (m *memory) Put(_ context.Context, spec lora.Spec, wait bool) (lora.Record, error) {
	return m.change(spec.Name, func(r *lora.Record) {
		m.waited = wait
		*r = lora.Record{Spec: spec, Kind: lora.KindAdapter, Origin: lora.FromAPI, State: lora.Downloading}
		if wait {
			r.State = lora.Ready
		}
	})
}

func (m *memory) Upload(_ context.Context, spec lora.Spec, from io.Reader, filename string) (lora.Record, error) {
	body, err := io.ReadAll(from)
	if err != nil {
		return lora.Record{}, err
	}
	return m.change(spec.Name, func(r *lora.Record) {
		m.body, m.file = body, filename
		*r = lora.Record{Spec: spec, Kind: lora.KindAdapter, Origin: lora.FromAPI, State: lora.Ready}
	})
}

func (m *memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, name)
	return m.err
}

func (m *memory) Pin(name string, pin bool) (lora.Record, error) {
	return m.change(name, func(r *lora.Record) { r.Pin = pin })
}

func (m *memory) Rollback(name string) (lora.Record, error) {
	return m.change(name, func(r *lora.Record) { r.Active = &lora.Version{Number: 1, Digest: "ab"} })
}

// twoWorkers is a pool that remembers what was asked of it.
type twoWorkers struct {
	mu      sync.Mutex
	drained map[int]bool
	asked   []int // to restart
}

func (p *twoWorkers) Files() map[string]admin.FileView { return nil }

func (p *twoWorkers) Workers() []admin.WorkerView {
	p.mu.Lock()
	defer p.mu.Unlock()
	return []admin.WorkerView{{ID: 0, Drained: p.drained[0]}, {ID: 1, Drained: p.drained[1]}}
}

func (p *twoWorkers) set(id int, drained bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drained[id] = drained
	return nil
}

func (p *twoWorkers) Drain(id int) error  { return p.set(id, true) }
func (p *twoWorkers) Resume(id int) error { return p.set(id, false) }

func (p *twoWorkers) Restart(id int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, id)
	if id == 1 {
		return admin.ErrConflict
	}
	return nil
}

// api serves the API over a catalog and two workers.
type api struct {
	*memory
	pool *twoWorkers
	url  string
}

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{
		memory: &memory{records: map[string]lora.Record{}},
		pool:   &twoWorkers{drained: map[int]bool{}},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := admin.New(admin.Handler(admin.Options{
		Listen: listener.Addr().String(), Log: slog.New(slog.DiscardHandler), Token: func() string { return someToken },
		MaxUpload: maxUpload,
		Catalog:   a.memory, Pool: a.pool,
		Metrics: metrics.New(metrics.Options{Snapshot: func() metrics.Snapshot {
			return metrics.Snapshot{Workers: []metrics.WorkerSnapshot{
				{ID: 0, State: metrics.Up, PID: 7, Slots: 4, InFlight: 1}, {ID: 1, State: metrics.Down},
			}}
		}}),
	}), slog.New(slog.DiscardHandler))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	a.url = "http://" + listener.Addr().String()
	return a
}

func (a *api) client(t *testing.T, token string) *Client {
	t.Helper()
	c, err := New(a.url, token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
