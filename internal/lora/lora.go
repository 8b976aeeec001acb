// Package lora has the words that all parts of the gateway share: what an adapter is, what
// can be set of it, and what a composition is made of. It knows of no process, no file and
// no protocol; the tags say how its values are written in JSON and in the configuration.
package lora

import "time"

// Version is one set of an adapter's bytes, checked and stored; it is immutable.
type Version struct {
	Number       int       `json:"number"` // counts an adapter's versions from 1
	Digest       string    `json:"digest"` // SHA-256 of the GGUF's bytes, in hex
	Bytes        int64     `json:"bytes"`  // the file's size
	Rank         int       `json:"rank"`   // the largest of its tensors
	Alpha        float64   `json:"alpha"`
	Architecture string    `json:"architecture"`
	Source       string    `json:"source"` // where it came from
	Created      time.Time `json:"created"`
	// Warnings say in what it hardly does what it was trained for; they follow from the bytes.
	Warnings []string `json:"warnings,omitempty"`
	// Path is the stored GGUF, whose bytes never change. It is not kept: it follows from
	// Digest and from where the state is.
	Path string `json:"-"`
}

// Share is an adapter's share in a composition, by name or alias.
type Share struct {
	Adapter string  `json:"adapter" mapstructure:"adapter"`
	Scale   float64 `json:"scale" mapstructure:"scale"` // 0 is the adapter's own scale
}
