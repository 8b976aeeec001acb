package lora

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Settings are what can be set of an adapter and of a composition alike. The configuration,
// the admin API, the command line, the state and the catalog have them in this one form; a
// new one is declared here, in Fields and in Check.
type Settings struct {
	// Description says for people, and for programs that choose a model, what the model is
	// good for: one line of at most 1,024 characters. Default "".
	Description string `json:"description" mapstructure:"description"`
	// Aliases are further names of it. Default none.
	Aliases []string `json:"aliases" mapstructure:"aliases"`
	// Weight is its share of the workers against others when there is not enough for all:
	// 0.1 to 10; 0 stands for 1, which the base has, too.
	Weight float64 `json:"weight" mapstructure:"weight"`
	// MaxConcurrency bounds how many of its requests run at once; 0 is no bound.
	MaxConcurrency int `json:"max_concurrency" mapstructure:"max_concurrency"`
}

// Fields returns where each of the settings is, by its name in JSON: a *string, *[]string,
// *float64 or *int. Whoever reads or writes them one by one does so through it.
func (s *Settings) Fields() map[string]any {
	return map[string]any{
		"description": &s.Description, "aliases": &s.Aliases,
		"weight": &s.Weight, "max_concurrency": &s.MaxConcurrency,
	}
}

const (
	leastWeight    = 0.1
	mostWeight     = 10.0
	maxDescription = 1024 // characters
)

// Check returns the first setting that cannot be, by its name in JSON, and what it must be
// in place of that; "" and "" if there is none. Whether an alias can be a name is not
// looked at.
func (s *Settings) Check() (field, must string) {
	switch {
	case s.Weight != 0 && WeightMust(s.Weight) != "":
		return "weight", WeightMust(s.Weight)
	case s.MaxConcurrency < 0 || s.MaxConcurrency > math.MaxInt32:
		return "max_concurrency", fmt.Sprintf("must be from 0 to %d; 0 is no bound", math.MaxInt32)
	case utf8.RuneCountInString(s.Description) > maxDescription:
		return "description", fmt.Sprintf("must have at most %d characters", maxDescription)
	case !utf8.ValidString(s.Description) || strings.ContainsFunc(s.Description, unicode.IsControl):
		return "description", "must be one line of text"
	}
	return "", ""
}

// WeightMust returns what a weight must be, or "" if it is that.
func WeightMust(weight float64) string {
	if weight >= leastWeight && weight <= mostWeight {
		return ""
	}
	return fmt.Sprintf("must be from %g to %g", leastWeight, mostWeight)
}

// WeightOrDefault returns Weight, or what 0 stands for.
func (s *Settings) WeightOrDefault() float64 {
	return cmp.Or(s.Weight, 1)
}
