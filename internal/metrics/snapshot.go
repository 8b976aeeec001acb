package metrics

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Snapshot is the gateway's state at one moment. Model names are the catalog's.
type Snapshot struct {
	Waiting        int            // requests in the queue
	WaitingByModel map[string]int // adds up to Waiting
	OldestWait     time.Duration  // of the requests in the queue; 0 is an empty one
	Workers        []WorkerSnapshot
	Devices        []DeviceSnapshot // those with a worker that is up
	Counters       Counters
	State          StateSnapshot
}

// StateSnapshot is what is wrong with what is kept on the disk. Requests are served all
// the same.
type StateSnapshot struct {
	Damaged bool // the database is
	Full    bool // the disk is
}

// DeviceSnapshot is what work on a device has been measured to take.
type DeviceSnapshot struct {
	Name     string // "" is what llama-server picks
	Measured bool   // the steps are; else they mean nothing
	// Swap is what a change of adapter adds to the first token, and FirstToken that
	// without one and without tokens to read, each of which takes PromptToken more.
	Swap, FirstToken, PromptToken time.Duration
	// Step is a decoding step of one request while nothing else runs on the device,
	// StepRequest what each further request of the worker adds to it, and StepWorker
	// what a second busy worker of the device adds.
	Step, StepRequest, StepWorker time.Duration
	// Turn is how long an adapter of weight 1 keeps a worker that others wait for.
	Turn time.Duration
}

// Counters only grow as long as the gateway runs.
type Counters struct {
	Swaps        uint64 // changes of what is applied on a worker
	WarmHits     uint64 // leases whose slot held KV of their own namespace
	WarmMisses   uint64 // leases whose slot did not
	WarmGone     uint64 // of WarmHits, those that llama-server had let go by itself
	KVTokensKept uint64 // tokens of KV that leases found in their slot
	KVTokensLost uint64 // tokens of KV that were erased for another namespace
	LoadedHits   uint64 // requests whose adapters some worker had loaded when they came
	LoadedMisses uint64 // requests whose adapters no worker had
	Reloads      uint64 // processes that were ended to load something else
}

// WorkerState says what a worker is doing.
type WorkerState string

const (
	Starting WorkerState = "starting"
	Up       WorkerState = "up"
	Draining WorkerState = "draining" // up, and closed to newcomers until it is idle
	Suspect  WorkerState = "suspect"  // under examination; nothing is placed on it
	Down     WorkerState = "down"

	Reloading WorkerState = "reloading" // up, and to end when it is idle, to load something else
	Drained   WorkerState = "drained"   // up, and closed because an operator said so
	Spare     WorkerState = "spare"     // no process, until it takes another's place
)

var workerStates = [...]WorkerState{Starting, Up, Draining, Reloading, Drained, Suspect, Down, Spare}

// serves reports whether requests run on a worker in this state.
func (s WorkerState) serves() bool { return s == Up || s == Draining || s == Reloading || s == Drained }

// WorkerSnapshot is one worker of a Snapshot.
type WorkerSnapshot struct {
	ID         int // unique in the snapshot
	State      WorkerState
	PID        int // 0 is no process
	Restarts   int
	Applied    string   // the model in force; "" is none or not known
	Loaded     []string // the models that it holds in memory
	InFlight   int      // leases out
	Slots      int
	SlotOwners []Slot // by slot; may be shorter than Slots where nothing is known
	Device     string // "" is not known
}

// Slot is what one slot's KV cache holds.
type Slot struct {
	Model  string // whose KV it is; "" is nobody's
	Tokens int
	Busy   bool
}

// snapshotCollector exposes one Snapshot. One is made for each scrape.
type snapshotCollector struct {
	snap  Snapshot
	label func(model string) string
	max   int // series of each kind of residency
}

var (
	queueDepth = desc("queue_depth", "Requests that wait for a worker.")
	modelQueue = desc("model_queue_depth", "Requests that wait for a worker, of models for which any wait.", "model")
	oldestWait = desc("queue_oldest_wait_seconds", "How long the oldest request in the queue has waited.")
	swapsTotal = desc("swaps_total", "Changes of the applied adapter.")
	warmHits   = desc("kv_warm_hits_total", "Requests whose slot held KV of their own adapter.")
	warmMisses = desc("kv_warm_misses_total", "Requests whose slot held no KV of their own adapter.")
	warmGone   = desc("kv_warm_gone_total", "Requests whose slot was to hold KV of their own adapter and turned out "+
		"to be empty.")
	tokensKept  = desc("kv_tokens_kept_total", "Tokens of KV that requests found in their slot.")
	tokensLost  = desc("kv_tokens_lost_total", "Tokens of KV that were erased to make room for another adapter's.")
	loadedTotal = desc("adapter_requests_total",
		"Requests by whether a worker had their adapters loaded when they came.", "loaded")
	reloadsTotal = desc("reloads_total", "Processes that were ended to load other adapters.")
	workerUp     = desc("worker_up", "Whether the worker serves requests.", "worker")
	workerState  = desc("worker_state", "1 for the state that the worker is in.", "worker", "state")
	workerInfo   = desc("worker_info", "What the worker runs on; always 1.", "worker", "device")
	restarts     = desc("worker_restarts_total", "Restarts of the worker after it was up.", "worker")
	inFlight     = desc("worker_in_flight", "Requests that run on the worker.", "worker")
	slots        = desc("worker_slots", "Slots that the worker has.", "worker")
	applied      = desc("adapter_applied", "1 for the model in force on the worker.", "worker", "model")
	loaded       = desc("adapter_loaded", "1 for each model in the worker's memory.", "worker", "model")
	kvTokens     = desc("kv_tokens", "Tokens of KV that the worker's slots hold, by whose they are.", "worker", "model")
	deviceSwap   = desc("device_swap_seconds", "What a change of adapter adds to the first token, as measured on the "+
		"device.", "device")
	deviceFirst = desc("device_first_token_seconds",
		"The first token of a prompt without tokens to read, as measured on the device.", "device")
	deviceRead = desc("device_prompt_token_seconds",
		"What each token of a prompt takes to read, as measured on the device.", "device")
	deviceStep = desc("device_step_seconds", "A decoding step of one request alone on the device, as measured.",
		"device")
	deviceMore = desc("device_step_request_seconds",
		"What each further request of a worker adds to a decoding step, as measured.", "device")
	deviceOthers = desc("device_step_worker_seconds",
		"What a second busy worker of the device adds to a decoding step, as measured.", "device")
	deviceTurn = desc("device_turn_seconds", "How long an adapter of weight 1 keeps a worker that others wait for.",
		"device")
	degraded = desc("state_degraded", "1 if the state takes no changes because its database is damaged, or only "+
		"removals because its disk is full.", "cause")
	residencyCut = desc("residency_series_dropped",
		"Series of adapter_loaded and kv_tokens that this scrape lacks because there are too many.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("loragate_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (c *snapshotCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		queueDepth, modelQueue, oldestWait, swapsTotal, warmHits, warmMisses, warmGone, tokensKept, tokensLost,
		loadedTotal, reloadsTotal,
		workerUp, workerState, workerInfo, restarts, inFlight, slots, applied, loaded, kvTokens, residencyCut,
		deviceSwap, deviceFirst, deviceRead, deviceStep, deviceMore, deviceOthers, deviceTurn, degraded,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *snapshotCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	s := c.snap
	gauge(queueDepth, float64(s.Waiting))
	gauge(oldestWait, s.OldestWait.Seconds())
	waiting := map[string]float64{}
	for model, n := range s.WaitingByModel {
		waiting[c.label(model)] += float64(n) // several may be "other"
	}
	for model, n := range waiting {
		gauge(modelQueue, n, model)
	}
	count(swapsTotal, float64(s.Counters.Swaps))
	count(warmHits, float64(s.Counters.WarmHits))
	count(warmMisses, float64(s.Counters.WarmMisses))
	count(warmGone, float64(s.Counters.WarmGone))
	count(tokensKept, float64(s.Counters.KVTokensKept))
	count(tokensLost, float64(s.Counters.KVTokensLost))
	count(loadedTotal, float64(s.Counters.LoadedHits), "hit")
	count(loadedTotal, float64(s.Counters.LoadedMisses), "miss")
	count(reloadsTotal, float64(s.Counters.Reloads))
	for _, w := range s.Workers {
		id := strconv.Itoa(w.ID)
		gauge(workerUp, number(w.State.serves()), id)
		for _, state := range workerStates {
			gauge(workerState, number(w.State == state), id, string(state))
		}
		gauge(workerInfo, 1, id, strings.ToValidUTF8(w.Device, "?"))
		count(restarts, float64(w.Restarts), id)
		gauge(inFlight, float64(w.InFlight), id)
		gauge(slots, float64(w.Slots), id)
	}
	for _, d := range s.Devices {
		d.collect(gauge)
	}
	gauge(degraded, number(s.State.Damaged), "damaged")
	gauge(degraded, number(s.State.Full), "full")
	c.residency(gauge)
}

func (d DeviceSnapshot) collect(gauge func(*prometheus.Desc, float64, ...string)) {
	name := strings.ToValidUTF8(d.Name, "?")
	gauge(deviceSwap, d.Swap.Seconds(), name)
	gauge(deviceFirst, d.FirstToken.Seconds(), name)
	gauge(deviceRead, d.PromptToken.Seconds(), name)
	gauge(deviceTurn, d.Turn.Seconds(), name)
	if d.Measured {
		gauge(deviceStep, d.Step.Seconds(), name)
		gauge(deviceMore, d.StepRequest.Seconds(), name)
		gauge(deviceOthers, d.StepWorker.Seconds(), name)
	}
}

// residency tells which worker holds which model. Nothing here can exceed
// workers times models; the maximum keeps a large catalog from flooding
// Prometheus, and what it cuts is said. One model a worker is in force at most,
// so that those are never cut.
func (c *snapshotCollector) residency(gauge func(*prometheus.Desc, float64, ...string)) {
	dropped, loadedLeft, kvLeft := 0, c.max, c.max
	emit := func(d *prometheus.Desc, left *int, id string, values map[string]float64) {
		for _, model := range slices.Sorted(maps.Keys(values)) {
			if *left == 0 {
				dropped++
				continue
			}
			*left--
			gauge(d, values[model], id, model)
		}
	}
	for _, w := range c.snap.Workers {
		id := strconv.Itoa(w.ID)
		if w.Applied != "" {
			gauge(applied, 1, id, c.label(w.Applied))
		}
		held := map[string]float64{}
		for _, model := range w.Loaded {
			held[c.label(model)] = 1
		}
		emit(loaded, &loadedLeft, id, held)
		tokens := map[string]float64{}
		for _, slot := range w.SlotOwners {
			if slot.Model != "" {
				tokens[c.label(slot.Model)] += float64(slot.Tokens)
			}
		}
		emit(kvTokens, &kvLeft, id, tokens)
	}
	gauge(residencyCut, float64(dropped))
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
