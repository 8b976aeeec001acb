package admincli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/terminal"
)

// Progress shows how far an adapter is on its way: on a terminal with a bar,
// elsewhere with a line when that changes. Its methods may be called from any
// goroutine; after Close nothing is written any more.
type Progress struct {
	out      io.Writer
	name     string
	terminal bool

	mu     sync.Mutex
	bar    *progressbar.ProgressBar
	shows  drawn  // what bar is of
	said   string // last, without a bar
	closed bool
}

// drawn is what a bar was begun with.
type drawn struct {
	what  string
	total int64
}

// NewProgress returns the progress of the adapter of that name.
func NewProgress(out io.Writer, name string) *Progress {
	f, ok := out.(*os.File)
	return &Progress{out: out, name: terminal.Clean(name), terminal: ok && term.IsTerminal(int(f.Fd()))}
}

// Sent tells how many bytes of an upload were read; a total of 0 is not known.
func (p *Progress) Sent(done, total int64) { p.bytes("uploading", done, total) }

// State tells what the gateway says of the adapter.
func (p *Progress) State(a adminapi.Adapter) {
	if a.Progress != nil && a.Progress.Done > 0 {
		p.bytes(a.State, a.Progress.Done, a.Progress.Total)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.end()
	p.say(a.State)
}

func (p *Progress) bytes(what string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if !p.terminal {
		p.say(what)
		return
	}
	if total <= 0 {
		total = -1 // a spinner
	}
	if now := (drawn{what, total}); p.bar == nil || p.shows != now {
		p.end()
		p.shows = now
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(p.out), progressbar.OptionSetDescription(p.name+": "+terminal.Clean(what)),
			progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetSpinnerChangeInterval(0), // else it draws by itself, even after its end
			progressbar.OptionClearOnFinish())
	}
	_ = p.bar.Set64(done) // fails only when the terminal is gone
}

// say writes a line, unless it was the last one. The caller holds the lock.
func (p *Progress) say(what string) {
	if what == p.said {
		return
	}
	p.said = what
	fmt.Fprintf(p.out, "%s: %s\n", p.name, terminal.Clean(what))
}

// end takes the bar away. The caller holds the lock.
func (p *Progress) end() {
	if p.bar != nil {
		_ = p.bar.Exit()
		_ = p.bar.Clear()
		p.bar = nil
	}
}

// Close takes the bar away.
func (p *Progress) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	p.closed = true
}
