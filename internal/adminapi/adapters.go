package adminapi

import (
	"encoding/json"
	"maps"
	"reflect"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// Adapters is the answer of GET /admin/v1/adapters.
type Adapters struct {
	Adapters []Adapter `json:"adapters"` // by name
}

// Adapter is an adapter or a composition. Fields are added, never renamed or
// given another meaning.
type Adapter struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`   // adapter or composition
	Origin string `json:"origin"` // directory, config or api: who may change it
	Source string `json:"source"` // without what may be secret in a URL; "" is an upload or a composition
	// State is ready, loading, downloading, rejected or quarantined. With an active
	// version, all but quarantined answer requests.
	State  string `json:"state"`
	Reason string `json:"reason"` // why the latest source was rejected, or it is quarantined
	// Warnings say in what the version that answers, or will, hardly does what it was trained
	// for, though it is served.
	Warnings []string  `json:"warnings"`
	Progress *Progress `json:"progress"`

	Version int     `json:"version"` // the active one; 0 is none, as for a composition
	Digest  string  `json:"digest"`  // SHA-256 of the active version's GGUF, in hex; "" is none
	Staged  *Staged `json:"staged"`
	Bytes   int64   `json:"bytes"`
	Rank    int     `json:"rank"`
	Alpha   float64 `json:"alpha"`

	Scale float64 `json:"scale"` // how strongly it is applied; 1 for a composition
	lora.Settings
	Pin     bool `json:"pin"`
	Preload bool `json:"preload"`

	Parts    []Part    `json:"parts"`    // of a composition
	Versions []Version `json:"versions"` // those that are kept, oldest first

	// LoadedOn are the workers that have the active version in memory, AppliedOn
	// those where it is in force, alone or with others; of a composition, those that
	// have all parts.
	LoadedOn  []int `json:"loaded_on"`
	AppliedOn []int `json:"applied_on"`
	// LastUsed is of the active version since the gateway's start; nil for none and
	// for compositions.
	LastUsed *time.Time `json:"last_used"`
	Updated  time.Time  `json:"updated"`
}

// Progress is how far a download is, in bytes; a total of 0 is not known.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// Staged is a version that takes over when the first worker has loaded it.
type Staged struct {
	Version int    `json:"version"`
	Digest  string `json:"digest"`
}

// Part is an adapter's share in a composition.
type Part struct {
	Adapter string   `json:"adapter"`
	Scale   *float64 `json:"scale"` // nil is the adapter's own
}

// Version is one set of an adapter's bytes.
type Version struct {
	Version int       `json:"version"`
	Digest  string    `json:"digest"`
	Bytes   int64     `json:"bytes"`
	Rank    int       `json:"rank"`
	Source  string    `json:"source"`
	Created time.Time `json:"created"`
	Active  bool      `json:"active"`
}

// PutRequest is the body of PUT /admin/v1/adapters/{name}: an adapter with a
// Source or a composition with Parts, which has no Digest, Scale, Pin and
// Preload. What is left out has its default.
type PutRequest struct {
	Source string  `json:"source"`
	Digest string  `json:"digest"`
	Parts  []Part  `json:"parts"`
	Scale  float64 `json:"scale"`
	lora.Settings
	Pin     bool `json:"pin"`
	Preload bool `json:"preload"`
}

// MarshalJSON implements json.Marshaler. It writes what is not left out.
func (p PutRequest) MarshalJSON() ([]byte, error) {
	fields := p.Fields()
	maps.Copy(fields, map[string]any{
		"source": &p.Source, "digest": &p.Digest, "parts": &p.Parts, "scale": &p.Scale, "pin": &p.Pin, "preload": &p.Preload,
	})
	maps.DeleteFunc(fields, func(_ string, to any) bool {
		value := reflect.ValueOf(to).Elem()
		return value.IsZero() || value.Kind() == reflect.Slice && value.Len() == 0
	})
	return json.Marshal(fields)
}

// PinRequest is the body of POST /admin/v1/adapters/{name}/pin.
type PinRequest struct {
	Pin bool `json:"pin"`
}
