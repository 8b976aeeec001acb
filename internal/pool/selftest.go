package pool

import (
	"context"
	"fmt"
	"time"

	"github.com/loragate/loragate/internal/worker"
)

// The self-test's prompts share a long prefix: that is what llama-server reuses
// under the wrong adapter when it is not used with care.
const (
	testPrefix = "The following notes were taken during a conversation between two people who had known each other " +
		"for many years. They spoke about their work, their health, their contracts and the programs they wrote. "
	testTokens = 8
	// nearTie is the difference of two log-probabilities below which rounding
	// alone, as it comes with other batch sizes, may choose either token. On an
	// H100 through Vulkan the choice between two tokens that the CPU tells apart
	// by 0.27 depended on the batch; a wrong KV cache shows at any gap.
	nearTie = 0.5
)

var testEndings = []string{"Then one of them asked:", "After a while the other answered:"}

// SelfTest returns a test that proves, on the llama-server at hand, that the
// pool's way of using it gives every target its own answers: it swaps the base
// and two of the files that are loaded, which is all it takes, over prompts with one shared prefix, with slots that stay warm and
// slots that change hands, and compares with answers computed cold.
//
// It makes six short requests a target and fails when they take longer than
// limit. It leaves the worker with empty slots and the base in force.
func SelfTest(slots int, limit time.Duration) func(ctx context.Context, r Runner, files []File) error {
	return func(ctx context.Context, r Runner, files []File) error {
		targets := []Target{{Identity: Base}}
		for _, file := range files[:min(2, len(files))] {
			targets = append(targets, Target{Identity: Identity(file), Parts: []Part{{Path: string(file), Scale: 1}}})
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		// One slot less than targets, so that one changes hands and one stays warm.
		t := selfTest{runner: r, slots: min(slots, max(1, len(targets)-1)), all: slots, targets: targets}
		return t.run(ctx)
	}
}

type selfTest struct {
	runner  Runner
	slots   int // that it uses
	all     int // that there are
	targets []Target
}

func (t *selfTest) run(ctx context.Context) error {
	cold := make([][][]worker.Token, len(t.targets))
	for i := range t.targets {
		for e := range testEndings {
			answer, err := t.ask(ctx, i, e, true)
			if err != nil {
				return err
			}
			cold[i] = append(cold[i], answer)
		}
	}
	owner := make(map[int]int) // slot -> target, by what it was last used for
	for round := range 2 * len(testEndings) {
		for i := range t.targets {
			slot, e := i%t.slots, round%len(testEndings)
			if last, used := owner[slot]; !used || last != i {
				if err := t.runner.Erase(ctx, slot); err != nil {
					return err
				}
			}
			owner[slot] = i
			answer, err := t.ask(ctx, i, e, false)
			if err != nil {
				return err
			}
			if differ(cold[i][e], answer) {
				return fmt.Errorf("this llama-server answers wrongly after adapters were swapped: "+
					"%s got other tokens than from an empty cache; use another build of it, or set workers.self_test to false "+
					"if wrong answers do not matter", describe(t.targets[i]))
			}
		}
	}
	return t.clean(ctx)
}

// ask puts the target in force, as a swap does, and runs one request under it.
func (t *selfTest) ask(ctx context.Context, target, ending int, cold bool) ([]worker.Token, error) {
	parts := t.targets[target].Parts
	if err := t.runner.Apply(ctx, parts); err != nil {
		return nil, err
	}
	return t.runner.Complete(ctx, worker.Probe{
		Prompt: testPrefix + testEndings[ending], Tokens: testTokens,
		Slot: target % t.slots, Parts: parts, Cold: cold,
	})
}

func (t *selfTest) clean(ctx context.Context) error {
	for slot := range t.all {
		if err := t.runner.Erase(ctx, slot); err != nil {
			return err
		}
	}
	return t.runner.Apply(ctx, nil)
}

func describe(t Target) string {
	if len(t.Parts) == 0 {
		return "the base model"
	}
	return "the adapter " + t.Parts[0].Path
}

// differ reports whether two greedy answers differ in more than what rounding
// explains: from a near tie on, both ways are right.
func differ(want, got []worker.Token) bool {
	for i, w := range want {
		tie := len(w.Top) > 1 && w.Top[0].LogProb-w.Top[1].LogProb < nearTie
		switch {
		case i < len(got) && got[i].ID == w.ID:
		case tie:
			return false
		default:
			return true
		}
	}
	return len(got) > len(want)
}
