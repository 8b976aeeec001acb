package grammar

import "slices"

// place is where an element stands in all rules, behind one another.
type place int32

// machine steps through a grammar as llama-server does: it holds a stack for each way
// in which the text so far can be read. A stack is the places to go on from, the
// innermost on top; equal stacks have one number.
type machine struct {
	elements []element

	alternatives [][]place // where those of each rule begin

	frames []frame // by the number of the stack that they are on top of; 0 is the empty one
	known  map[frame]stack
	seen   []int // by the number of a stack: the last closure that it was met in
	round  int   // the number of the present closure
	work   int   // places looked at
}

// stack is a stack's number.
type stack int32

// frame is a place on top of another stack.
type frame struct {
	below stack
	at    place
}

func newMachine(rules []rule) *machine {
	m := &machine{frames: make([]frame, 1), known: map[frame]stack{}, seen: make([]int, 1)}
	for _, r := range rules {
		var alternatives []place
		for i := range r.elements {
			if i == 0 || r.elements[i-1].kind == end {
				alternatives = append(alternatives, place(len(m.elements)+i))
			}
		}
		m.alternatives = append(m.alternatives, alternatives)
		m.elements = append(m.elements, r.elements...)
	}
	return m
}

// push puts a place on a stack, unless it is an alternative's end: then nothing is
// left to do there.
func (m *machine) push(below stack, at place) stack {
	if m.elements[at].kind == end {
		return below
	}
	f := frame{below, at}
	s, ok := m.known[f]
	if !ok {
		m.frames, m.seen = append(m.frames, f), append(m.seen, 0)
		s = stack(len(m.frames) - 1)
		m.known[f] = s
	}
	return s
}

// forget lets go of all stacks.
func (m *machine) forget() {
	m.frames, m.seen = m.frames[:1], m.seen[:1]
	clear(m.known)
}

// first pushes each alternative of a rule.
func (m *machine) first(rule int, below stack, list []stack) []stack {
	for _, at := range m.alternatives[rule] {
		list = append(list, m.push(below, at))
	}
	return list
}

// closure returns the stacks that some lead to without a character: those with a
// character on top, and the empty one.
func (m *machine) closure(todo []stack) ([]stack, error) {
	var found []stack
	m.round++
	for met := 0; len(todo) > 0; {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if m.seen[s] == m.round {
			continue
		}
		m.seen[s] = m.round
		met++
		if m.work++; m.work > 2*maxWork {
			return nil, errTooMuch
		}
		if met > maxClosure || m.deep(s) {
			return nil, errRecursive
		}
		f := m.frames[s]
		if s == 0 || m.elements[f.at].kind == terminal {
			found = append(found, s)
			continue
		}
		todo = m.first(m.elements[f.at].rule, m.push(f.below, f.at+1), todo)
	}
	return found, nil
}

// deep reports whether a stack has more than maxFrames.
func (m *machine) deep(s stack) bool {
	for range maxFrames {
		if s == 0 {
			return false
		}
		s = m.frames[s].below
	}
	return true
}

// everywhere looks at the closure of every place that refers to a rule, whatever comes
// before it.
func (m *machine) everywhere() error {
	largest := 0
	for at := range m.elements {
		if m.elements[at].kind != reference {
			continue
		}
		found, err := m.closure([]stack{m.push(0, place(at))})
		if err != nil {
			return err
		}
		if len(found) > largest+largest/4 { // those that are hardly larger are much like it
			largest = len(found)
			if err := m.comparable(found); err != nil {
				return err
			}
		}
		m.forget()
	}
	return nil
}

// comparable bounds what llama-server compares for one character if all of the stacks go
// on with it: each that it comes to with all others. A rule that may be empty, repeated n
// times, makes that n³/2; of n = 300 that takes 0.9 s.
func (m *machine) comparable(stacks []stack) error {
	next := 0
	for _, s := range stacks {
		if s == 0 {
			continue
		}
		f := m.frames[s]
		found, err := m.closure([]stack{m.push(f.below, f.at+1)})
		if err != nil {
			return err
		}
		if next += len(found); next*len(stacks) > maxCompared {
			return errAmbiguous
		}
	}
	return nil
}

// walk goes through a text that can be read in many ways, from a rule on, until it has
// looked at so many places.
func (m *machine) walk(rule, budget int) error {
	defer m.forget()
	now, err := m.closure(m.first(rule, 0, nil))
	if err != nil {
		return err
	}
	paths := map[stack]int{}
	for _, s := range now {
		paths[s] = 1
	}
	total := 0
	limit := m.work + budget
	for length := 0; length < maxWalk && len(paths) > 0 && m.work < limit; length++ {
		var ways int
		if paths, ways, err = m.step(paths); err != nil {
			return err
		}
		if length < maxToken {
			total += ways
		}
		if total > maxPaths || len(paths) > maxStacks {
			return errAmbiguous
		}
	}
	return nil
}

// step reads the character that fits most paths. It returns where they lead, and how
// many they are.
func (m *machine) step(paths map[stack]int) (next map[stack]int, ways int, err error) {
	c := m.popular(paths)
	next = map[stack]int{}
	for s, n := range paths {
		f := m.frames[s]
		if s == 0 || !m.elements[f.at].class.has(c) {
			continue
		}
		found, err := m.closure([]stack{m.push(f.below, f.at+1)})
		if err != nil {
			return nil, 0, err
		}
		for _, to := range found {
			next[to] = min(next[to]+n, maxPaths+1)
			ways = min(ways+n, maxPaths+1)
		}
	}
	return next, ways, nil
}

// maxCandidates is how many characters are compared.
const maxCandidates = 16

// popular returns a character that many paths go on with.
func (m *machine) popular(paths map[stack]int) rune {
	var candidates []rune
	for s := range paths {
		if c, ok := m.sample(s); ok {
			candidates = append(candidates, c)
		}
	}
	slices.Sort(candidates) // the same for the same grammar
	candidates = slices.Compact(candidates)
	m.work += len(paths)
	best, most := rune(0), -1
	for i := 0; i < len(candidates); i += 1 + len(candidates)/maxCandidates {
		n := 0
		for s, ways := range paths {
			if s != 0 && m.elements[m.frames[s].at].class.has(candidates[i]) {
				n += ways
			}
		}
		if n >= most {
			best, most = candidates[i], n
		}
	}
	return best
}

// sample returns a character that a stack goes on with.
func (m *machine) sample(s stack) (rune, bool) {
	if s == 0 {
		return 0, false
	}
	c := m.elements[m.frames[s].at].class
	if !c.not {
		return c.ranges[0].from, true
	}
	for _, s := range c.ranges {
		if next := s.to + 1; c.has(next) {
			return next, true
		}
	}
	return 'a', c.has('a')
}

// leftmost refuses grammars in which llama-server's search for left recursion goes too
// deep or takes too long. It begins at each rule that it has not come through, but then
// visits a rule again from wherever that is first, and takes only those rules for
// possibly empty that have an empty alternative.
func (m *machine) leftmost() error {
	left := leftmost{m: m, calls: make([]int, len(m.alternatives)), depths: make([]int, len(m.alternatives))}
	total := 0
	for rule := range left.calls {
		if left.calls[rule] == 0 {
			left.search(rule)
			total += left.calls[rule]
		}
		if total > maxLeftCalls || left.depths[rule] > maxLeftDepth {
			return errTooMuch
		}
	}
	return nil
}

// leftmost counts the calls of that search from each rule on, and how deep they go.
type leftmost struct {
	m             *machine
	calls, depths []int
}

// underway marks a rule that the search is in.
const underway = -1

// search does without recursion, for a grammar may be deep: a rule is met first to have
// those below it searched, and once more to add them up.
func (l *leftmost) search(rule int) {
	for todo := []int{rule}; len(todo) > 0; {
		r := todo[len(todo)-1]
		switch l.calls[r] {
		case 0:
			l.calls[r] = underway
			for _, first := range l.m.leftOf(r) {
				if l.calls[first] == 0 {
					todo = append(todo, first)
				}
			}
			continue
		case underway:
			l.sum(r)
		}
		todo = todo[:len(todo)-1]
	}
}

// sum adds up what is below a rule. One that is still under way is left recursion, where
// llama-server ends with an error.
func (l *leftmost) sum(rule int) {
	count, depth := 1, 0
	for _, first := range l.m.leftOf(rule) {
		if l.calls[first] > 0 {
			count, depth = min(count+l.calls[first], maxLeftCalls+1), max(depth, l.depths[first])
		}
	}
	l.calls[rule], l.depths[rule] = count, depth+1
}

// leftOf returns the rules that alternatives of a rule begin with, as llama-server's
// search finds them.
func (m *machine) leftOf(rule int) (list []int) {
	for _, at := range m.alternatives[rule] {
		for ; m.elements[at].kind == reference; at++ {
			list = append(list, m.elements[at].rule)
			if !m.plainlyEmpty(m.elements[at].rule) {
				break
			}
		}
	}
	return list
}

// plainlyEmpty reports whether a rule has an empty alternative.
func (m *machine) plainlyEmpty(rule int) bool {
	return slices.ContainsFunc(m.alternatives[rule], func(at place) bool { return m.elements[at].kind == end })
}
