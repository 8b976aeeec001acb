package bounds

import (
	"bytes"
	"fmt"
	"testing"
)

// TestRoomForBodies counts.
func TestRoomForBodies(t *testing.T) {
	m := Memory{Most: factor * 1000}
	read := func(n int, length int64) (held int64, err error) {
		text, err := m.Read(bytes.NewReader(make([]byte, n)), length, &held)
		if err == nil && len(text) != n {
			t.Errorf("%d of %d bytes", len(text), n)
		}
		return held, err
	}
	for _, known := range []bool{true, false} {
		length := func(n int64) int64 {
			if known {
				return n
			}
			return -1
		}
		first, err := read(600, length(600))
		if err != nil || first != 600 {
			t.Fatal(first, err)
		}
		second, err := read(401, length(401))
		if err != ErrFull {
			t.Errorf("over it: %v", err)
		}
		m.Give(second)
		third, err := read(400, length(400))
		if err != nil {
			t.Error(err)
		}
		m.Give(first + third)
		if now := m.now.Load(); now != 0 {
			t.Error(fmt.Sprint(now, " bytes are left"))
		}
	}
}
