package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/cli"
)

// adminState reads the admin listener's state at url.
func adminState(url string) (adminapi.State, error) {
	var s adminapi.State
	resp, err := adminGet(url, adminapi.StatePath)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("the admin state: status %d", resp.StatusCode)
	}
	err = json.NewDecoder(resp.Body).Decode(&s)
	return s, err
}

// adminGet asks the admin listener at url as the command line of this account would.
func adminGet(url, path string) (*http.Response, error) {
	req, err := http.NewRequest("GET", url+path, nil)
	if err != nil {
		return nil, err
	}
	if token := cli.FindToken(context.Background(), url); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return http.DefaultClient.Do(req)
}

// adminURL waits for the address of the admin listener.
func (g *gatewayProcess) adminURL() string {
	g.t.Helper()
	url, _ := g.says("admin")["url"].(string)
	return url
}

// turns is which model had each turn on a gateway's only worker. The number of
// swaps and what is applied come from one state, read in one moment, so that the
// order is the scheduler's own; a turn that was never seen is a gap, not a guess.
type turns struct {
	mu    sync.Mutex
	owner map[uint64]string // by the number of swaps so far
	last  uint64
	wake  chan struct{}
}

// watchTurns notes the turns until the test ends.
func watchTurns(t *testing.T, url string) *turns {
	tu := &turns{owner: map[uint64]string{}, wake: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if s, err := adminState(url); err == nil {
				tu.note(s)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return tu
}

func (tu *turns) note(s adminapi.State) {
	tu.mu.Lock()
	defer tu.mu.Unlock()
	tu.owner[s.Totals.Swaps] = s.Workers[0].Applied
	tu.last = max(tu.last, s.Totals.Swaps)
	close(tu.wake)
	tu.wake = make(chan struct{})
}

// after returns the number of the model's first turn after turn n that was seen.
func (tu *turns) after(n uint64, model string) (turn uint64, seen bool) {
	tu.mu.Lock()
	defer tu.mu.Unlock()
	for turn = n + 1; turn <= tu.last; turn++ {
		if tu.owner[turn] == model {
			return turn, true
		}
	}
	return 0, false
}

func (tu *turns) latest() uint64 {
	tu.mu.Lock()
	defer tu.mu.Unlock()
	return tu.last
}

// await blocks until turn n has begun.
func (tu *turns) await(t *testing.T, n uint64) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		tu.mu.Lock()
		last, wake := tu.last, tu.wake
		tu.mu.Unlock()
		if last >= n {
			return
		}
		select {
		case <-wake:
		case <-limit:
			t.Fatalf("no turn %d within a minute; the last one is %d", n, last)
		}
	}
}

// sequence returns who had turns from to to; "" is one that was not seen.
func (tu *turns) sequence(from, to uint64) []string {
	tu.mu.Lock()
	defer tu.mu.Unlock()
	var list []string
	for n := from; n <= to; n++ {
		list = append(list, tu.owner[n])
	}
	return list
}

// flood is clients of one model that ask again as soon as they have an answer.
type flood struct {
	most    atomic.Int64 // requests that they may send, together
	sent    atomic.Int64
	answers atomic.Int64
	wg      sync.WaitGroup
}

// startFlood runs clients until halt, or until they have sent all that they may.
func startFlood(t *testing.T, g *gatewayProcess, model string, clients int) *flood {
	f := &flood{}
	f.most.Store(math.MaxInt64)
	for client := range clients {
		f.wg.Go(func() {
			for i := 0; f.sent.Add(1) <= f.most.Load(); i++ {
				if err := g.streamed(model, floodTokens+10*(client+i)%40); err != nil {
					t.Errorf("flood of %s: %v", model, err)
					return
				}
				f.answers.Add(1)
			}
		})
	}
	t.Cleanup(f.halt) // also when the test has failed half way
	return f
}

// floodTokens is the length of a flood's shortest answers.
const floodTokens = 60

// limit lets the flood send so many more.
func (f *flood) limit(more int64) { f.most.Store(f.sent.Load() + more) }

// exhausted reports whether the flood has sent all that it may.
func (f *flood) exhausted() bool { return f.sent.Load() >= f.most.Load() }

// halt ends the flood and waits for its last answers.
func (f *flood) halt() {
	f.limit(0)
	f.wg.Wait()
}

// streamed reads one whole streamed answer of so many tokens.
func (g *gatewayProcess) streamed(model string, tokens int) error {
	body := chat(model, "Tell me a long story.", fmt.Sprintf(`,"stream":true,"ignore_eos":true,"max_tokens":%d`, tokens))
	resp, err := http.Post(g.url+chatPath, "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK || !strings.HasSuffix(string(text), "data: [DONE]\n\n"):
		return fmt.Errorf("status %d: %.200s", resp.StatusCode, text)
	}
	return nil
}

// TestFloodCannotStarveOthers floods one adapter, then all of them, on a single
// worker. What is counted are turns, which do not depend on the machine's speed.
func TestFloodCannotStarveOthers(t *testing.T) {
	t.Run("others are served between", floodedByOne)
	t.Run("without turns they starve", floodedWithoutTurns)
	t.Run("turns of all alternate", floodedByAll)
}

// floodClients keep four times the worker's slots busy.
const floodClients = 16

func floodedByOne(t *testing.T) {
	g := serve(t, realConfig(t, 1, 4)+"scheduler: {quantum: 200ms}\n")
	url := g.adminURL()
	tu := watchTurns(t, url)
	f := startFlood(t, g, "coding", floodClients)
	tu.await(t, 1)
	for i := range 6 {
		model := []string{"legal", "chat", "medical"}[i%3]
		before, err := adminState(url)
		if err != nil {
			t.Fatal(err)
		}
		// The flood has no end. Who waits for it is turned away with 429.
		if err := g.streamed(model, 200); err != nil {
			t.Fatal(err)
		}
		turn, seen := tu.after(before.Totals.Swaps, model)
		if !seen {
			t.Errorf("%s has had its answer, but no turn was seen", model)
			continue
		}
		// If the flood's turn had not begun when the state was read, it is one more.
		if ahead := turn - before.Totals.Swaps - 1; ahead > 1 {
			t.Errorf("%s waited for %d turns besides the one under way: %v", model, ahead,
				tu.sequence(before.Totals.Swaps, turn))
		}
	}
	f.halt()
	t.Logf("%d answers of the flood, turns: %v", f.answers.Load(), tu.sequence(1, tu.latest()))
}

// floodedWithoutTurns shows that it takes turns to save the others, and that the
// flood is one: with a quantum that never ends, one of them waits until the
// flood has sent all that it has.
func floodedWithoutTurns(t *testing.T) {
	g := serve(t, realConfig(t, 1, 4)+"scheduler: {quantum: 1h}\n")
	url := g.adminURL()
	tu := watchTurns(t, url)
	f := startFlood(t, g, "coding", 2*floodClients)
	tu.await(t, 1)
	answered := make(chan error, 1)
	go func() { answered <- g.streamed("legal", floodTokens) }()
	for waits := false; !waits; {
		s, err := adminState(url)
		if err != nil {
			t.Fatal(err)
		}
		waits = slices.ContainsFunc(s.Models, func(m adminapi.Model) bool { return m.Name == "legal" && m.Waiting == 1 })
		select {
		case err := <-answered:
			t.Fatalf("the other request did not wait: %v", err)
		default:
		}
	}
	f.limit(2 * floodClients)
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	if !f.exhausted() {
		t.Errorf("the other request did not wait for the end of the flood: %d of %d were sent", f.sent.Load(), f.most.Load())
	}
}

func floodedByAll(t *testing.T) {
	const rounds = 5
	models := []string{"coding", "chat", "medical", "legal"}
	g := serve(t, realConfig(t, 1, 4)+"scheduler: {quantum: 200ms}\n")
	tu := watchTurns(t, g.adminURL())
	var floods []*flood
	for _, model := range models {
		floods = append(floods, startFlood(t, g, model, 8))
	}
	// All floods have begun when each has had a turn.
	for _, model := range models {
		for n := uint64(1); ; n++ {
			tu.await(t, n)
			if _, seen := tu.after(0, model); seen {
				break
			}
		}
	}
	first := tu.latest()
	last := first + rounds*uint64(len(models))
	tu.await(t, last)
	list := tu.sequence(first, last)
	for _, f := range floods {
		f.limit(0)
	}
	for i, f := range floods {
		f.halt()
		t.Logf("%s: %d answers", models[i], f.answers.Load())
	}
	t.Logf("turns: %v", list)
	if unseen := len(list) - len(slices.DeleteFunc(slices.Clone(list),
		func(o string) bool { return o == "" })); unseen*4 > len(list) {
		t.Errorf("%d of %d turns were not seen: too little is known", unseen, len(list))
	}
	for _, model := range models {
		if err := alternates(list, model); err != nil {
			t.Error(err)
		}
	}
}

// TestAlternates holds the check itself to what it has to find.
func TestAlternates(t *testing.T) {
	t.Parallel()
	for text, right := range map[string]bool{
		"a b c a b c":       true,
		"a b c b c a":       true,
		"a b c b c b a":     false, // in between
		"b c b c b a":       false, // before the first
		"a b c b c b":       false, // after the last
		"a b c b ? c b c a": true,  // unknown: it may have been a's
	} {
		list := strings.Fields(text)
		for i, owner := range list {
			list[i] = strings.Trim(owner, "?")
		}
		if err := alternates(list, "a"); (err == nil) != right {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// alternates checks that between two turns of the model, and before its first
// and after its last one, no other has had more than two. A turn that was not
// seen may have been anybody's and ends what is known.
func alternates(list []string, model string) error {
	since := map[string]int{}
	for i, owner := range list {
		switch {
		case owner == model || owner == "":
			clear(since)
			continue
		default:
			since[owner]++
		}
		if since[owner] > 2 {
			return fmt.Errorf("%s had no turn while %s had %d, up to turn %d of %v", model, owner, since[owner], i, list)
		}
	}
	return nil
}
