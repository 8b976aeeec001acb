package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// list is a flag of numbers above 0, separated by commas.
type list []int

func (l *list) String() string { return join(*l) }

// Set replaces the list.
func (l *list) Set(text string) (err error) {
	*l, err = numbers(text, 1, "")
	return err
}

// orElse returns the list, or other if it was not given.
func (l list) orElse(other ...int) []int {
	if l == nil {
		return other
	}
	return l
}

// counts is a list in which 0 may stand.
type counts list

func (c *counts) String() string { return join(*c) }

// Set replaces the list.
func (c *counts) Set(text string) (err error) {
	*c, err = numbers(text, 0, "")
	return err
}

// auto is what the gateway decides itself.
const auto = "auto"

// workers is a list in which auto may stand, which is kept as 0.
type workers list

func (w *workers) String() string { return join(*w) }

// Set replaces the list.
func (w *workers) Set(text string) (err error) {
	*w, err = numbers(text, 1, auto)
	return err
}

// number returns the first number in the list, or other if there is none.
func (w workers) number(other int) int {
	if at := slices.IndexFunc(w, func(n int) bool { return n > 0 }); at >= 0 {
		return w[at]
	}
	return other
}

// words is a flag of words, separated by commas.
type words []string

func (w *words) String() string { return strings.Join(*w, ",") }

// Set replaces the list.
func (w *words) Set(text string) error {
	*w = strings.Split(text, ",")
	return nil
}

// check names the first word that is none of the known.
func (w words) check(flag string, known ...string) error {
	for _, word := range w {
		if !slices.Contains(known, word) {
			return fmt.Errorf("-%s %q: it is %s", flag, word, strings.Join(known, ", "))
		}
	}
	return nil
}

// numbers reads numbers that are not below least. The word zero, if it is not
// empty, stands for 0.
func numbers(text string, least int, zero string) ([]int, error) {
	var all []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		switch {
		case zero != "" && part == zero:
			n = 0
		case err != nil || n < least:
			return nil, fmt.Errorf("%q is not a number of %d or more", part, least)
		}
		all = append(all, n)
	}
	return all, nil
}

func join(numbers []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(numbers), "[]"), " ", ",")
}
