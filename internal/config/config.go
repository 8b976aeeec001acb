// Package config turns a YAML file and the environment into one validated
// Config. It is strict: what it does not know is an error, and all mistakes are
// reported at once.
//
// Every key can be set from the environment as well, and wins there: GATEWAY_
// and the key in capitals with its dots as underscores, as in
// GATEWAY_WORKERS_COUNT=4. Lists are given in YAML's flow style, as in
// GATEWAY_WORKERS_ARGS='["-ngl", "99"]'.
package config

import (
	"log/slog"
	"time"
)

// Config is the whole configuration. Nobody changes it, nor the slices in it,
// after Load has returned it.
//
// In the file, sections and keys are named as the mapstructure tags say.
// Relative paths, wherever they come from, are relative to the folder of the configuration file, or
// without one to that in which the program was begun; ~ at the beginning of one is the user's home.
type Config struct {
	// File is the absolute path of the file that was read; "" is none.
	File string `mapstructure:"-"`
	// Listen is the address to serve on, as host:port. The host is required,
	// 0.0.0.0 stands for every IPv4 address; port 0 picks a free one.
	// Default 127.0.0.1:8080.
	Listen string `mapstructure:"listen"`

	TLS  TLS  `mapstructure:"tls"`
	CORS CORS `mapstructure:"cors"`

	Model    Model    `mapstructure:"model"`
	State    State    `mapstructure:"state"`
	Adapters Adapters `mapstructure:"adapters"`
	// Compositions are models that apply several adapters at once. Default empty.
	Compositions []Composition `mapstructure:"compositions"`
	Catalog      Catalog       `mapstructure:"catalog"`
	// Rules are about names that clients use already. Default empty.
	Rules []Rule `mapstructure:"rules"`
	// Tenants are the persons or customers that have keys. With none everybody may
	// do everything. Default empty.
	Tenants []Tenant `mapstructure:"tenants"`
	Auth    Auth     `mapstructure:"auth"`
	Usage   Usage    `mapstructure:"usage"`
	Sources Sources  `mapstructure:"sources"`
	Workers Workers  `mapstructure:"workers"`
	// Embedders are models of their own for /v1/embeddings and /v1/rerank, each on a
	// process of its own. Default empty.
	Embedders []Embedder `mapstructure:"embedders"`
	Scheduler Scheduler  `mapstructure:"scheduler"`
	Limits    Limits     `mapstructure:"limits"`
	Admin     Admin      `mapstructure:"admin"`
	Log       Log        `mapstructure:"log"`

	// Warnings are things that are probably mistakes but no errors, one a
	// string, sorted: unknown GATEWAY_ variables, since container platforms
	// inject such names.
	Warnings []string `mapstructure:"-"`
}

// Workers is about the llama-server processes.
type Workers struct {
	// Command is the llama-server program as it was given; see
	// Config.ResolveCommand. Default llama-server.
	Command string `mapstructure:"command"`
	// Count is the number of processes, 1 to 64. Auto is as many as the devices'
	// memory holds, by what the first one takes: at most 8 on a GPU under MPS, 2
	// without, and on a CPU 1, or 2 from eight cores on. Default Auto.
	Count AutoInt `mapstructure:"count"`
	// Slots is the number of requests that one process serves at once, 1 to 256. Auto
	// is 8, and on a GPU without MPS as many as fit, up to 32. Default Auto.
	Slots AutoInt `mapstructure:"slots"`
	// KV is how the slots of a process share its KV cache: unified, split, or auto.
	// Default auto.
	KV string `mapstructure:"kv"`
	// MPS is auto or off: whether processes on one NVIDIA GPU run at the same time,
	// through CUDA's multi-process service, where it is to be had. Default auto.
	MPS string `mapstructure:"mps"`
	// MemoryReserve is how many bytes of each device's memory are left alone when
	// Count or Slots is Auto; 0 is the larger of 1 GiB and a tenth of it. In the file
	// it is written as Limits.Body is. Default 0.
	MemoryReserve int64 `mapstructure:"memory_reserve"`
	// Context is the context of each slot in tokens, at least 64; times Slots it
	// must fit into 31 bits. Default 4096.
	Context int `mapstructure:"context"`
	// Devices are given to the workers in turn, as llama-server's --device names
	// them. None leaves the choice to llama-server, the same for all. Default none.
	Devices []string `mapstructure:"devices"`
	// Args are handed to llama-server as they are. Flags that the gateway owns
	// are refused. Default none.
	Args []string `mapstructure:"args"`
	// SelfTest is whether the first worker is tested before it serves. Default
	// true.
	SelfTest bool `mapstructure:"self_test"`
	// StartTimeout is how long one worker may take from its start until it is
	// ready, more than 0. Default 2m.
	StartTimeout time.Duration `mapstructure:"start_timeout"`
	// StopTimeout is the time from SIGTERM to SIGKILL. 0 kills at once. Default
	// 10s.
	StopTimeout time.Duration `mapstructure:"stop_timeout"`
	// HangTimeout is how long a worker may go without answering before it is
	// replaced. 0 turns that off. Default 60s.
	HangTimeout time.Duration `mapstructure:"hang_timeout"`
	// StallTimeout is how long a worker may go without telling what its slots do before
	// nobody else is sent to it, until it does. 0 is no bound. Default 5s.
	StallTimeout time.Duration `mapstructure:"stall_timeout"`
	// MemoryLimit is how many bytes of its own, without the model's file, a worker's
	// process may have; one that has more is ended. 0 is what it has when it is ready,
	// and half of what the machine has free then, at least 1 GiB. Only on Linux. Default 0.
	MemoryLimit int64 `mapstructure:"memory_limit"`
	// RuntimeDir is the folder, absolute, under which the workers' sockets are
	// made, or "" for a private one among the temporary files. It need not exist
	// yet. At most 67 bytes long, so that a socket's path stays within 107.
	// Default "".
	RuntimeDir string `mapstructure:"runtime_dir"`
	// MaxLoaded is how many adapters one process may have loaded at once; 0 is no
	// bound. There must be room for all that are pinned, and for all parts of any
	// composition. Default 0.
	MaxLoaded int `mapstructure:"max_loaded"`
	// AdapterMemory is how many bytes the files of one process's loaded adapters
	// may have together; 0 is no bound. In the file it is written as Limits.Body
	// is. Default 0.
	AdapterMemory int64 `mapstructure:"adapter_memory"`
	// Spare is how many processes, 0 or 1, run beside Count and take over from one
	// that restarts to load other adapters. Default 0.
	Spare int `mapstructure:"spare"`
	// ReloadInterval is the least time between two restarts of processes, of any
	// of them, to load other adapters. Default 1s.
	ReloadInterval time.Duration `mapstructure:"reload_interval"`
}

// Scheduler is about requests that wait.
type Scheduler struct {
	// Queue is the number of requests that may wait, at least 1. Default 1024.
	Queue int `mapstructure:"queue"`
	// MaxWait is how long one request may wait, more than 0. Default 60s.
	MaxWait time.Duration `mapstructure:"max_wait"`
	// Quantum is how long an adapter of weight 1 keeps a worker that others wait
	// for; its running requests end after that. At least 10ms. Auto goes by what a
	// change of adapter has been measured to cost. Default Auto.
	Quantum AutoDuration `mapstructure:"quantum"`
	// ScaleOutAfter is how long requests wait for a slot before their adapter gets a
	// second worker of the same device, if one is idle. Auto goes by what a second
	// worker has been measured to gain. Default Auto.
	ScaleOutAfter AutoDuration `mapstructure:"scale_out_after"`
	// Aging is what a step of a tenant's priority is worth: so much longer a
	// request counts as having waited. Default 10s.
	Aging time.Duration `mapstructure:"aging"`
}

// Admin is about the second listener, for those who run the gateway.
type Admin struct {
	// Listen is its address as host:port, or "" for none; port 0 picks a free one.
	// Default 127.0.0.1:8081.
	Listen string `mapstructure:"listen"`
	// Token is the bearer token that requests must show there, or "" to serve all.
	// It has at least 16 printable ASCII characters, no spaces among them. Required
	// if Listen is an address that other machines can reach: one outside of
	// 127.0.0.0/8 and ::1, or a name other than localhost. It is secret: neither
	// errors nor changes show it. Default "".
	Token string `mapstructure:"token"`
}

// Limits bounds what one client may take.
type Limits struct {
	// Body is the largest body of a request in bytes, at least 1024. In the file
	// it is a number of bytes or a size such as 512KiB, 16MiB or 1GB. Default
	// 16 MiB.
	Body int64 `mapstructure:"body"`
	// Text is the largest body of a request to cut a text into tokens, to put tokens
	// together or to apply a chat template, in bytes, at least 1024: llama-server
	// cannot be told to stop such work. At most Body counts. In the file it is
	// written as Body is. Default 1 MiB.
	Text int64 `mapstructure:"text"`
	// Grammar is the largest grammar, and the largest schema of an answer or of a tool,
	// in bytes, at least 1024: llama-server compiles them in its main loop. It is
	// written as Body is. Default 64 KiB.
	Grammar int64 `mapstructure:"grammar"`
	// Fields is how many bytes a request's fields may have together that are no text,
	// tools, grammar or schema, at least 1024. It is written as Body is. Default
	// 64 KiB.
	Fields int64 `mapstructure:"fields"`
	// Memory is how many bytes the bodies of all requests that are being read, wait or
	// run may take together, at least MemoryFactor times Body; 0 is a quarter of what
	// the machine or its control group has. In the file it is written as Body is.
	// Default 0.
	Memory int64 `mapstructure:"memory"`
	// Drain is how long running requests may take to end when the gateway stops.
	// 0 does not wait. Default 30s.
	Drain time.Duration `mapstructure:"drain"`
	// Linger is how long the port stays open when the gateway stops, for those who poll
	// /ready to see that it does; requests are refused meanwhile. Auto is until each who
	// was told in the last minute that it is ready has been told otherwise, at most 5 s.
	// Default Auto.
	Linger AutoDuration `mapstructure:"linger"`
	// Read is how long reading one request's body may take, more than 0.
	// Default 30s.
	Read time.Duration `mapstructure:"read"`
	// Write is how long a single write to a slow client may block, more than 0.
	// Default 30s.
	Write time.Duration `mapstructure:"write"`
	// Generation is how long one answer may take once it runs: others wait for it
	// when its worker drains. 0 is no bound. Default 10m.
	Generation time.Duration `mapstructure:"generation"`
	// KeepAlive is how long a stream may have nothing to send until it has a comment, lest a
	// proxy on the way takes it for dead. 0 is never. Default 10s.
	KeepAlive time.Duration `mapstructure:"keepalive"`
	// RemoteMedia lets llama-server fetch pictures that requests name by an address,
	// from wherever it can reach. Default false: they must be in the request.
	RemoteMedia bool `mapstructure:"remote_media"`
}

// MemoryFactor is how many bytes a byte of a body counts for: it is held as it came, as
// it is sent on, and in part once more while either is made.
const MemoryFactor = 3

// Log is about the gateway's own log.
type Log struct {
	// Level is the least level that is written: debug, info, warn or error.
	// Default info.
	Level slog.Level `mapstructure:"level"`
	// Format is text or json. Default text.
	Format string `mapstructure:"format"`
	// Prompts writes what clients send into the log, for finding out what they do
	// wrong. Default false.
	Prompts bool `mapstructure:"prompts"`
}

// defaults returns what holds where neither the file nor the environment says
// otherwise.
func defaults() Config {
	return Config{
		Listen:       "127.0.0.1:8080",
		CORS:         CORS{Origins: []string{}},
		State:        State{Versions: 3},
		Adapters:     Adapters{Settle: 500 * time.Millisecond, Rescan: 30 * time.Second, List: []Adapter{}},
		Compositions: []Composition{},
		Rules:        []Rule{},
		Embedders:    []Embedder{},
		Tenants:      []Tenant{},
		Auth:         Auth{Hosts: []string{}},
		Usage:        Usage{Retention: 90 * 24 * time.Hour},
		Catalog:      Catalog{Adhoc: true},
		Sources: Sources{
			MaxSize:     4 << 30,
			HuggingFace: HuggingFace{Endpoint: "https://huggingface.co"},
		},
		Workers: Workers{
			Command:      "llama-server",
			Count:        Auto,
			Slots:        Auto,
			KV:           autoText,
			MPS:          autoText,
			Context:      4096,
			Devices:      []string{},
			Args:         []string{},
			SelfTest:     true,
			StartTimeout: 2 * time.Minute,
			StopTimeout:  10 * time.Second,
			HangTimeout:  60 * time.Second,
			StallTimeout: 5 * time.Second,

			ReloadInterval: time.Second,
		},
		Scheduler: Scheduler{
			Queue: 1024, MaxWait: 60 * time.Second,
			Quantum: Auto, ScaleOutAfter: Auto, Aging: 10 * time.Second,
		},
		Limits: Limits{
			Body: 16 << 20, Text: 1 << 20,
			Grammar: 64 << 10, Fields: 64 << 10,
			Drain: 30 * time.Second, Linger: Auto,
			Read:  30 * time.Second,
			Write: 30 * time.Second, Generation: 10 * time.Minute, KeepAlive: 10 * time.Second,
		},
		Admin: Admin{Listen: "127.0.0.1:8081"},
		Log:   Log{Level: slog.LevelInfo, Format: "text"},
	}
}

// What entries of lists have where they say nothing.
const (
	defaultScale  = 1.0
	defaultWeight = 1.0
)
