package lora

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for field, list := range map[string][]Settings{
		"": {
			{}, {Weight: .1}, {Weight: 10}, {MaxConcurrency: math.MaxInt32}, {Description: "Für Ärzte: <fragt nach>"},
			{Description: strings.Repeat("ä", maxDescription)}, {Aliases: []string{"a", "a"}},
		},
		"weight":          {{Weight: .09}, {Weight: 10.1}, {Weight: -1}, {Weight: math.NaN()}, {Weight: math.Inf(1)}},
		"max_concurrency": {{MaxConcurrency: -1}, {MaxConcurrency: math.MaxInt32 + 1}},
		"description": {
			{Description: strings.Repeat("ä", maxDescription+1)}, {Description: "a\nb"}, {Description: "\x1b[2J"},
			{Description: "\xff"},
		},
	} {
		for _, s := range list {
			if got, must := s.Check(); got != field || (must == "") != (field == "") {
				t.Errorf("%.40v: %q %q, want %q", s, got, must, field)
			}
		}
	}
}

// TestFieldsAreAll holds Fields to the declaration: a setting that is not in it could not
// be set through the admin API.
func TestFieldsAreAll(t *testing.T) {
	var s Settings
	fields := s.Fields()
	v := reflect.ValueOf(&s).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("json")
		if fields[name] != v.Field(i).Addr().Interface() {
			t.Errorf("%s is not in Fields", name)
		}
		if other := v.Type().Field(i).Tag.Get("mapstructure"); other != name {
			t.Errorf("%s is %q in the configuration", name, other)
		}
	}
	if len(fields) != v.NumField() {
		t.Errorf("%d fields of %d", len(fields), v.NumField())
	}
	text, err := json.Marshal(s)
	if err != nil || !strings.Contains(string(text), `"max_concurrency":0`) {
		t.Errorf("%s, %v", text, err)
	}
}
