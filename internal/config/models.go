package config

import (
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// Model is the base model.
//
// The names of the base, of adapters, compositions and aliases share one space and are
// unique in it, in exact spelling. A name has at most 128 characters, begins
// with an ASCII letter or digit, and consists of these and . _ : / -.
type Model struct {
	// Name is what clients call the base model. Required.
	Name string `mapstructure:"name"`
	// Path is the base model's GGUF file, absolute. Required; the file must
	// exist and begin with GGUF's magic bytes.
	Path string `mapstructure:"path"`
}

// State is about what outlives the process: the adapters that the admin API made
// and the stored bytes of all of them.
type State struct {
	// Dir is the folder for it, absolute, or "" for a private one among the
	// temporary files that goes when the gateway stops. It need not exist yet. It
	// belongs to one gateway at a time. Default "".
	Dir string `mapstructure:"dir"`
	// Versions is how many versions of each adapter are kept to roll back to, the
	// one that answers included, 1 to 100. Default 3.
	Versions int `mapstructure:"versions"`
}

// Adapters says where the adapters are: in a folder, in a list, or in both.
type Adapters struct {
	// Dir is a folder of adapters, absolute, or "" for none. It must exist; what
	// is in it is not looked at here. Default "".
	Dir string `mapstructure:"dir"`
	// Settle is how long a file in Dir must stay as it is before it is taken for
	// complete, at least 10ms. Default 500ms.
	Settle time.Duration `mapstructure:"settle"`
	// Rescan is how often Dir is read as a whole, for file systems that do not
	// tell of changes, and the files that List names are looked at: at least 10ms, or 0 for
	// never. Default 30s.
	Rescan time.Duration `mapstructure:"rescan"`
	// List names adapters one by one. Default empty.
	List []Adapter `mapstructure:"list"`
}

// Adapter is one entry of the list of adapters. It has either a Path or a
// Source. What is there is not looked at here: the running gateway rejects an
// adapter that it cannot serve, and serves the others.
type Adapter struct {
	// Name is what clients call the adapter. Required.
	Name string `mapstructure:"name"`
	// Path is the adapter's GGUF file, or its folder in PEFT's format, absolute.
	Path string `mapstructure:"path"`
	// Source is where the adapter is got from: https://, hf://owner/repo,
	// hf://owner/repo/file, either with @revision, s3://bucket/key, or a path,
	// which is made absolute. It may hold secrets: errors and changes show neither
	// its user nor its query.
	Source string `mapstructure:"source"`
	// Digest is the SHA-256 that what is at Path or Source must have, 64 lower-case
	// hex digits, or "" for any. The file may write sha256: before it, and use
	// capitals. Default "".
	Digest string `mapstructure:"digest"`
	// Scale is how strongly the adapter is applied: any finite number but 0.
	// Default 1.
	Scale         float64 `mapstructure:"scale"`
	lora.Settings `mapstructure:",squash"`
	// Pin is whether every worker has the adapter loaded at all times. Default
	// false.
	Pin bool `mapstructure:"pin"`
	// Preload is whether one worker, at least, has the adapter loaded at all times.
	// Default false.
	Preload bool `mapstructure:"preload"`
}

// Composition is a model that applies several adapters at once.
type Composition struct {
	// Name is what clients call the composition. Required.
	Name string `mapstructure:"name"`
	// Parts are the adapters that it applies, 1 to 8, none of them twice. That
	// there are such adapters is not checked here. A scale is from -100 to 100 and not
	// 0; default 1. Required.
	Parts         []lora.Share `mapstructure:"parts"`
	lora.Settings `mapstructure:",squash"`
}

// Catalog is about the models that clients can ask for.
type Catalog struct {
	// Adhoc is whether requests may compose adapters by themselves, as in the
	// model name coding@0.7+german@0.3. Default true.
	Adhoc bool `mapstructure:"adhoc"`
	// VLLMEndpoints is whether clients may add and remove adapters over the main
	// listener, as vLLM lets them: POST /v1/load_lora_adapter and
	// /v1/unload_lora_adapter. They ask for Admin.Token if there is one; on an
	// address that other machines can reach there must be. Default false.
	VLLMEndpoints bool `mapstructure:"vllm_endpoints"`
	// DefaultModel is meant by requests that name no model. Default "", which refuses
	// them.
	DefaultModel string `mapstructure:"default_model"`
	// MaxTokens bounds the answers to requests that name no bound themselves, in tokens; 0
	// leaves them unbound. Default 0.
	MaxTokens int `mapstructure:"max_tokens"`
}

// Rule says what a name means that clients use, and what is changed in their
// requests. The first one that fits holds.
type Rule struct {
	// Match is a name as clients write it; * stands for any text. Required.
	Match string `mapstructure:"match"`
	// Model is what is meant by names that no model has. Default "", which is none.
	Model string `mapstructure:"model"`
	// System goes before the system prompt of chats. Default "", which is nothing.
	System string `mapstructure:"system"`
	// Set and Default are JSON objects: fields that are put in place of the client's,
	// and fields that are added where it has none. Default "", which is none.
	Set     string `mapstructure:"set"`
	Default string `mapstructure:"default"`
	// Strip are fields that are taken out. Default none.
	Strip []string `mapstructure:"strip"`
}

// Sources is about where adapters are got from. Sizes are written as Limits.Body
// is.
type Sources struct {
	// MaxSize is how many bytes one adapter may have, downloaded or uploaded, more
	// than 0. Default 4 GiB.
	MaxSize     int64       `mapstructure:"max_size"`
	HuggingFace HuggingFace `mapstructure:"huggingface"`
	S3          S3          `mapstructure:"s3"`
}

// HuggingFace is about sources that begin with hf://.
type HuggingFace struct {
	// Endpoint is the URL of the hub, http or https. Default
	// https://huggingface.co.
	Endpoint string `mapstructure:"endpoint"`
	// Token is the access token, or "" for none. If neither the file nor
	// GATEWAY_SOURCES_HUGGINGFACE_TOKEN has one, it is taken from HF_TOKEN, then
	// from HUGGING_FACE_HUB_TOKEN. It is secret: neither errors nor changes show
	// it. Default "".
	Token string `mapstructure:"token"`
}

// S3 is about sources that begin with s3://. The keys to it come from where AWS's
// own tools take them: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
// AWS_SESSION_TOKEN.
type S3 struct {
	// Endpoint is the server as host or host:port, or "" for AWS. Default "".
	Endpoint string `mapstructure:"endpoint"`
	// Region is the bucket's region, or "" to take it from AWS_REGION. Default "".
	Region string `mapstructure:"region"`
	// Insecure is whether Endpoint is reached over http instead of https. Default
	// false.
	Insecure bool `mapstructure:"insecure"`
}
