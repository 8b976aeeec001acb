package schema

import (
	"fmt"
	"math"
	"math/big"
	"strconv"

	"github.com/loragate/loragate/internal/rawjson"
)

// interval is between which numbers one is; nil is no bound.
type interval struct {
	least, most         *big.Rat
	overLeast, overMost bool // the bound itself is not in it
}

// rational reads a number. One that is too long, or too far from 1, is none.
func rational(raw []byte) *big.Rat {
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || len(raw) > 64 || math.Abs(f) > 1e30 || f != 0 && math.Abs(f) < 1e-30 ||
		f == 0 && len(raw) > 20 {
		return nil
	}
	r, _ := new(big.Rat).SetString(string(raw))
	return r
}

// bounds returns the interval that all schemas allow, and what numbers must be multiples of.
func (h *holder) bounds(all []*node) (in interval, steps []*big.Rat, err error) {
	for _, n := range all {
		for _, key := range kinds["number"] {
			raw := n.get(key)
			if raw == nil {
				continue
			}
			r := rational(raw)
			if r == nil || key == "multipleOf" && r.Sign() <= 0 {
				return in, nil, n.refuse(key, "must be a number from -1e30 to 1e30, and multipleOf above 0")
			}
			switch over := key[0] == 'e'; key {
			case "multipleOf":
				steps = append(steps, r)
			case "minimum", "exclusiveMinimum":
				if c := cmp(r, in.least); in.least == nil || c > 0 || c == 0 && over {
					in.least, in.overLeast = r, over
				}
			default:
				if c := cmp(r, in.most); in.most == nil || c < 0 || c == 0 && over {
					in.most, in.overMost = r, over
				}
			}
		}
	}
	return in, steps, nil
}

func cmp(a, b *big.Rat) int {
	if b == nil {
		return 0
	}
	return a.Cmp(b)
}

// firstStep and lastStep are the least and the greatest multiple of a step that are within.
func (in interval) firstStep(step *big.Rat) *big.Int {
	q := new(big.Rat).Quo(in.least, step)
	n := new(big.Int).Neg(new(big.Int).Div(new(big.Int).Neg(q.Num()), q.Denom())) // upwards
	if in.overLeast && q.IsInt() {
		n.Add(n, big.NewInt(1))
	}
	return n
}

func (in interval) lastStep(step *big.Rat) *big.Int {
	q := new(big.Rat).Quo(in.most, step)
	n := new(big.Int).Div(q.Num(), q.Denom()) // downwards
	if in.overMost && q.IsInt() {
		n.Sub(n, big.NewInt(1))
	}
	return n
}

// number is a schema for numbers. A grammar knows bounds of whole numbers only: others are
// listed, in steps that leave as many as may be.
func (h *holder) number(all []*node, whole bool) ([]byte, error) {
	in, steps, err := h.bounds(all)
	if err != nil {
		return nil, err
	}
	one := big.NewRat(1, 1)
	var step *big.Rat // of which numbers must be multiples
	for _, s := range steps {
		if step = common(step, s); step.Num().BitLen() > 62 || step.Denom().BitLen() > 62 {
			return nil, all[0].refuse("multipleOf", "is of numbers that have too large a multiple in common")
		}
	}
	if step != nil {
		h.changed = true
		if whole || step.IsInt() {
			whole, step = true, common(step, one)
			if step.Cmp(one) == 0 {
				step = nil
			}
		}
	}
	switch {
	case step != nil:
		return h.multiples(all[0], in, step, whole)
	case whole:
		return h.integer(all[0], in)
	case in.least == nil && in.most == nil:
		return h.text(members{{"type", []byte(`"number"`)}})
	}
	h.changed = true
	return h.decimals(all[0], in)
}

// common is the least common multiple of two steps.
func common(a, b *big.Rat) *big.Rat {
	if a == nil {
		return b
	}
	// lcm(p/q, r/s) = lcm(p, r) / gcd(q, s) for fractions in lowest terms.
	gcd := new(big.Int).GCD(nil, nil, a.Num(), b.Num())
	lcm := new(big.Int).Mul(new(big.Int).Div(a.Num(), gcd), b.Num())
	return new(big.Rat).SetFrac(lcm, new(big.Int).GCD(nil, nil, a.Denom(), b.Denom()))
}

// integer is a schema for whole numbers, with bounds that llama-server reads as they are meant.
func (h *holder) integer(n *node, in interval) ([]byte, error) {
	one := big.NewRat(1, 1)
	m := members{{"type", []byte(`"integer"`)}}
	var least, most *big.Int
	if in.least != nil {
		if least = in.firstStep(one); !least.IsInt64() {
			return nil, n.refuse("minimum", "is of a whole number beyond 64 bits")
		}
		m.add("minimum", []byte(least.String()))
	}
	if in.most != nil {
		if most = in.lastStep(one); !most.IsInt64() {
			return nil, n.refuse("maximum", "is of a whole number beyond 64 bits")
		}
		m.add("maximum", []byte(most.String()))
	}
	if least == nil && most != nil && most.Sign() < 0 { // without a bound llama-server writes zeros before them
		least = big.NewInt(-999_999_999_999_999)
		if least.Cmp(most) > 0 {
			return nil, n.refuse("maximum", "must be at least %s", least)
		}
		m.add("minimum", []byte(least.String()))
		h.changed = true
	}
	if least != nil && most != nil && least.Cmp(most) > 0 {
		return nil, n.never("no whole number is between its bounds")
	}
	for _, key := range []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"} {
		if raw := n.get(key); raw != nil {
			if _, err := strconv.ParseInt(string(raw), 10, 64); err != nil || key[0] == 'e' {
				h.changed = true
			}
		}
	}
	return h.text(m)
}

// multiples lists those that are within.
func (h *holder) multiples(n *node, in interval, step *big.Rat, whole bool) ([]byte, error) {
	if in.least == nil || in.most == nil {
		return nil, n.refuse("multipleOf", "can be held only between bounds: give a minimum and a maximum with at most %d "+
			"multiples between them", maxListed)
	}
	values, ok := in.list(step)
	if !ok {
		return nil, n.refuse("multipleOf", "leaves more than %d numbers between minimum and maximum, which is as many as "+
			"can be listed", maxListed)
	}
	if len(values) == 0 {
		return nil, n.never("no number is between its bounds")
	}
	return h.text(members{{"enum", rawjson.List(values)}})
}

// list returns the multiples of a step, if they are not too many.
func (in interval) list(step *big.Rat) (values [][]byte, ok bool) {
	first, last := in.firstStep(step), in.lastStep(step)
	if room := new(big.Int).Sub(last, first); room.Cmp(big.NewInt(maxListed)) >= 0 {
		return nil, false
	}
	places, exact := step.FloatPrec()
	if !exact {
		return nil, false
	}
	for i := first; i.Cmp(last) <= 0; i = new(big.Int).Add(i, big.NewInt(1)) {
		value := new(big.Rat).Mul(new(big.Rat).SetInt(i), step)
		values = append(values, []byte(value.FloatString(places)))
	}
	return values, true
}

// decimals is a schema for numbers with bounds: between two those with as many places as can be
// listed, from one on these and whole numbers behind them.
func (h *holder) decimals(n *node, in interval) ([]byte, error) {
	near := in
	reach := big.NewRat(10, 1)
	if near.least == nil {
		near.least = new(big.Rat).Sub(in.most, reach)
	}
	if near.most == nil {
		near.most = new(big.Rat).Add(in.least, reach)
	}
	var listed [][]byte
	for _, places := range []string{"1/100", "1/10", "1", "10", "100", "1000", "10000", "100000", "1000000"} {
		step, _ := new(big.Rat).SetString(places)
		if values, ok := near.list(step); ok {
			listed = values
			break
		}
	}
	if len(listed) == 0 { // bounds that are as near to each other as no two decimals
		for places := int64(1000); places <= 1e9 && len(listed) == 0; places *= 10 {
			listed, _ = near.list(big.NewRat(1, places))
		}
	}
	var made [][]byte
	if len(listed) > 0 {
		text, err := h.text(members{{"enum", rawjson.List(listed)}})
		if err != nil {
			return nil, err
		}
		made = append(made, text)
	}
	if text, err := h.integer(n, in); err == nil {
		made = append(made, text)
	} else if !impossible(err) {
		return nil, err
	}
	if len(made) == 0 {
		return nil, n.refuse("minimum", "and maximum leave no number of at most nine places: %s", in)
	}
	return h.either(n, made)
}

func (in interval) String() string {
	show := func(r *big.Rat) string {
		if r == nil {
			return "any"
		}
		return r.FloatString(3)
	}
	return fmt.Sprintf("from %s to %s", show(in.least), show(in.most))
}
