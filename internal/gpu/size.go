package gpu

import (
	"slices"
	"strings"
)

// How many workers auto makes at most. More than eight at once on a GPU gain little;
// without the multi-process service the workers on one take turns, so that a second
// is there only to fill the first one's pauses. A processor gains from a second
// worker only if it has cores for two.
const (
	MostUnderMPS = 8
	MostOnGPU    = 2
	CoresForTwo  = 8
)

const gib = 1 << 30

// noise is what a device's free memory may change by with nobody loading a model: a
// desktop draws, and llama-server reports in whole MiB.
const noise = 16 << 20

// Sizing is what the number of workers is decided from: the devices' memory before
// the first worker started and once it was ready, both from one source.
type Sizing struct {
	Before, After []Device
	// Names are the devices given to the workers in turn, as --device takes them, the
	// first worker's first. Without any, llama-server picks for each.
	Names    []string
	Model    int64 // bytes of the base model's file
	Adapters int64 // bytes of adapters that each worker is yet to load
	MPS      bool  // the multi-process service will serve those on CUDA devices
	Cores    int   // of the processor
	Reserve  int64 // bytes of each device to leave free; 0 is DefaultReserve
}

// Share is how many workers are to be on a device.
type Share struct {
	Device  string // one of Sizing.Names, or "" where llama-server picks
	Workers int    // at least 1
}

// Decision is how many workers there are to be, never less than one. A device that
// is to hold none has no share.
type Decision struct {
	Shares []Share
	Reason string // one sentence for people: how many, where and why
}

// Workers returns the number of all workers.
func (d Decision) Workers() int {
	n := 0
	for _, s := range d.Shares {
		n += s.Workers
	}
	return n
}

// Placement returns each worker's device, taking the devices in turn for as long as
// they have room. The first worker's comes first.
func (d Decision) Placement() []string {
	var list []string
	for round := range d.Workers() {
		for _, s := range d.Shares {
			if round < s.Workers {
				list = append(list, s.Device)
			}
		}
	}
	return list
}

// DefaultReserve is what is left free of a device of that size unless somebody said
// otherwise, so that a desktop on it stays usable: the larger of 1 GiB and a tenth.
func DefaultReserve(total int64) int64 { return max(gib, total/10) }

// Size decides how many workers there are to be. The first one is there already.
func Size(s Sizing) Decision {
	first := s.first()
	if first == nil {
		return s.withoutGPU()
	}
	rooms := []room{s.room(*first)}
	if len(s.Names) > 1 {
		for _, name := range s.Names[1:] {
			rooms = append(rooms, s.room(s.next(name, *first)))
		}
	}
	d := Decision{Reason: reason(s, rooms)}
	for _, r := range rooms {
		if r.workers > 0 {
			d.Shares = append(d.Shares, Share{Device: r.name, Workers: r.workers})
		}
	}
	return d
}

// spot is where workers are or could be: one device, or some over which each worker
// is spread.
type spot struct {
	name    string   // as in Sizing.Names
	devices []Device // as they are with the first worker running
	running int      // workers already there
	took    int64    // bytes that the first worker took, wherever it is
}

// first returns the first worker's spot, or nil if it is not on a GPU: it took less
// of them than a quarter of the model. A worker that seems to take less than its
// model's file was loaded while others freed memory, so it is taken at that.
func (s Sizing) first() *spot {
	var at spot
	if len(s.Names) > 0 {
		at.name = s.Names[0]
	}
	for _, before := range distinct(s.Before) {
		after, ok := s.now(before.Name)
		if !ok || at.name != "" && !slices.Contains(strings.Split(at.name, ","), before.Name) {
			continue
		}
		if took := before.Free - after.Free; took >= noise {
			at.devices = append(at.devices, after)
			at.took += took
		}
	}
	if len(at.devices) == 0 || at.took < s.Model/4 {
		return nil
	}
	at.took, at.running = max(at.took, s.Model), 1
	return &at
}

// next returns another device's spot, where a worker would take what the first did.
func (s Sizing) next(name string, first spot) spot {
	at := spot{name: name, took: first.took}
	for part := range strings.SplitSeq(name, ",") {
		if d, ok := s.now(part); ok {
			at.devices = append(at.devices, d)
		}
	}
	return at
}

// now returns a device as it is with the first worker running.
func (s Sizing) now(name string) (Device, bool) {
	i := slices.IndexFunc(s.After, func(d Device) bool { return d.Name == name })
	if i < 0 {
		return Device{}, false
	}
	d := s.After[i].sane()
	return d, d.Total > 0
}

// room is a spot with what was decided for it.
type room struct {
	spot
	workers int
	most    int   // the workers that it may hold at most
	each    int64 // bytes that one takes, all its adapters included
	space   int64 // bytes there for workers, the running one's included
	reserve int64 // bytes that are not
	total   int64 // bytes it has
}

// room counts the workers that a spot holds. Of several devices over which a worker
// is spread the fullest counts, as if it held an equal part.
func (s Sizing) room(at spot) room {
	r := room{spot: at, most: MostOnGPU, each: at.took + max(s.Adapters, 0)}
	if s.MPS && !slices.ContainsFunc(at.devices, func(d Device) bool { return d.Backend != "CUDA" }) {
		r.most = MostUnderMPS
	}
	parts := int64(len(at.devices))
	if parts == 0 {
		return r
	}
	fullest := int64(1<<63 - 1)
	for _, d := range at.devices {
		reserve := s.reserve(d)
		r.total += d.Total
		r.reserve += reserve
		fullest = min(fullest, d.Free-reserve)
	}
	r.space = max(fullest*parts+int64(at.running)*at.took, 0)
	r.workers = int(min(r.space/r.each, int64(r.most)))
	r.workers = max(r.workers, at.running)
	return r
}

func (s Sizing) reserve(d Device) int64 {
	if s.Reserve > 0 {
		return s.Reserve
	}
	return DefaultReserve(d.Total)
}

// withoutGPU decides for workers on the processor, and for devices that somebody
// named and whose memory cannot be read.
func (s Sizing) withoutGPU() Decision {
	unread := slices.DeleteFunc(slices.Clone(s.Names), func(name string) bool {
		_, known := s.now(name)
		return known || name == "none"
	})
	if len(unread) > 0 && len(unread) == len(s.Names) {
		return unmeasured(unread)
	}
	workers := 1
	if s.Cores >= CoresForTwo {
		workers = 2
	}
	device := ""
	if len(s.Names) > 0 {
		device = s.Names[0]
	}
	return Decision{Shares: []Share{{Device: device, Workers: workers}}, Reason: onProcessor(workers, s.Cores)}
}

// unmeasured puts one worker on each device that somebody named.
func unmeasured(names []string) Decision {
	var d Decision
	var rooms []room
	for _, name := range names {
		d.Shares = append(d.Shares, Share{Device: name, Workers: 1})
		rooms = append(rooms, room{spot: spot{name: name}, workers: 1})
	}
	d.Reason = where(rooms) + ": what memory there is could not be read"
	return d
}
