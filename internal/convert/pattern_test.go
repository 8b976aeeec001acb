package convert

import (
	"strings"
	"testing"
)

// TestPatternsMatchAsPythons has what Python's re.match(rf"(.*\.)?({key})$", module) says.
func TestPatternsMatchAsPythons(t *testing.T) {
	const q0, q12 = "model.layers.0.self_attn.q_proj", "model.layers.12.self_attn.q_proj"
	for key, matches := range map[string][2]bool{
		"q_proj":                                    {true, true},
		"proj":                                      {false, false},
		"self_attn.q_proj":                          {true, true},
		q0:                                          {true, false},
		`^model\.layers\.0\.self_attn\.q_proj`:      {true, false},
		`^model\.layers\.0\.self_attn\.q_proj$`:     {true, false},
		`model\.layers\.0\.self_attn\.q_proj\Z`:     {true, false},
		`\Amodel.*q_proj`:                           {true, true},
		"layers.(0|1).*q_proj":                      {true, true}, // the dot takes a digit, too
		`layers\.(0|1)\..*q_proj`:                   {true, false},
		`layers\.\d\..*`:                            {true, false},
		`layers\.\d{1}\..*`:                         {true, false},
		`layers\.\d{2}\..*`:                         {false, true},
		`layers\.\d{,1}\..*`:                        {true, false}, // which Go takes for text
		`layers\.\d{2,}\..*`:                        {false, true},
		`layers\.[0-9]{1,2}\..*`:                    {true, true},
		`layers\.(?:1[0-9]|2\d)\..*`:                {false, true},
		`layers\.(?P<n>\d+)\.self_attn\.(q|k)_proj`: {true, true},
		`(?i:MODEL).*`:                              {true, true},
		`layers\.[^1]\..*`:                          {true, false},
		`layers\.[]0]\..*`:                          {true, false},
		`layers\.[[0]\..*`:                          {true, false},
		`.*_proj`:                                   {true, true},
		`[qk]_proj|v_proj`:                          {true, true},
		`x{}`:                                       {false, false},
		`q_proj{a}`:                                 {false, false},
		`q\_proj`:                                   {true, true},
		`\w+`:                                       {true, true},
		`)x|(`:                                      {false, false}, // it ends the group that PEFT puts it in
		``:                                          {false, false},
	} {
		left := maxWork
		p, err := compile(`(.*\.)?(`, key, `)`, maxPattern, &left)
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		for i, module := range []string{q0, q12} {
			if got := p.MatchString(module); got != matches[i] {
				t.Errorf("%s matches %s: %t", key, module, got)
			}
		}
	}
}

// TestPatternsAreRefusedByName where Go's expressions have no such thing, or would mean
// something else.
func TestPatternsAreRefusedByName(t *testing.T) {
	for key, want := range map[string]string{
		`(?=q)q_proj`:                     "it contains (?=q, which Go's expressions do not have",
		`(?!q)k_proj`:                     "it contains (?!q",
		`(?<=a)b`:                         "it contains (?<=",
		`(?<name>q)`:                      "it contains (?<n", // Go's own
		`(?P=name)`:                       "it contains (?P=",
		`(?>q)`:                           "it contains (?>q",
		`(?#note)q`:                       "it contains (?#n",
		`(?x: q)`:                         "it contains (?x:",
		`(?U:q+)`:                         "it contains (?U:",
		`(q)\1`:                           `it contains \1, which refers to a group before`,
		`\pLq`:                            `it contains \p`,
		`\Qa.b\E`:                         `it contains \Q`,
		`[[:alpha:]]_proj`:                "it contains [:",
		`[\d`:                             "it has no ] for the [ at its byte 1",
		`q\`:                              "it ends in a backslash",
		`q*+`:                             "invalid nested repetition operator",
		`q{2}+`:                           "invalid nested repetition operator",
		`*q`:                              "missing argument",
		`(q`:                              "missing closing )",
		`q{101}`:                          "with {101} it repeats a part of it more than 100 times",
		`((q{20}){6})`:                    "with {6} it repeats",
		`q{99999999999999999}`:            "it repeats a part",
		strings.Repeat("q", maxPattern+1): "it has 257 bytes, more than 256",
	} {
		left := maxWork
		if _, err := compile(`(.*\.)?(`, key, `)`, maxPattern, &left); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", key, err, want)
		}
	}
	left := maxWork
	for i := 0; ; i++ {
		if _, err := compile("(", "(q_proj){100}", ")", maxPattern, &left); err == nil {
			continue
		} else if !strings.Contains(err.Error(), "too large") || i > maxWork/1000 {
			t.Errorf("after %d: %v", i, err)
		}
		break
	}
}
