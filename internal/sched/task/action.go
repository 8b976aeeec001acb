package task

// Kind names what to do.
type Kind int

const (
	// Serve runs the request on a worker where its identity is applied.
	Serve Kind = iota
	// Swap applies the request's identity on an idle worker and runs it there.
	Swap
	// Reload ends a worker's process, on which nothing runs, and starts it again
	// with what Plan says.
	Reload
	// Start starts a member that has no process, with what Plan says.
	Start
	// Retire ends a worker's process, on which nothing runs: another has taken its
	// place. The member has no process until a Start.
	Retire
)

// NoSlot is the slot of a request that has its worker to itself.
const NoSlot = -1

// Action places one request, or changes a worker's process; then only Kind,
// Worker and InPlaceOf count.
type Action struct {
	Kind   Kind
	Ticket Ticket
	Worker int
	Slot   int   // to run it in, or NoSlot
	Slots  []int // that it has: this one, or all
	Erase  []int // slots whose KV must be dropped before
	// Warm is how many bytes of the request's prompt the slot already holds.
	Warm int
	// InPlaceOf is, for Start, the worker whose place the member takes.
	InPlaceOf int
	// Missed says that nobody had the request's files loaded when it came.
	Missed bool
}

// Counts are totals since the start.
type Counts struct {
	Swaps      uint64
	WarmHits   uint64 // requests that continued a conversation in the slot that holds it
	WarmMisses uint64 // requests that continue something and found nothing of it
	KVKept     uint64 // tokens of prompts that came out of slots
	KVLost     uint64 // tokens in slots that were given to somebody else
	// WarmGone are those of WarmHits whose slot turned out to be empty: llama-server
	// had let its KV go, by itself. They were read anew.
	WarmGone uint64
	Hits     uint64 // requests whose files were loaded somewhere when they came
	Misses   uint64 // requests whose files were not
	Reloads  uint64 // processes that were ended to load something else
}
