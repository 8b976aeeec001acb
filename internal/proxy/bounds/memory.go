package bounds

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/loragate/loragate/internal/httpkit"
)

// Memory counts what the bodies of requests take of memory, from before they are read
// until their requests end. Its zero value bounds nothing.
type Memory struct {
	Most int64 // bytes; 0 is no bound

	now atomic.Int64
}

// factor is how many bytes a byte of a body counts for: as it came, as it is sent on,
// and in part once more while either is made.
const factor = 3

// ErrFull is that there is no room for a body now.
var ErrFull = errors.New("the bodies of other requests take what limits.memory allows")

// take makes room for so many more bytes of a body, and reports whether there was any.
func (m *Memory) take(n int64) bool {
	if now := m.now.Add(factor * n); m.Most > 0 && now > m.Most {
		m.now.Add(-factor * n)
		return false
	}
	return true
}

// Give returns what Read has taken.
func (m *Memory) Give(n int64) { m.now.Add(-factor * n) }

// Read is httpkit.ReadAll for a body, for which room is made: before anything is read if
// it says how long it is, else as it grows. What was taken is added to held, and to be given
// back at the end, also after an error.
func (m *Memory) Read(r io.Reader, length int64, held *int64) ([]byte, error) {
	if length > 0 {
		if !m.take(length) {
			return nil, ErrFull
		}
		*held += length
	}
	return httpkit.ReadAll(&heldReader{r: r, memory: m, held: held}, length)
}

// heldReader makes room for what is read beyond what is held already.
type heldReader struct {
	r      io.Reader
	memory *Memory
	held   *int64
	read   int64
}

func (h *heldReader) Read(text []byte) (int, error) {
	n, err := h.r.Read(text)
	h.read += int64(n)
	if more := h.read - *h.held; more > 0 {
		if !h.memory.take(more) {
			return 0, ErrFull
		}
		*h.held += more
	}
	return n, err
}
