// Package top shows in a terminal what a gateway is doing, from its admin
// address.
package top

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/terminal"
)

// maxState bounds what is read of an answer; a worker with many models is a few
// hundred bytes each.
const maxState = 64 << 20

// Options says what is shown, and where.
type Options struct {
	URL string // the admin address, such as http://127.0.0.1:8081; the scheme may be left out
	// Setting is how the user sets URL, for error messages; "" is --url.
	Setting  string
	Token    string        // the admin API's bearer token; "" sends none
	Interval time.Duration // between two looks; 0 is a second
	Once     bool          // write one frame of averages since the gateway's start and return
	// Out is where frames go; nil is standard output. When it is not a terminal,
	// Once holds.
	Out io.Writer
}

// Run draws until ctx ends or the user presses Ctrl-C, both of which return
// nil, with the screen as it was. It returns an error when the gateway cannot
// be reached at the start; one that goes away later is waited for.
func Run(ctx context.Context, o Options) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	v := newViewer(o)
	cur, err := v.poll(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if o.Once || v.tty == nil {
		_, err := io.WriteString(v.out, render(since(cur), cur, cur.Time.Sub(cur.Started), fallbackWidth(), unlimited))
		return err
	}
	return v.loop(ctx, cur)
}

// viewer polls and draws. Run's goroutine owns it.
type viewer struct {
	base, setting string
	token         string
	interval      time.Duration
	out           io.Writer
	tty           *os.File // out, when it is a terminal
	client        *http.Client
}

func newViewer(o Options) *viewer {
	v := &viewer{base: strings.TrimRight(o.URL, "/"), setting: o.Setting, token: o.Token, interval: o.Interval, out: o.Out}
	if !strings.Contains(v.base, "://") {
		v.base = "http://" + v.base
	}
	if v.setting == "" {
		v.setting = "--url"
	}
	if v.interval <= 0 {
		v.interval = time.Second
	}
	if v.out == nil {
		v.out = os.Stdout
	}
	if f, ok := v.out.(*os.File); ok && isTerminal(f) {
		v.tty = f
	}
	// A proxy of the environment is not meant for this.
	v.client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
	return v
}

// poll asks for the state. Its errors name the address and how to change it.
func (v *viewer) poll(ctx context.Context) (adminapi.State, error) {
	var s adminapi.State
	url := v.base + adminapi.StatePath
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return s, fmt.Errorf("%s: %w", v.setting, err)
	}
	if v.token != "" {
		req.Header.Set("Authorization", "Bearer "+v.token)
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return s, fmt.Errorf("no gateway answers at its admin address (%s names another): %w", v.setting, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("%s answers %s; is it the gateway's admin address, admin.listen in its configuration? (%s "+
			"names another)", url, resp.Status, v.setting)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxState)).Decode(&s); err != nil {
		return s, fmt.Errorf("%s does not answer with a gateway's state (%s names another address): %w", url, v.setting, err)
	}
	return s, nil
}

const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the alternate screen, no cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// loop draws a frame for every look and whenever the terminal's size changes.
func (v *viewer) loop(ctx context.Context, cur adminapi.State) error {
	if _, err := io.WriteString(v.out, enterScreen); err != nil {
		return err
	}
	defer io.WriteString(v.out, leaveScreen)
	resized, stop := notifyResize()
	defer stop()
	ticker := time.NewTicker(v.interval)
	defer ticker.Stop()

	prev, problem := since(cur), ""
	for {
		if err := v.draw(prev, cur, problem); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-resized:
		case <-ticker.C:
			next, err := v.poll(ctx)
			if err != nil {
				problem = err.Error()
				continue
			}
			prev, cur, problem = cur, next, ""
			if !prev.Started.Equal(cur.Started) { // another process: its counts began anew
				prev = since(cur)
			}
		}
	}
}

// draw overwrites the screen line by line, which does not flicker.
func (v *viewer) draw(prev, cur adminapi.State, problem string) error {
	width, height := size(v.tty)
	if problem != "" {
		height--
	}
	// The last column stays free: some terminals wrap when it is written.
	frame := render(prev, cur, cur.Time.Sub(prev.Time), width-1, height)
	var b strings.Builder
	b.WriteString(home)
	lines := strings.Split(strings.TrimSuffix(frame, "\n"), "\n")
	if problem != "" {
		lines = append([]string{fit("NO ANSWER: "+terminal.Clean(problem), width-1)}, lines...)
	}
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line + clearLine)
	}
	b.WriteString(clearBelow)
	_, err := io.WriteString(v.out, b.String())
	return err
}

// since is the state to compare with for averages since the gateway's start.
func since(cur adminapi.State) adminapi.State {
	return adminapi.State{Time: cur.Started, Started: cur.Started}
}
