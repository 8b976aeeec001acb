package grammar

import (
	"fmt"
	"strconv"
)

// noBound is the greatest number of a repetition that has none.
const noBound = -1

// repetition reads one and writes it out behind the symbol that it repeats.
func (p *parser) repetition(list []element, symbol int, nested bool) ([]element, error) {
	least, most := 0, noBound
	at := p.at
	c := p.next()
	p.at++
	p.space(nested)
	switch c {
	case '+':
		least = 1
	case '?':
		most = 1
	case '{':
		var err error
		if least, most, err = p.counts(nested); err != nil {
			return nil, err
		}
	}
	if symbol == len(list) {
		return nil, fmt.Errorf("is no GBNF at byte %d: there is nothing to repeat", at)
	}
	return p.repeat(list, symbol, least, most)
}

// counts reads what stands in braces: {m}, {m,} or {m,n}.
func (p *parser) counts(nested bool) (least, most int, err error) {
	if least, err = p.count(nested); err != nil {
		return 0, 0, err
	}
	most = least
	if p.next() == ',' {
		p.at++
		p.space(nested)
		most = noBound
		if isDigit(p.next()) {
			if most, err = p.count(nested); err != nil {
				return 0, 0, err
			}
		}
	}
	if p.next() != '}' {
		return 0, 0, p.wrong("a closing brace")
	}
	p.at++
	p.space(nested)
	return least, most, checkCounts(least, most)
}

// checkCounts refuses a repetition that llama-server would not end with, or refuse.
func checkCounts(least, most int) error {
	switch {
	case least > maxRepeat:
		return fmt.Errorf("repeats something %d times, more than %d", least, maxRepeat)
	case most != noBound && most < least:
		return fmt.Errorf("repeats something at least %d and at most %d times, which cannot be", least, most)
	}
	return nil
}

func (p *parser) count(nested bool) (int, error) {
	digits := p.while(isDigit)
	if digits == "" {
		return 0, p.wrong("a number")
	}
	p.space(nested)
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("repeats something %.30s times, more than %d", digits, maxRepeat)
	}
	return int(n), nil
}

// repeat writes a repetition out as llama-server does: what must be, once for each,
// and a chain of rules for what may be, each with the next in it.
func (p *parser) repeat(list []element, symbol, least, most int) ([]element, error) {
	repeated := append([]element(nil), list[symbol:]...)
	if most > maxRepeat {
		most = noBound // as llama-server has it
	}
	chain := 1
	if most != noBound {
		chain = most - least
	}
	cost := len(repeated)
	for _, e := range repeated {
		cost += len(e.class.ranges)
	}
	if p.elements += least*cost + chain*(cost+3); p.elements > maxElements {
		return nil, errTooLarge
	}
	list = list[:symbol]
	for range least {
		list = append(list, repeated...)
	}
	last := -1
	for i := range chain {
		alternatives := append([]element(nil), repeated...)
		number := p.add(nil, true)
		switch {
		case most == noBound:
			alternatives = append(alternatives, element{kind: reference, rule: number})
		case i > 0:
			alternatives = append(alternatives, element{kind: reference, rule: last})
		}
		p.rules[number].elements = append(alternatives, element{kind: end}, element{kind: end})
		last = number
	}
	if last >= 0 {
		list = append(list, element{kind: reference, rule: last})
	}
	return list, nil
}
