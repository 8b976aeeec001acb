// Package stock keeps what is known of the files that workers may load: which there are,
// how large they are, when each was last used, and which ended the processes that loaded
// them.
package stock

import (
	"math"
	"time"
)

// File names an adapter's file; it is opaque here.
type File string

// Time is a moment, counted from a start that the owner chose.
type Time = time.Duration

// Never is a moment that does not come.
const Never Time = math.MaxInt64

// Entry is one file that workers may have loaded.
type Entry struct {
	File    File
	Bytes   int64 // that it takes in a worker's memory
	Pin     bool  // every worker has it loaded
	Preload bool  // one worker at least has it loaded, without anyone asking
}

// Item is what is known of a file.
type Item struct {
	Entry
	Gone        bool   // from the stock; requests that came before may still need it
	Quarantined bool   // it ends every process that loads it, or is not there any more
	Standing    bool   // it is pinned, and there is room for it
	edition     uint64 // of the stock, the last that had it

	// A file is proven once a process came up with it. One that was in a set that failed
	// is tried in smaller ones, at most Batch unproven files at once, until it is alone.
	// Strikes counts the processes that failed with it as the only unproven file.
	Proven  bool
	Batch   int
	Strikes int

	lastUse   Time // 0 is never
	burst     Time // when the uses began that count as one with the last
	useBefore Time // the last use before those; 0 is never

	WantedSince Time // since when, or from when on, it is to be loaded though nobody asks
}

const (
	// oneBurst is how close uses are that count as one: many requests that come at
	// once say no more of the future than one.
	oneBurst = 200 * time.Millisecond
	// InUse is how long after its last use a file counts as in use.
	InUse = time.Minute
)

func (it *Item) use(now Time) {
	if it.lastUse == 0 || now-it.burst >= oneBurst {
		it.useBefore, it.burst = it.lastUse, now
	}
	it.lastUse = now
}

// LastUse is when a request was last placed that needs the file; 0 is never.
func (it *Item) LastUse() Time { return it.lastUse }

// InUse reports whether the file was used of late.
func (it *Item) InUse(now Time) bool { return it.lastUse > 0 && now-it.lastUse < InUse }

// UsedAgain reports whether the file was used of late before it was used last: what is
// used again and again is rather used once more than what was used once.
func (it *Item) UsedAgain(now Time) bool { return it.useBefore > 0 && now-it.useBefore < InUse }
