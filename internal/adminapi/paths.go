// Package adminapi has the words of the admin API: where things are, and what requests and
// answers look like, for the gateway that serves it and for the command line that calls it.
// docs/openapi.yaml describes it. Fields are added, never renamed or given another meaning.
package adminapi

// Where things are. A name's "/" is sent as %2F.
const (
	StatePath    = "/admin/v1/state"
	AdaptersPath = "/admin/v1/adapters"
	WorkersPath  = "/admin/v1/workers"
	KeysPath     = "/admin/v1/keys"
	UsagePath    = "/admin/v1/usage"
)
