package schema

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

var escapedRune = regexp.MustCompile(`(\\\\)|\\u\{([0-9A-Fa-f]{1,6})\}|\\u([0-9A-Fa-f]{4})|\\c([A-Za-z])`)

// inGo puts an expression of JavaScript's, which schemas have, into Go's words.
func inGo(expression string) string {
	return escapedRune.ReplaceAllStringFunc(expression, func(s string) string {
		switch m := escapedRune.FindStringSubmatch(s); {
		case m[1] != "":
			return s
		case m[4] != "":
			return fmt.Sprintf(`\x%02X`, m[4][0]&31)
		default:
			return `\x{` + m[2] + m[3] + `}`
		}
	})
}

// patterns writes regular expressions in the few words that llama-server has for them. It
// takes each character for one of the JSON text, where a quote ends a string: so what JSON
// escapes is written escaped, and each character as a class.
type patterns struct {
	out   strings.Builder
	wrong string // what cannot be written
}

// any is of the characters that stand where an expression is not anchored.
func anyText() *syntax.Regexp {
	return &syntax.Regexp{Op: syntax.OpStar, Sub: []*syntax.Regexp{{Op: syntax.OpAnyChar}}}
}

// anchored returns an expression for the whole text: what is not anchored may be anywhere.
func (p *patterns) anchored(re *syntax.Regexp) *syntax.Regexp {
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	if re.Op == syntax.OpAlternate {
		all := *re
		all.Sub = slices.Clone(re.Sub)
		for i, sub := range all.Sub {
			all.Sub[i] = p.anchored(sub)
		}
		return &all
	}
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = slices.Clone(re.Sub)
	}
	begins, ends := false, false
	for len(parts) > 0 && parts[0].Op == syntax.OpBeginText {
		parts, begins = parts[1:], true
	}
	for len(parts) > 0 && parts[len(parts)-1].Op == syntax.OpEndText {
		parts, ends = parts[:len(parts)-1], true
	}
	if !begins {
		parts = append([]*syntax.Regexp{anyText()}, parts...)
	}
	if !ends {
		parts = append(parts, anyText())
	}
	return &syntax.Regexp{Op: syntax.OpConcat, Sub: parts}
}

// span is how long the texts of an expression are.
func span(re *syntax.Regexp) (least, most int) {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune), len(re.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1, 1
	case syntax.OpCapture:
		return span(re.Sub[0])
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		from, to := times(re)
		least, most = span(re.Sub[0])
		return least * from, product(most, to)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			a, b := span(sub)
			least, most = least+a, sum(most, b)
		}
	case syntax.OpAlternate:
		least = noBound
		for _, sub := range re.Sub {
			a, b := span(sub)
			least, most = min(least, a), max(most, b)
		}
	}
	return least, most
}

func sum(a, b int) int {
	if a == noBound || b == noBound {
		return noBound
	}
	return a + b
}

func product(a, b int) int {
	if a == 0 || b == 0 {
		return 0
	}
	if a == noBound || b == noBound || a > noBound/b {
		return noBound
	}
	return a * b
}

// times is how often a repetition may repeat.
func times(re *syntax.Regexp) (from, to int) {
	switch re.Op {
	case syntax.OpStar:
		return 0, noBound
	case syntax.OpPlus:
		return 1, noBound
	case syntax.OpQuest:
		return 0, 1
	}
	if re.Max < 0 {
		return re.Min, noBound
	}
	return re.Min, re.Max
}

// fit narrows an expression to texts of a length, where that can be done by repeating
// something more or less often; nil is that it cannot.
func (p *patterns) fit(re *syntax.Regexp, least, most int) *syntax.Regexp {
	from, to := span(re)
	switch {
	case from >= least && to <= most:
		return re
	case from > most || to < least:
		return nil
	}
	switch re.Op {
	case syntax.OpCapture:
		return p.fit(re.Sub[0], least, most)
	case syntax.OpAlternate:
		all := *re
		all.Sub = nil
		for _, sub := range re.Sub {
			if fits := p.fit(sub, least, most); fits != nil {
				all.Sub = append(all.Sub, fits)
			}
		}
		if len(all.Sub) == 0 {
			return nil
		}
		return &all
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		return p.repeatWithin(re, least, most)
	case syntax.OpConcat:
		return p.fitParts(re, from, least, most)
	}
	return nil
}

// repeatWithin narrows a repetition to a length: it repeats as often as fits, or shorter texts.
func (p *patterns) repeatWithin(re *syntax.Regexp, least, most int) *syntax.Regexp {
	from, to := times(re)
	a, b := span(re.Sub[0])
	if a == 0 {
		return nil
	}
	if fewest := max(from, (least+a-1)/a); fewest <= maxRepeat && b != noBound {
		often := to
		if most != noBound {
			often = min(to, most/b)
		}
		if fewest <= often && (often > 0 || least == 0) {
			return repeated(re.Sub[0], fewest, often)
		}
	}
	if most == noBound {
		return nil
	}
	for often := min(to, most/a, fewShort); often >= max(from, 1); often-- {
		shortest, fewest := a, max(from, (least+a-1)/a)
		if fewest > often {
			shortest, fewest = (least+often-1)/often, often
		}
		if sub := p.fit(re.Sub[0], shortest, most/often); sub != nil {
			return repeated(sub, fewest, often)
		}
	}
	if from == 0 && least == 0 {
		return repeated(re.Sub[0], 0, 0)
	}
	return nil
}

// fewShort is how often something is repeated at most that is made shorter for that.
const fewShort = 3

func repeated(sub *syntax.Regexp, from, to int) *syntax.Regexp {
	return &syntax.Regexp{Op: syntax.OpRepeat, Sub: []*syntax.Regexp{sub}, Min: from, Max: bounded(to)}
}

func bounded(n int) int {
	if n == noBound {
		return -1
	}
	return n
}

// fitParts is fit for parts that follow one another: what is left of the length when each has
// its least goes to the parts in turn, those that may be longest first.
func (p *patterns) fitParts(re *syntax.Regexp, from, least, most int) *syntax.Regexp {
	all := *re
	all.Sub = slices.Clone(re.Sub)
	var loose []int // parts whose length varies
	for i, sub := range all.Sub {
		if a, b := span(sub); a != b {
			loose = append(loose, i)
		}
	}
	slices.SortStableFunc(loose, func(x, y int) int {
		_, a := span(all.Sub[x])
		_, b := span(all.Sub[y])
		return a/2 - b/2 // the shortest first: what they leave is for the others
	})
	room, need := noBound, max(least-from, 0)
	if most != noBound {
		room = most - from
	}
	for n, i := range loose {
		a, b := span(all.Sub[i])
		last := n == len(loose)-1
		longest, shortest := b, a
		if room != noBound {
			share := room
			if !last {
				share = room / (len(loose) - n)
			}
			longest = min(b, a+share)
		}
		if last {
			shortest = a + need
		}
		part := p.fit(all.Sub[i], shortest, longest)
		if part == nil {
			return nil
		}
		all.Sub[i] = part
		c, d := span(part)
		if room != noBound {
			room -= d - a
		}
		need = max(need-(c-a), 0)
	}
	if a, b := span(&all); a < least || b > most {
		return nil
	}
	return &all
}

// write writes an expression.
func (p *patterns) write(re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpEmptyMatch:
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			class := []rune{r, r}
			if re.Flags&syntax.FoldCase != 0 {
				for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
					class = append(class, f, f)
				}
			}
			p.class(class)
		}
	case syntax.OpCharClass:
		p.class(re.Rune)
	case syntax.OpAnyChar:
		p.class([]rune{0, unicode.MaxRune})
	case syntax.OpAnyCharNotNL:
		p.class([]rune{0, '\n' - 1, '\n' + 1, '\r' - 1, '\r' + 1, 0x2027, 0x202A, unicode.MaxRune})
	case syntax.OpCapture:
		p.group(re.Sub)
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		p.repeat(re)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if sub.Op == syntax.OpAlternate {
				p.group([]*syntax.Regexp{sub})
			} else {
				p.write(sub)
			}
		}
	case syntax.OpAlternate:
		for i, sub := range re.Sub {
			if i > 0 {
				p.out.WriteByte('|')
			}
			p.write(sub)
		}
	case syntax.OpNoMatch:
		p.wrong = "a class without characters"
	default:
		p.wrong = "an anchor or a boundary inside"
	}
}

func (p *patterns) group(all []*syntax.Regexp) {
	p.out.WriteByte('(')
	for _, sub := range all {
		p.write(sub)
	}
	p.out.WriteByte(')')
}

func (p *patterns) repeat(re *syntax.Regexp) {
	from, to := times(re)
	if to == 0 {
		return
	}
	if from > maxRepeat {
		p.wrong = fmt.Sprintf("a repetition of more than %d", maxRepeat)
	}
	if a, _ := span(re.Sub[0]); a == 0 { // what may be nothing would be repeated without end
		switch re.Op {
		case syntax.OpQuest:
			p.group(re.Sub)
			return
		default:
			if inner := nonEmpty(re.Sub[0]); inner != nil {
				re = &syntax.Regexp{Op: syntax.OpRepeat, Sub: []*syntax.Regexp{inner}, Min: 0, Max: bounded(to)}
				from = 0
			} else {
				p.wrong = "a repetition of what may be empty"
				return
			}
		}
	}
	p.group(re.Sub)
	switch {
	case from == 0 && to == noBound:
		p.out.WriteByte('*')
	case from == 1 && to == noBound:
		p.out.WriteByte('+')
	case from == 0 && to == 1:
		p.out.WriteByte('?')
	case to == noBound:
		fmt.Fprintf(&p.out, "{%d,}", from)
	default:
		fmt.Fprintf(&p.out, "{%d,%d}", from, to)
	}
}

// nonEmpty is what an expression says at least once, for those that say one thing or nothing.
func nonEmpty(re *syntax.Regexp) *syntax.Regexp {
	switch re.Op {
	case syntax.OpCapture, syntax.OpQuest, syntax.OpStar:
		if a, _ := span(re.Sub[0]); a > 0 {
			return re.Sub[0]
		}
		return nonEmpty(re.Sub[0])
	}
	return nil
}

// inJSON is how JSON escapes characters that cannot stand for themselves in a string.
var inJSON = map[rune]string{'"': `"`, '\\': `\\`, '\n': "n", '\r': "r", '\t': "t", '\b': "b", '\f': "f"}

// class writes one character of some, given as ranges.
func (p *patterns) class(ranges []rune) {
	var plain strings.Builder
	var escaped []string
	add := func(from, to rune) {
		if from > to {
			return
		}
		plain.WriteString(hex(from))
		if to > from {
			plain.WriteString("-" + hex(to))
		}
	}
	for i := 0; i+1 < len(ranges); i += 2 {
		from, to := ranges[i], ranges[i+1]
		for _, r := range []rune{'"', '\\', '\n', '\r', '\t', '\b', '\f'} {
			if from <= r && r <= to {
				escaped = append(escaped, `[\x5C][`+classRune(inJSON[r])+`]`)
			}
		}
		for _, span := range [][2]rune{
			{' ', '!'}, {'#', '['}, {']', '~'}, {0x80, 0xD7FF}, {0xE000, 0xFFFD}, {0x10000, unicode.MaxRune},
		} {
			add(max(from, span[0]), min(to, span[1]))
		}
	}
	switch {
	case plain.Len() == 0 && len(escaped) == 0:
		p.wrong = "a control character"
	case len(escaped) == 0:
		p.out.WriteString("[" + plain.String() + "]")
	case plain.Len() == 0 && len(escaped) == 1:
		p.out.WriteString(escaped[0])
	default:
		if plain.Len() > 0 {
			escaped = append([]string{"[" + plain.String() + "]"}, escaped...)
		}
		p.out.WriteString("(" + strings.Join(escaped, "|") + ")")
	}
}

func classRune(s string) string {
	r, _ := utf8.DecodeLastRuneInString(s)
	return hex(r)
}

// hex writes a character for a class: letters and digits as they are.
func hex(r rune) string {
	switch {
	case r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r)):
		return string(r)
	case r <= 0xFF:
		return fmt.Sprintf(`\x%02X`, r)
	case r <= 0xFFFF:
		return fmt.Sprintf(`\u%04X`, r)
	}
	return fmt.Sprintf(`\U%08X`, r)
}
