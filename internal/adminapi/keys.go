package adminapi

import "time"

// KeyList is the answer of GET /admin/v1/keys: those that the API made.
type KeyList struct {
	Keys []Key `json:"keys"` // oldest first
}

// Key is an API key, without what it is.
type Key struct {
	ID      string     `json:"id"`
	Tenant  string     `json:"tenant"`
	Label   string     `json:"label"`
	Created time.Time  `json:"created"`
	Expires *time.Time `json:"expires"` // nil is never
}

// NewKey is a key that was just made. Secret is what its owner sends; it is shown
// once and not kept.
type NewKey struct {
	Key    Key    `json:"key"`
	Secret string `json:"secret"`
}

// CreateKeyRequest is the body of POST /admin/v1/keys.
type CreateKeyRequest struct {
	Tenant  string `json:"tenant"`
	Label   string `json:"label,omitempty"`
	Expires string `json:"expires,omitempty"` // RFC 3339; "" is never
}

// RotateKeyRequest is the body of POST /admin/v1/keys/{id}/rotate.
type RotateKeyRequest struct {
	GraceSeconds int `json:"grace_seconds"` // how long the old key stays valid
}
