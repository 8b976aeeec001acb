package load

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Lengths says how long answers are: a number of tokens from Min to Max, all
// equally likely.
type Lengths struct{ Min, Max int }

// TraceOptions says what a trace is like. Equal options give equal traces.
type TraceOptions struct {
	Seed     uint64
	Requests int
	Adapters int  // that requests are spread over
	Single   bool // all requests go to the first adapter
	Chars    int  // about how long a prompt is
	Answers  Lengths
}

// Trace returns requests whose adapters follow Zipf's law with exponent 1: the
// second is asked for half as often as the first, the third a third as often.
// Half of the prompts begin with one of a few shared prefixes.
func Trace(o TraceOptions) []Request {
	rng := rand.New(rand.NewPCG(o.Seed, 0x6c6f7261))
	weights := zipf(o.Adapters)
	trace := make([]Request, o.Requests)
	for i := range trace {
		// Drawn even when it is not used, so that both kinds of traffic have
		// the same prompts.
		adapter := pick(weights, rng.Float64())
		if o.Single {
			adapter = 0
		}
		trace[i] = Request{
			Adapter:   adapter,
			Messages:  []Message{{Role: "user", Content: Prompt(rng, o.Chars)}},
			MaxTokens: o.Answers.Min + rng.IntN(o.Answers.Max-o.Answers.Min+1),
		}
	}
	return trace
}

// zipf returns the cumulative probabilities of n ranks.
func zipf(n int) []float64 {
	sums, sum := make([]float64, n), 0.0
	for i := range sums {
		sum += 1 / float64(i+1)
		sums[i] = sum
	}
	for i := range sums {
		sums[i] /= sum
	}
	return sums
}

// pick returns the first index whose cumulative probability exceeds u in [0,1).
func pick(cumulative []float64, u float64) int {
	for i, c := range cumulative {
		if u < c {
			return i
		}
	}
	return len(cumulative) - 1
}

var (
	prefixes = []string{
		"You are asked by a colleague who has little time. Answer in full sentences and leave nothing important out. ",
		"Please read the following notes with care before you answer; they were taken during a long conversation. ",
		"I have asked several people about this and everyone told me something else, so I would like to hear your view. ",
	}
	subjects = []string{"a teacher", "my neighbour", "the committee", "an engineer", "the doctor", "our lawyer",
		"a student", "the gardener", "my sister", "an old friend", "the pilot", "a farmer"}
	verbs = []string{"asked about", "wrote to me about", "could not explain", "has questions on", "changed the plan for",
		"spent a week on", "made notes on", "disagrees about", "wants a summary of", "forgot to mention"}
	objects = []string{"the weather in March", "a contract for a house", "sorting a list of numbers",
		"pain in the left knee",
		"the history of bread", "machine learning", "repairing a bicycle", "the price of copper", "a trip to the coast",
		"growing tomatoes", "the rules of chess", "a noisy engine", "learning to swim", "two kinds of insurance"}
	endings = []string{"What should I do first?", "How does that work?", "Can you explain it in simple terms?",
		"What would you answer?", "Which of it matters most?", "Where do I begin?"}
)

// Prompt returns a text of about so many characters that ends in a question,
// one in two with a shared prefix.
func Prompt(rng *rand.Rand, chars int) string {
	var b strings.Builder
	if rng.IntN(2) == 0 {
		b.WriteString(prefixes[rng.IntN(len(prefixes))])
	}
	ending := choose(rng, endings)
	for first := true; first || b.Len()+len(ending) < chars; first = false {
		fmt.Fprintf(&b, "On day %d %s %s %s. ", 1+rng.IntN(365), choose(rng, subjects), choose(rng, verbs),
			choose(rng, objects))
	}
	b.WriteString(ending)
	return b.String()
}

func choose(rng *rand.Rand, words []string) string { return words[rng.IntN(len(words))] }
