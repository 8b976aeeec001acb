package top

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
)

// gateway answers with one state after the other, the last one again and again;
// nil is an error.
func gateway(t *testing.T, states ...*adminapi.State) string {
	t.Helper()
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != adminapi.StatePath {
			http.NotFound(w, r)
			return
		}
		s := states[min(int(asked.Add(1)), len(states))-1]
		if s == nil {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(s)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestOneFrameWithoutTerminal(t *testing.T) {
	t.Setenv("COLUMNS", "100")
	s := second()
	for _, url := range []string{gateway(t, &s), strings.TrimPrefix(gateway(t, &s), "http://"), gateway(t, &s) + "/"} {
		var out strings.Builder
		if err := Run(t.Context(), Options{URL: url, Out: &out}); err != nil {
			t.Fatal(err)
		}
		if want := render(since(s), s, s.Time.Sub(s.Started), 100, unlimited); out.String() != want {
			t.Errorf("got\n%s\nnot\n%s", out.String(), want)
		}
	}
}

func TestGatewayCannotBeReached(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	l.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter,
		r *http.Request) {
		w.Write([]byte("<html>"))
	}))
	defer page.Close()
	for url, want := range map[string]string{
		closed:    "no gateway answers at its admin address (--admin names another)",
		other.URL: "answers 404 Not Found; is it the gateway's admin address",
		page.URL:  "does not answer with a gateway's state",
	} {
		var out strings.Builder
		err := Run(t.Context(), Options{URL: url, Setting: "--admin", Out: &out, Once: true})
		if err == nil || out.String() != "" {
			t.Fatalf("%s: %v, %q", url, err, out.String())
		}
		for _, part := range []string{want, url + adminapi.StatePath, "--admin"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
	}
	if err := Run(t.Context(), Options{URL: "http://[", Out: &strings.Builder{}}); err == nil ||
		!strings.HasPrefix(err.Error(), "--url: ") {
		t.Errorf("a bad address: %v", err)
	}
}

// screen hands on what is drawn, frame by frame.
type screen struct{ writes chan string }

func (s screen) Write(p []byte) (int, error) {
	s.writes <- string(p)
	return len(p), nil
}

func TestLiveScreen(t *testing.T) {
	a, b := first(), second()
	restarted := adminapi.State{Started: b.Time, Time: b.Time.Add(time.Second), Totals: adminapi.Totals{Requests: 7}}
	s := screen{make(chan string)}
	v := newViewer(Options{URL: gateway(t, &b, nil, &restarted), Interval: time.Millisecond, Out: s})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- v.loop(ctx, a) }()

	want := []string{enterScreen, "average since start", "last 2.0 s", "NO ANSWER: http://", "up 1s  average since start"}
	for _, part := range want {
		if got := <-s.writes; !strings.Contains(got, part) {
			t.Errorf("%q is not in %q", part, got)
		}
	}
	cancel()
	var last string
	for {
		select {
		case last = <-s.writes:
			continue
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		}
		break
	}
	if last != leaveScreen {
		t.Errorf("the last thing written is %q", last)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("closed") }

func TestOutputThatCannotBeWritten(t *testing.T) {
	s := second()
	if err := Run(t.Context(), Options{URL: gateway(t, &s), Out: broken{}}); err == nil {
		t.Error("nothing is said")
	}
}

func TestSizeFromTheEnvironment(t *testing.T) {
	t.Setenv("COLUMNS", "132")
	t.Setenv("LINES", "none")
	if w, h := size(nil); w != 132 || h != defaultHeight {
		t.Errorf("%d by %d", w, h)
	}
}
