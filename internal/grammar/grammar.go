// Package grammar reads GBNF grammars and JSON schemas as llama-server compiles them,
// and refuses those that would cost a worker its life, its memory or its time.
// llama-server compiles them in its main loop, recursively, and walks through what it
// made for every token: while it does, no other request on that worker goes on.
package grammar

import (
	"errors"
	"fmt"
)

// Bounds of what a grammar becomes. Honest ones stay far below; what each costs was
// measured on llama-server build 11669 with one core.
const (
	// MaxDepth is of parentheses in a grammar or a pattern, and of brackets in a
	// schema. llama-server recurses once or more for each: 21,000 end it.
	MaxDepth = 128
	// maxRepeat is the most that a repetition may ask for at least; llama-server
	// refuses more, and takes more at most for no bound.
	maxRepeat = 2000
	// maxElements is of characters, references and ends in all rules once repetitions
	// are written out: 8 bytes each in llama-server, and looked at here one by one.
	maxElements = 100_000
	// maxLeftDepth and maxLeftCalls are of the recursion by which llama-server looks
	// for left recursion. It goes through a rule again wherever the rule is first:
	// 28 rules of `a ::= b | b` in a row take it 7 s.
	maxLeftDepth = 8000
	maxLeftCalls = 4_000_000
	// maxClosure is of the ways from one place in a grammar to the next character.
	// llama-server looks for them all, and does not end where there is no end.
	maxClosure = 20_000
	// maxFrames is how deep such a way may be: each place is copied with its frames.
	maxFrames = 512
	// maxPaths is of the ways through a grammar that one text of maxToken characters
	// can take, together; llama-server goes them all for each token of its vocabulary.
	maxPaths = 200_000
	maxToken = 16
	// maxStacks is in how many places of a grammar one text may be at once. llama-server
	// compares each with each: of 6000 words to choose from a token takes it 0.4 s.
	maxStacks = 3000
	// maxCompared is how many pairs of them it may have to compare for a character.
	maxCompared = maxStacks * maxStacks
	// maxWalk is the length of texts that are tried for that, from every rule.
	maxWalk = 256
	// maxWork bounds what each part of this may take here, in places looked at; a
	// million take 0.2 s. Rules have their share of it each.
	maxWork = 2_000_000
)

// errTooLarge and its like end in sentences that begin with the field's name.
var (
	errTooLarge  = fmt.Errorf("is too large: with its repetitions written out it has more than %d parts", maxElements)
	errTooDeep   = fmt.Errorf("is nested deeper than %d", MaxDepth)
	errRecursive = errors.New("can go on for ever without a character: a rule begins with itself")
	errTooMuch   = errors.New("is too large or too entangled to be compiled in reasonable time")
	errAmbiguous = errors.New("is too ambiguous: one text can be read in too many ways")
)

// Check returns why llama-server should not get the GBNF grammar, or nil. The error
// reads on from the grammar's name.
func Check(text string) error {
	if text == "" {
		return nil // as if there were none
	}
	p := parser{text: text, names: map[string]int{}}
	if err := p.parse(); err != nil {
		return err
	}
	root, ok := p.names["root"]
	if !ok {
		return errors.New(`has no rule "root"`)
	}
	return check(p.rules, root)
}

// check looks at rules that have been read.
func check(rules []rule, root int) error {
	m := newMachine(rules)
	if err := m.leftmost(); err != nil {
		return err
	}
	if err := m.everywhere(); err != nil {
		return err
	}
	m.work = 0
	if err := m.walk(root, maxWork/2); err != nil {
		return err
	}
	for number, r := range rules {
		if r.repeats {
			continue
		}
		if err := m.walk(number, maxWork/4/len(rules)); err != nil {
			return err
		}
	}
	return nil
}
