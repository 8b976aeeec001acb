package adminapi

import "time"

// Health is the answer of GET /health.
type Health struct {
	Status string `json:"status"` // "ok"
	// TokenFile is where the gateway keeps the token that it made by itself, on its own
	// machine, readable for its own account.
	TokenFile string `json:"token_file,omitempty"`
}

// State is the answer of GET /admin/v1/state. Fields are added, never renamed
// or given another meaning. Names that end in _total only grow as long as
// Started stays the same.
type State struct {
	Time    time.Time `json:"time"`    // when it was read
	Started time.Time `json:"started"` // when counting began
	Queue   Queue     `json:"queue"`
	Totals  Totals    `json:"totals"`
	// TTFT is of streams, from a request's arrival to its first byte.
	TTFT    Histogram `json:"time_to_first_token"`
	Workers []Worker  `json:"workers"` // by number
	Devices []Device  `json:"devices"` // those with a worker that is up
	Models  []Model   `json:"models"`  // those with a request now or before, by name
}

// Queue is what waits for a worker.
type Queue struct {
	Waiting           int     `json:"waiting"`
	OldestWaitSeconds float64 `json:"oldest_wait_seconds"`
}

// Totals are the whole gateway's counts.
type Totals struct {
	Requests         uint64 `json:"requests_total"` // that have ended, in whatever way
	Errors           uint64 `json:"errors_total"`   // of the requests, those that failed
	Rejected         uint64 `json:"rejected_total"` // turned away before they ran
	PromptTokens     uint64 `json:"prompt_tokens_total"`
	CachedTokens     uint64 `json:"cached_tokens_total"` // of the prompts, found in a KV cache
	CompletionTokens uint64 `json:"completion_tokens_total"`
	Swaps            uint64 `json:"swaps_total"`
	WarmHits         uint64 `json:"kv_warm_hits_total"`   // leases whose slot held KV of their own
	WarmMisses       uint64 `json:"kv_warm_misses_total"` // leases whose slot did not
	KVTokensKept     uint64 `json:"kv_tokens_kept_total"`
	KVTokensLost     uint64 `json:"kv_tokens_lost_total"`
}

// Histogram counts durations. Counts[i] are those of at most Bounds[i], all
// smaller ones included.
type Histogram struct {
	Bounds []float64 `json:"bounds_seconds"`
	Counts []uint64  `json:"counts_total"`
	Count  uint64    `json:"count_total"` // of all, those above the last bound included
	Sum    float64   `json:"sum_seconds_total"`
}

// Workers is the answer of GET /admin/v1/workers.
type Workers struct {
	Workers []Worker `json:"workers"` // by number
}

// Worker is one llama-server under the gateway's supervision.
type Worker struct {
	ID         int      `json:"id"`
	State      string   `json:"state"` // starting, up, draining, drained, reloading, suspect, spare or down
	PID        int      `json:"pid"`   // 0 is no process
	Restarts   int      `json:"restarts_total"`
	Applied    string   `json:"applied"` // the model in force; "" is none
	Loaded     []string `json:"loaded"`  // the models in its memory
	InFlight   int      `json:"in_flight"`
	Slots      int      `json:"slots"`
	SlotOwners []Slot   `json:"slot_owners"` // by slot; may be shorter than slots
	Device     string   `json:"device"`
	Drained    bool     `json:"drained"` // an operator keeps requests from it
}

// Device is what work on one device has been measured to take, of late.
type Device struct {
	Name     string `json:"name"`     // "" is what llama-server picks
	Measured bool   `json:"measured"` // the steps are; else they mean nothing
	// Swap is what a change of adapter adds to the first token; PromptToken is for each
	// token of a prompt.
	Swap        float64 `json:"swap_seconds"`
	FirstToken  float64 `json:"first_token_seconds"`
	PromptToken float64 `json:"prompt_token_seconds"`
	// Step is a decoding step of one request alone; the others are what each further
	// request of the worker, and a second busy worker of the device, add to it.
	Step        float64 `json:"step_seconds"`
	StepRequest float64 `json:"step_request_seconds"`
	StepWorker  float64 `json:"step_worker_seconds"`
	Turn        float64 `json:"turn_seconds"` // of an adapter of weight 1
}

// Slot is what one slot's KV cache holds.
type Slot struct {
	Model  string `json:"model"` // "" is nobody's
	Tokens int    `json:"tokens"`
	Busy   bool   `json:"busy"`
}

// Model is one model's share. The name "other" stands for all that the catalog
// does not have.
type Model struct {
	Name             string `json:"name"`
	Waiting          int    `json:"waiting"`
	Requests         uint64 `json:"requests_total"`
	Errors           uint64 `json:"errors_total"`
	PromptTokens     uint64 `json:"prompt_tokens_total"`
	CachedTokens     uint64 `json:"cached_tokens_total"`
	CompletionTokens uint64 `json:"completion_tokens_total"`
}
