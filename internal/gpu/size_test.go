package gpu

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// g returns that many GiB in bytes.
func g(n float64) int64 { return int64(n * gib) }

func cuda(i int, total, free float64) Device {
	return Device{Name: "CUDA" + string(rune('0'+i)), Description: "NVIDIA H200", Backend: "CUDA", Total: g(total),
		Free: g(free)}
}

func vulkan(i int, description string, total, free float64) Device {
	return Device{Name: "Vulkan" + string(rune('0'+i)), Description: description, Backend: "Vulkan", Total: g(total),
		Free: g(free)}
}

func TestSize(t *testing.T) {
	tests := []struct {
		name      string
		s         Sizing
		placement []string
		reason    string
	}{
		{"MPS, a small model",
			Sizing{Before: []Device{cuda(0, 139.8, 139)}, After: []Device{cuda(0, 139.8, 136.1)}, Model: g(1.7), MPS: true},
			[]string{"", "", "", "", "", "", "", ""},
			"8 workers on CUDA0: the first one took 2.9 of 139.8 GiB, 8 is the most under MPS"},
		{"without MPS",
			Sizing{Before: []Device{cuda(0, 139.8, 139)}, After: []Device{cuda(0, 139.8, 136.1)}, Model: g(1.7), Cores: 64},
			[]string{"", ""},
			"2 workers on CUDA0: the first one took 2.9 of 139.8 GiB, 2 is the most without MPS"},
		{"MPS is for CUDA alone",
			Sizing{Before: []Device{vulkan(0, "AMD", 24, 24)}, After: []Device{vulkan(0, "AMD", 24, 21)}, Model: g(2),
				MPS: true},
			[]string{"", ""},
			"2 workers on Vulkan0: the first one took 3.0 of 24.0 GiB, 2 is the most without MPS"},
		{"memory is the limit",
			Sizing{Names: []string{"CUDA0"}, Before: []Device{cuda(0, 48, 47.5)}, After: []Device{cuda(0, 48, 36)},
				Model: g(8), MPS: true},
			[]string{"CUDA0", "CUDA0", "CUDA0"},
			"3 workers on CUDA0: each takes 11.5 GiB, 42.7 GiB are there for them after a reserve of 4.8 GiB"},
		{"a reserve of one's own",
			Sizing{Before: []Device{cuda(0, 48, 47.5)}, After: []Device{cuda(0, 48, 36)}, Model: g(8), MPS: true,
				Reserve: g(20)},
			[]string{"", ""},
			"2 workers on CUDA0: each takes 11.5 GiB, 27.5 GiB are there for them after a reserve of 20.0 GiB"},
		{"the reserve is 1 GiB at least",
			Sizing{Before: []Device{cuda(0, 8, 7.8)}, After: []Device{cuda(0, 8, 4.4)}, Model: g(3)},
			[]string{""},
			"1 worker on CUDA0: it takes 3.4 of 8.0 GiB, and what is left does not hold another beside a reserve of 1.0 GiB"},
		{"adapters are yet to load",
			Sizing{Before: []Device{cuda(0, 24, 24)}, After: []Device{cuda(0, 24, 20)}, Model: g(3), MPS: true, Adapters: g(2)},
			[]string{"", "", ""},
			"3 workers on CUDA0: each takes 4.0 GiB and has 2.0 GiB of adapters to load, 21.6 GiB are there for them after a " +
				"reserve of 2.4 GiB"},
		{"a device that is full already keeps its one worker",
			Sizing{Before: []Device{cuda(0, 24, 12)}, After: []Device{cuda(0, 24, 0.5)}, Model: g(8), MPS: true},
			[]string{""},
			"1 worker on CUDA0: it takes 11.5 of 24.0 GiB, and what is left does not hold another beside a reserve of 2.4 GiB"},
		{"two alike",
			Sizing{Names: []string{"CUDA0", "CUDA1"}, Before: []Device{cuda(0, 140, 140), cuda(1, 140, 140)},
				After: []Device{cuda(0, 140, 137), cuda(1, 140, 140)}, Model: g(2), MPS: true},
			slices.Repeat([]string{"CUDA0", "CUDA1"}, 8),
			"16 workers, 8 on each of CUDA0 and CUDA1: the first one took 3.0 of 140.0 GiB, 8 is the most under MPS"},
		{"two that differ",
			Sizing{Names: []string{"CUDA0", "CUDA1"}, Before: []Device{cuda(0, 48, 48), cuda(1, 24, 24)},
				After: []Device{cuda(0, 48, 37), cuda(1, 24, 24)}, Model: g(8), MPS: true},
			[]string{"CUDA0", "CUDA1", "CUDA0", "CUDA0"},
			"4 workers, 3 on CUDA0 and 1 on CUDA1: each takes 11.0 GiB, 43.2 and 21.6 GiB are there for them after a reserve " +
				"of 4.8 and 2.4 GiB"},
		{"one of two is at its most",
			Sizing{Names: []string{"CUDA0", "CUDA1"}, Before: []Device{cuda(0, 96, 96), cuda(1, 24, 24)},
				After: []Device{cuda(0, 96, 86), cuda(1, 24, 24)}, Model: g(8), Adapters: g(0.5), MPS: true},
			[]string{"CUDA0", "CUDA1", "CUDA0", "CUDA1", "CUDA0", "CUDA0", "CUDA0", "CUDA0", "CUDA0", "CUDA0"},
			"10 workers, 8 on CUDA0 and 2 on CUDA1: each takes 10.0 GiB and has 0.5 GiB of adapters to load, " +
				"86.4 and 21.6 GiB are there for them after a reserve of 9.6 and 2.4 GiB, and 8 is the most under MPS"},
		{"the second is full",
			Sizing{Names: []string{"CUDA0", "CUDA1"}, Before: []Device{cuda(0, 24, 24), cuda(1, 24, 3)},
				After: []Device{cuda(0, 24, 14), cuda(1, 24, 3)}, Model: g(8)},
			[]string{"CUDA0", "CUDA0"},
			"2 workers on CUDA0: the first one took 10.0 of 24.0 GiB, 2 is the most without MPS; CUDA1 has no room for one"},
		{"a worker over two devices",
			Sizing{Before: []Device{cuda(0, 24, 24), cuda(1, 24, 24)}, After: []Device{cuda(0, 24, 14), cuda(1, 24, 15)},
				Model: g(17), MPS: true},
			[]string{"", ""},
			"2 workers on CUDA0 and CUDA1 together: each takes 19.0 GiB, 42.2 GiB are there for them after a reserve of 4.8 " +
				"GiB"},
		{"a worker over eight devices takes little of each",
			Sizing{Before: eight(20), After: eight(18), Model: g(14)},
			[]string{"", ""},
			"2 workers on CUDA0, CUDA1, CUDA2, CUDA3, CUDA4, CUDA5, CUDA6 and CUDA7 together: the first one took 16.0 of " +
				"192.0 GiB, 2 is the most without MPS"},
		{"two backends show one GPU",
			Sizing{Before: []Device{cuda(0, 24, 24), vulkan(0, "NVIDIA H200", 24, 24)},
				After: []Device{cuda(0, 24, 18), vulkan(0, "NVIDIA H200", 24, 18)}, Model: g(5), MPS: true},
			[]string{"", "", ""},
			"3 workers on CUDA0: each takes 6.0 GiB, 21.6 GiB are there for them after a reserve of 2.4 GiB"},
		{"a processor",
			Sizing{Model: g(2), Cores: 4},
			[]string{""},
			"1 worker on the processor: it has 4 cores"},
		{"a large processor",
			Sizing{Model: g(2), Cores: 8, MPS: true},
			[]string{"", ""},
			"2 workers on the processor: it has 8 cores"},
		{"the worker is not on the GPU there is",
			Sizing{Before: []Device{cuda(0, 24, 24)}, After: []Device{cuda(0, 24, 23.6)}, Model: g(2), Cores: 2},
			[]string{""},
			"1 worker on the processor: it has 2 cores"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := Size(tt.s)
			if got := d.Placement(); !slices.Equal(got, tt.placement) {
				t.Errorf("placement %q, want %q", got, tt.placement)
			}
			if d.Workers() != len(tt.placement) {
				t.Errorf("%d workers, want %d", d.Workers(), len(tt.placement))
			}
			if d.Reason != tt.reason {
				t.Errorf("reason\n%s, want\n%s", d.Reason, tt.reason)
			}
		})
	}
}

func eight(free float64) []Device {
	var list []Device
	for i := range 8 {
		list = append(list, cuda(i, 24, free))
	}
	return list
}

// TestSizeOfAbsurdReadings: whatever a driver claims, the answer is one that can be
// started.
func TestSizeOfAbsurdReadings(t *testing.T) {
	one := func(total, free int64) []Device {
		return []Device{{Name: "CUDA0", Description: "x", Backend: "CUDA", Total: total, Free: free}}
	}
	tests := []struct {
		name    string
		s       Sizing
		workers int
		where   string
	}{
		{"free above total", Sizing{Before: one(g(24), g(99)), After: one(g(24), g(21)), Model: g(2), MPS: true}, 7, "CUDA0"},
		{"free above total twice", Sizing{Before: one(g(24), g(99)), After: one(g(24), g(90)), Model: g(2), Cores: 1}, 1,
			"processor: it has 1 core"},
		{"memory came free meanwhile", Sizing{Before: one(g(24), g(10)), After: one(g(24), g(20)), Model: g(2), Cores: 2},
			1, "processor"},
		{"no change", Sizing{Before: one(g(24), g(10)), After: one(g(24), g(10)), Model: g(2), Cores: 2}, 1, "processor"},
		{"less than the file", Sizing{Before: one(g(24), g(24)), After: one(g(24), g(22)), Model: g(6), MPS: true}, 4,
			"CUDA0"},
		{"negative", Sizing{Before: one(-1, -1), After: one(-1, -5), Model: g(6), Cores: 2}, 1, "processor"},
		{"negative free", Sizing{Before: one(g(24), g(24)), After: one(g(24), -1), Model: g(6)}, 1, "CUDA0"},
		{"huge", Sizing{Before: one(math.MaxInt64, math.MaxInt64), After: one(math.MaxInt64, math.MaxInt64-g(3)),
			Model: g(2), MPS: true}, 8, "CUDA0"},
		{"a model of no size", Sizing{Before: one(g(24), g(24)), After: one(g(24), g(24)-1), Cores: 2}, 1, "processor"},
		{"gone", Sizing{Before: one(g(24), g(24)), Model: g(2), Cores: 2}, 1, "processor"},
		{"another one", Sizing{Before: one(g(24), g(24)), After: []Device{cuda(1, 24, 1)}, Model: g(2), Cores: 2}, 1,
			"processor"},
		{"a reserve above all", Sizing{Before: one(g(24), g(24)), After: one(g(24), g(21)), Model: g(2), Reserve: g(1000)},
			1, "CUDA0"},
		{"negative reserve and adapters", Sizing{Before: one(g(24), g(24)), After: one(g(24), g(21)), Model: g(2),
			Reserve: -1, Adapters: -9}, 2, "CUDA0"},
		{"no memory of its own", Sizing{Before: []Device{{Name: "BLAS", Backend: "BLAS"}},
			After: []Device{{Name: "BLAS", Backend: "BLAS"}}, Model: g(2), Cores: 9}, 2, "processor"},
		{"named and unknown", Sizing{Names: []string{"CUDA0", "CUDA1"}, Model: g(2), Cores: 2}, 2,
			"1 on each of CUDA0 and CUDA1: what memory there is could not be read"},
		{"named none", Sizing{Names: []string{"none"}, Before: one(g(24), g(24)), After: one(g(24), g(24)), Model: g(2),
			Cores: 2}, 1, "processor"},
		{"named the other one", Sizing{Names: []string{"CUDA1"}, Before: []Device{cuda(0, 24, 24), cuda(1, 24, 24)},
			After: []Device{cuda(0, 24, 2), cuda(1, 24, 21)}, Model: g(2)}, 2, "CUDA1"},
		{"named together", Sizing{Names: []string{"CUDA0,CUDA1"}, Before: []Device{cuda(0, 24, 24), cuda(1, 24, 24)},
			After: []Device{cuda(0, 24, 14), cuda(1, 24, 14)}, Model: g(15), MPS: true}, 2, "CUDA0 and CUDA1 together"},
		{"pairs of devices", Sizing{Names: []string{"CUDA0,CUDA1", "CUDA2,CUDA3"}, Before: eight(24),
			After: append([]Device{cuda(0, 24, 14), cuda(1, 24, 14)}, eight(24)[2:]...), Model: g(15), MPS: true}, 4,
			"4 workers, 2 on each of CUDA0 and CUDA1 together and CUDA2 and CUDA3 together"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := Size(tt.s)
			if d.Workers() != tt.workers || !strings.Contains(d.Reason, tt.where) {
				t.Errorf("%+v, want %d workers and %q", d, tt.workers, tt.where)
			}
		})
	}
}

// FuzzSize holds what is true of every decision.
func FuzzSize(f *testing.F) {
	f.Add(int64(1<<34), int64(1<<33), int64(1<<32), int64(1<<31), int64(0), int64(0), true, 4)
	f.Fuzz(func(t *testing.T, total, before, after, model, adapters, reserve int64, mps bool, cores int) {
		at := func(free int64) []Device { return []Device{{Name: "CUDA0", Backend: "CUDA", Total: total, Free: free}} }
		for _, names := range [][]string{nil, {"CUDA0"}, {"CUDA0", "CUDA1"}} {
			d := Size(Sizing{Names: names, Before: at(before), After: at(after), Model: model, Adapters: adapters,
				Reserve: reserve, MPS: mps, Cores: cores})
			if n := d.Workers(); n < 1 || n > 2*MostUnderMPS || len(d.Placement()) != n || d.Reason == "" {
				t.Errorf("%+v", d)
			}
		}
	})
}
