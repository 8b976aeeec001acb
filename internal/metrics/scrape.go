package metrics

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrapeTimeout is how long a worker has for its own series. Prometheus gives
// up on all of us after 10 s.
const scrapeTimeout = time.Second

// workerLabel tells the workers' series apart.
const workerLabel = "worker"

// Handler serves the metrics: the gateway's, then every worker's own with the
// label "worker". It waits for the workers for a second at most.
func (m *Metrics) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gather := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return m.gather(r.Context()) })
		// What went wrong with one series must not hide all the others.
		promhttp.HandlerFor(gather, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(w, r)
	})
}

// gather returns the gateway's families and then the workers', each sorted by
// name. The workers come first in time: failing to reach one is counted, and
// the state is then as fresh as it can be.
func (m *Metrics) gather(ctx context.Context) ([]*dto.MetricFamily, error) {
	theirs := m.scrapeWorkers(ctx)
	present := prometheus.NewRegistry()
	present.MustRegister(&snapshotCollector{snap: m.opts.Snapshot(), label: m.label, max: m.opts.MaxResidency})
	ours, err := prometheus.Gatherers{m.registry, present}.Gather()

	taken := make(map[string]bool, len(ours))
	for _, f := range ours {
		taken[f.GetName()] = true
	}
	for _, f := range theirs {
		if !taken[f.GetName()] { // a family must not be written twice
			ours = append(ours, f)
		}
	}
	return ours, err
}

// scrapeWorkers returns the series of all workers that answer in time.
func (m *Metrics) scrapeWorkers(ctx context.Context) []*dto.MetricFamily {
	if m.opts.Scrape == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	var tasks sync.WaitGroup
	workers := m.opts.Snapshot().Workers
	all := make(prometheus.Gatherers, len(workers))
	for i, w := range workers {
		var families []*dto.MetricFamily
		all[i] = prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil })
		if !w.State.serves() {
			continue // it would only cost the second
		}
		tasks.Go(func() {
			var err error
			if families, err = m.scrapeWorker(ctx, w.ID); err != nil {
				m.scrapeErrors.WithLabelValues(strconv.Itoa(w.ID)).Inc()
			}
		})
	}
	tasks.Wait()
	// It errs where workers of different builds contradict each other and leaves
	// out the later one's series, which is all that can be done.
	merged, _ := all.Gather()
	return merged
}

func (m *Metrics) scrapeWorker(ctx context.Context, worker int) ([]*dto.MetricFamily, error) {
	text, err := m.opts.Scrape(ctx, worker)
	if err != nil {
		return nil, err
	}
	return parse(text, strconv.Itoa(worker))
}

// parse reads a worker's text and labels every series with the worker. A label
// of that name which it already has is kept as exported_worker, as Prometheus
// does it.
func parse(text []byte, worker string) ([]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	// The parser wants the last line ended; text may not be ours to extend.
	in := io.MultiReader(bytes.NewReader(text), strings.NewReader("\n"))
	byName, err := parser.TextToMetricFamilies(in)
	if err != nil {
		return nil, fmt.Errorf("worker %s: %w", worker, err)
	}
	families := make([]*dto.MetricFamily, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		f := byName[name]
		if f.Help == nil {
			f.Help = new("") // what two workers lack must compare as equal
		}
		for _, series := range f.Metric {
			for _, l := range series.Label {
				if l.GetName() == workerLabel {
					l.Name = new("exported_" + workerLabel)
				}
			}
			series.Label = append(series.Label, &dto.LabelPair{Name: new(workerLabel), Value: &worker})
		}
		families = append(families, f)
	}
	return families, nil
}
