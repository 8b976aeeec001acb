package grammar

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

type kind uint8

const (
	end       kind = iota // of an alternative: another follows, or none
	reference             // to a rule
	terminal              // one character or token
)

// element is one part of an alternative.
type element struct {
	kind  kind
	rule  int   // that is referred to
	class class // that a character must be of
}

// class is a set of characters, and of tokens, which are written as numbers from
// firstToken on.
type class struct {
	ranges []span
	not    bool
}

type span struct{ from, to rune }

const (
	maxRune    = 0x10FFFF
	firstToken = maxRune + 1
	maxTokenID = 1<<31 - 1 - firstToken
)

func (c class) has(r rune) bool {
	if c.not && (r >= firstToken) != (c.ranges[0].from >= firstToken) {
		return false // "not this character" is no token, nor the other way round
	}
	for _, s := range c.ranges {
		if s.from <= r && r <= s.to {
			return !c.not
		}
	}
	return c.not
}

// rule is alternatives behind one another, each with its end.
type rule struct {
	elements []element
	repeats  bool // it was made for a repetition
}

// parser reads GBNF the way that llama-server's does: what this one takes for
// something else, a bound could be got around with.
type parser struct {
	text     string
	at       int
	names    map[string]int
	rules    []rule
	elements int // in all rules
	depth    int
}

var errEnds = errors.New("ends in the middle of something")

func (p *parser) parse() error {
	if strings.IndexByte(p.text, 0) >= 0 {
		return errors.New("has a zero in it, where llama-server would take it to end")
	}
	for p.space(true); p.at < len(p.text); p.space(true) {
		if err := p.rule(); err != nil {
			return err
		}
	}
	for name, number := range p.names {
		if p.rules[number].elements == nil {
			return fmt.Errorf("has no rule %q, which it uses", name)
		}
	}
	return nil
}

func (p *parser) wrong(want string) error {
	return fmt.Errorf("is no GBNF at byte %d: %s is expected", p.at, want)
}

// next is the next byte, 0 at the end.
func (p *parser) next() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

// space skips spaces and comments, and ends of lines where they mean nothing.
func (p *parser) space(lines bool) {
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '#':
			for p.at+1 < len(p.text) && p.text[p.at+1] != '\n' && p.text[p.at+1] != '\r' {
				p.at++
			}
		case c == ' ' || c == '\t' || lines && (c == '\n' || c == '\r'):
		default:
			return
		}
	}
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || isDigit(c)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// while takes the bytes that fit.
func (p *parser) while(fits func(byte) bool) string {
	from := p.at
	for p.at < len(p.text) && fits(p.text[p.at]) {
		p.at++
	}
	return p.text[from:p.at]
}

func (p *parser) rule() error {
	name := p.while(isWord)
	if name == "" {
		return p.wrong("a rule's name")
	}
	number := p.named(name)
	p.space(false)
	if !strings.HasPrefix(p.text[p.at:], "::=") {
		return p.wrong("::=")
	}
	p.at += len("::=")
	p.space(true)
	if err := p.alternatives(number, false); err != nil {
		return err
	}
	if c := p.next(); p.at < len(p.text) && c != '\n' && c != '\r' {
		return p.wrong("the end of the line")
	}
	return nil
}

// named returns the number of a rule that may not have been defined yet.
func (p *parser) named(name string) int {
	number, ok := p.names[name]
	if !ok {
		number = p.add(nil, false)
		p.names[name] = number
	}
	return number
}

// add makes a rule and returns its number.
func (p *parser) add(elements []element, repeats bool) int {
	p.rules = append(p.rules, rule{elements, repeats})
	return len(p.rules) - 1
}

// alternatives reads those of a rule, in parentheses or not. Of two rules with one
// name the last counts.
func (p *parser) alternatives(number int, nested bool) error {
	var list []element
	for {
		var err error
		if list, err = p.sequence(list, nested); err != nil {
			return err
		}
		list = append(list, element{kind: end})
		if p.elements++; p.elements > maxElements {
			return errTooLarge
		}
		if p.next() != '|' {
			p.rules[number].elements = list
			return nil
		}
		p.at++
		p.space(true)
	}
}

// sequence reads one alternative to the end of list.
func (p *parser) sequence(list []element, nested bool) ([]element, error) {
	symbol := len(list) // where the last one begins, which a repetition repeats
	for {
		var err error
		before := len(list)
		switch c := p.next(); {
		case c == '"':
			list, err = p.literal(list)
		case c == '[':
			list, err = p.characters(list)
		case c == '<' || c == '!':
			list, err = p.token(list)
		case isWord(c):
			list = append(list, element{kind: reference, rule: p.named(p.while(isWord))})
		case c == '(':
			list, err = p.group(list)
		case c == '.':
			p.at++
			list = append(list, element{kind: terminal, class: class{ranges: []span{{0, maxRune}}}})
		case c == '*' || c == '+' || c == '?' || c == '{':
			if list, err = p.repetition(list, symbol, nested); err != nil {
				return nil, err
			}
			continue
		default:
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		symbol = before
		if p.elements += len(list) - before; p.elements > maxElements {
			return nil, errTooLarge
		}
		p.space(nested)
	}
}

func (p *parser) literal(list []element) ([]element, error) {
	for p.at++; p.next() != '"'; {
		c, err := p.character()
		if err != nil {
			return nil, err
		}
		list = append(list, element{kind: terminal, class: class{ranges: []span{{c, c}}}})
	}
	p.at++
	return list, nil
}

func (p *parser) characters(list []element) ([]element, error) {
	var c class
	if p.at++; p.next() == '^' {
		c.not = true
		p.at++
	}
	for p.next() != ']' {
		from, err := p.character()
		if err != nil {
			return nil, err
		}
		to := from
		if rest := p.text[p.at:]; len(rest) > 1 && rest[0] == '-' && rest[1] != ']' {
			p.at++
			if to, err = p.character(); err != nil {
				return nil, err
			}
			if to < from { // llama-server takes it for one that no character is in
				return nil, fmt.Errorf("has a range from %q to %q, which ends before it begins", from, to)
			}
		}
		c.ranges = append(c.ranges, span{from, to})
		if p.elements += 2; p.elements > maxElements { // a class is as long as its parts
			return nil, errTooLarge
		}
	}
	p.at++
	if len(c.ranges) == 0 {
		return list, nil // llama-server takes it for nothing at all
	}
	return append(list, element{kind: terminal, class: c}), nil
}

// escapes are those of one character; others are written as hexadecimal numbers.
var escapes = map[byte]rune{'t': '\t', 'r': '\r', 'n': '\n', '\\': '\\', '"': '"', '[': '[', ']': ']'}

// hexDigits are how many an escape has.
var hexDigits = map[byte]int{'x': 2, 'u': 4, 'U': 8}

func (p *parser) character() (rune, error) {
	rest := p.text[p.at:]
	switch {
	case rest == "" || rest == `\`:
		return 0, errEnds
	case rest[0] != '\\':
		c, size := utf8.DecodeRuneInString(rest)
		p.at += size
		return c, nil
	}
	if c, ok := escapes[rest[1]]; ok {
		p.at += 2
		return c, nil
	}
	n := hexDigits[rest[1]]
	if n == 0 || len(rest) < 2+n {
		return 0, p.wrong(`an escape such as \n or \x41`)
	}
	value := int64(0)
	for _, digit := range []byte(rest[2 : 2+n]) {
		d := strings.IndexByte("0123456789abcdef", digit|0x20)
		if d < 0 {
			return 0, p.wrong("a hexadecimal digit")
		}
		value = value<<4 | int64(d)
	}
	p.at += 2 + n
	return rune(min(value, maxRune)), nil
}

// token reads <name>, <[number]>, or one of them behind an exclamation mark. The name
// of a token stands for a number that only llama-server knows.
func (p *parser) token(list []element) ([]element, error) {
	not := p.next() == '!'
	if not {
		p.at++
	}
	if p.next() != '<' {
		return nil, p.wrong("a token, as in <[5]>")
	}
	name, _, ok := strings.Cut(p.text[p.at:], ">")
	if !ok {
		return nil, errEnds
	}
	p.at += len(name) + 1
	id := rune(firstToken)
	for _, c := range name { // tokens of other names should be others
		id = firstToken + (id*31+c)&maxTokenID%maxRune
	}
	return append(list, element{kind: terminal, class: class{ranges: []span{{id, id}}, not: not}}), nil
}

// group reads what stands in parentheses, which becomes a rule of its own.
func (p *parser) group(list []element) ([]element, error) {
	if p.depth++; p.depth > MaxDepth {
		return nil, errTooDeep
	}
	p.at++
	p.space(true)
	number := p.add(nil, false)
	if err := p.alternatives(number, true); err != nil {
		return nil, err
	}
	if p.next() != ')' {
		return nil, p.wrong("a closing parenthesis")
	}
	p.at++
	p.depth--
	return append(list, element{kind: reference, rule: number}), nil
}
