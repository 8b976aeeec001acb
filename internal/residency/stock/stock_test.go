package stock

import (
	"slices"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/lru"
)

func nothing() map[File]bool { return nil }

func TestUsesCloseTogetherCountAsOne(t *testing.T) {
	it := &Item{}
	it.use(time.Hour)
	it.use(time.Hour + oneBurst/2)
	if it.UsedAgain(time.Hour + oneBurst/2) {
		t.Error("two uses of one burst count as two")
	}
	it.use(time.Hour + oneBurst)
	if now := time.Hour + oneBurst; !it.UsedAgain(now) || !it.InUse(now) || it.InUse(now+InUse) {
		t.Error("a use after the burst does not count, or counts for ever")
	}
}

func TestByLastUse(t *testing.T) {
	s := New(lru.Limits{})
	s.Set([]Entry{{File: "a"}, {File: "b"}, {File: "c"}}, 1, nothing)
	s.Use([]File{"b"}, 2)
	s.Use([]File{"gone"}, 3)
	var got []File
	for _, it := range s.ByLastUse() {
		got = append(got, it.File)
	}
	if !slices.Equal(got, []File{"b", "a", "c"}) || s.LastUse(s.Item("b")) < s.LastUse(s.Item("a")) {
		t.Errorf("by last use %v; of new ones the first counts as used last", got)
	}
}

func TestWhatIsNeededIsKeptAndForgivenWhenItComesBack(t *testing.T) {
	s := New(lru.Limits{})
	s.Set([]Entry{{File: "a"}, {File: "b"}}, 1, nothing)
	s.Quarantine(s.Item("a"))
	s.Set(nil, 2, func() map[File]bool { return map[File]bool{"a": true} })
	if !s.Quarantined("a") || s.Known("b") != nil {
		t.Error("what is needed is forgotten, or what is not is kept")
	}
	if s.Set([]Entry{{File: "a"}}, 3, nothing); s.Quarantined("a") {
		t.Error("it is still in quarantine")
	}
}

func TestRoomBesidePins(t *testing.T) {
	s := New(lru.Limits{Weight: 30})
	s.Set([]Entry{{File: "a", Bytes: 10, Pin: true}, {File: "b", Bytes: 20}, {File: "c", Bytes: 25}}, 1, nothing)
	if !s.RoomBesidePins([]File{"a", "b", "b"}) || s.RoomBesidePins([]File{"c"}) || s.AllFit() || s.Smallest() != 10 {
		t.Error("room is miscounted")
	}
	s.LimitBytes(60)
	if !s.RoomBesidePins([]File{"c"}) || !s.AllFit() {
		t.Error("more room is not noticed")
	}
}
