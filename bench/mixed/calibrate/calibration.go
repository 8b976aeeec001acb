package calibrate

// Version is that of the file's format. A new field does not change it; taking
// one away or giving it another meaning does.
const Version = 1

// Calibration is what was measured of one model on one device. Its JSON is the
// file that a simulator of the gateway is fitted to. Times are medians over
// Rounds, in milliseconds; of a step or first token they are what a client
// sees.
type Calibration struct {
	Version int `json:"version"`

	Model        string   `json:"model"`         // the base's file name
	ModelBytes   int64    `json:"model_bytes"`   // of the base's file
	Adapters     int      `json:"adapters"`      // that every server had loaded
	AdapterBytes int64    `json:"adapter_bytes"` // of the first one's file
	Build        string   `json:"build"`         // llama-server's
	Args         []string `json:"args"`          // further arguments that every server had
	Slots        int      `json:"slots"`         // of every server
	// ContextTokens is the size of one slot: a server's KV cache, in one buffer
	// or in parts, is of Slots times as many.
	ContextTokens int `json:"context_tokens"`
	Tokens        int `json:"tokens"` // that each request generated while steps were timed
	Rounds        int `json:"rounds"`

	Steps       []Step       `json:"steps"`
	FirstTokens []FirstToken `json:"first_tokens"`
	Prefills    []Prefill    `json:"prefills"`
	Calls       []Call       `json:"calls"`
	Shares      []Share      `json:"shares"`
	// Skipped says in words what was not measured, and why.
	Skipped []string `json:"skipped"`
}

// Mode is how a server keeps the KV caches of its slots.
type Mode string

// The modes.
const (
	Split   Mode = "split"   // a part for each slot; only neighbouring slots share a pass
	Unified Mode = "unified" // one buffer (--kv-unified); any set of slots shares a pass
)

// Step is the time from token to token of each of several requests that
// generate at once.
type Step struct {
	Mode Mode `json:"mode"`
	// Scattered is true if the busy slots were picked at random, false if they
	// are those from 0 on.
	Scattered bool `json:"scattered"`
	// Passes is how often a step goes through the model: the number of runs of
	// neighbouring busy slots in Split, 1 in Unified.
	Passes int `json:"passes"`
	// Adapters is how many adapters the requests were spread over; 0 is the base
	// without any.
	Adapters int `json:"adapters"`
	Requests int `json:"requests"`
	// IdleTokens is how many tokens each of the slots without a request held.
	IdleTokens int     `json:"idle_tokens"`
	MS         float64 `json:"ms"`
	// TokensPerSecond is of all requests from the first's start to the last's
	// end, their prompts included.
	TokensPerSecond float64 `json:"tokens_per_second"`
}

// FirstToken is the time from sending a short request to its first token on a
// server that does nothing else.
type FirstToken struct {
	Mode Mode `json:"mode"`
	// Changed is true if the request before was on another adapter.
	Changed bool    `json:"changed"`
	MS      float64 `json:"ms"`
}

// Prefill is llama-server's own time for a prompt that is computed from nothing.
type Prefill struct {
	Mode            Mode    `json:"mode"`
	Tokens          int     `json:"tokens"`
	MS              float64 `json:"ms"`
	TokensPerSecond float64 `json:"tokens_per_second"`
}

// Call is the time of a request that computes nothing.
type Call struct {
	Mode Mode    `json:"mode"`
	Name string  `json:"name"` // Apply or Erase
	MS   float64 `json:"ms"`
}

// The calls.
const (
	Apply = "apply" // POST /lora-adapters, which names the adapter in force
	Erase = "erase" // POST /slots/0?action=erase
)

// Share is what other servers on the same device cost a server.
type Share struct {
	Servers  int     `json:"servers"`  // all of them, unified and on an adapter of their own
	MPS      bool    `json:"mps"`      // they run at the same time, under CUDA's multi-process service
	Requests int     `json:"requests"` // of each server
	AloneMS  float64 `json:"alone_ms"` // a step of the first server while the others idle
	// TogetherMS is a step of the first server while all generate.
	TogetherMS float64 `json:"together_ms"`
}
