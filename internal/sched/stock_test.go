package sched

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestSumOfUnprovenFilesIsLoaded asks for two files at once that may not be tried
// at once, because they were in a set that failed.
func TestSumOfUnprovenFilesIsLoaded(t *testing.T) {
	sh := open(t, bounded(1, 3), stockOf(3)...)
	list := stockOf(7)
	sh.breaks["f05"] = true
	sh.s.SetStock(list, sh.Now())
	sum := sh.wants("f03", "f04")
	bad := sh.wants("f05")
	sh.run(func() bool {
		for _, f := range sh.s.NewlyQuarantined() {
			if f != "f05" {
				t.Fatalf("%s is innocent", f)
			}
			sh.leave(bad)
			bad = nil
		}
		if sum != nil && sh.Placed[sum.Ticket] != nil {
			sh.end(sum)
			sum = nil
		}
		return sum == nil && bad == nil
	})
}

// TestFileThatComesBackGetsAnotherChance takes a bad file out of stock, and puts
// it back while a request that came before still runs with it.
func TestFileThatComesBackGetsAnotherChance(t *testing.T) {
	sh := open(t, bounded(1, 0), stockOf(2)...)
	j := sh.wants("f01")
	sh.run(sh.served(j))
	sh.s.Quarantine("f01")
	sh.s.SetStock(stockOf(1), sh.Now())
	if !sh.s.Quarantined("f01") || !sh.s.residency.Used()["f01"] {
		t.Error("it is forgotten though it is in use")
	}
	sh.s.SetStock(stockOf(2), sh.Now())
	if sh.s.Quarantined("f01") {
		t.Error("it is still taken for bad")
	}
	sh.end(j)
}

// TestOneConvictionForAll lets two workers fail at once because of one file.
func TestOneConvictionForAll(t *testing.T) {
	sh := newShop(t, bounded(2, 0), stockOf(1)...)
	sh.breaks["f00"] = true
	found := 0
	sh.run(func() bool {
		found += len(sh.s.NewlyQuarantined())
		return len(sh.s.fleet.list) == 2 && sh.s.Quarantined("f00")
	})
	if found != 1 {
		t.Errorf("convicted %d times", found)
	}
}

func TestRoom(t *testing.T) {
	list := stockOf(6)
	list[0].Pin, list[1].Pin, list[2].Pin = true, true, true
	for _, c := range []struct {
		name   string
		loaded int
		memory int64
		list   []Stock
		want   map[string]bool // by files
	}{
		{"no bounds", 0, 0, list, map[string]bool{"f03 f04 f05": true}},
		{"beside pins", 4, 0, list, map[string]bool{"": true, "f00": true, "f03": true, "f03 f04": false,
			"f00 f01 f03": true, "f03 f03": true}},
		{"pins that fill everything", 3, 0, list, map[string]bool{"": true, "f00 f02": true, "f03": false, "f00 f03": false}},
		{"more pins than room", 2, 0, list, map[string]bool{"f00": true, "f01": true, "f00 f01": true, "f02": false,
			"f05": false}},
		{"by bytes", 0, 45, list, map[string]bool{"f03": true, "f03 f04": false, "f02": true}},
		{"larger than the bound", 0, 25, []Stock{{File: "big", Bytes: 26}, {File: "small", Bytes: 25}},
			map[string]bool{"big": false, "small": true}},
	} {
		o := bounded(1, c.loaded)
		o.Memory = c.memory
		s := New(o)
		s.SetStock(c.list, 0)
		for files, want := range c.want {
			var list []File
			for _, f := range strings.Fields(files) {
				list = append(list, File(f))
			}
			if got := s.Room(list); got != want {
				t.Errorf("%s: room for [%s] is %v", c.name, files, got)
			}
		}
	}
	// What a worker has loaded is served, whatever is pinned meanwhile.
	sh := open(t, bounded(1, 3), stockOf(3)...)
	for i := range 3 {
		list[i+3].Pin = true
	}
	sh.s.SetStock(list, sh.Now())
	if !sh.s.Room([]File{"f00", "f01"}) {
		t.Error("no room for what is loaded")
	}
	// What a bad pinned file would take is for others.
	s := New(bounded(1, 2))
	s.SetStock(list[3:], 0)
	s.Quarantine("f03")
	s.Quarantine("f04")
	if !s.Room([]File{"f05"}) || !s.Room([]File{"f05", "f01"}) {
		t.Error("no room beside a pinned file and two bad ones")
	}
}

// TestMemoryThatRunsOut gives workers less memory than the stock takes, from the
// start, or when more comes: all is served, in turns, and no file is to blame.
func TestMemoryThatRunsOut(t *testing.T) {
	for name, before := range map[string]int{"from the start": 20, "when more comes": 4} {
		sh := newShop(t, bounded(2, 0), stockOf(before)...)
		sh.memory = 65 // six files
		sh.run(func() bool { return len(sh.Starting) == 0 && len(sh.s.fleet.list) == 2 })
		sh.s.SetStock(stockOf(20), sh.Now())
		sh.wait(time.Minute)
		for i := range 40 {
			sh.done(sh.wants(File(fmt.Sprintf("f%02d", i%20))))
			if most := len(sh.loaded()[0]); most > 6 {
				t.Fatalf("%s: a worker has %d", name, most)
			}
		}
		if bad := sh.s.NewlyQuarantined(); len(bad) > 0 {
			t.Errorf("%s: %v are said to be bad", name, bad)
		}
		if n := len(sh.loaded()[0]); n < 5 {
			t.Errorf("%s: only %d are loaded", name, n)
		}
		// What breaks workers by its content is found all the same.
		sh.breaks["f20"] = true
		sh.s.SetStock(stockOf(21), sh.Now())
		j := sh.wants("f20")
		sh.run(func() bool { return sh.s.Quarantined("f20") })
		sh.leave(j)
		if got := fmt.Sprint(sh.s.NewlyQuarantined()); got != "[f20]" {
			t.Errorf("%s: found %s", name, got)
		}
	}
}
