package grammar

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// object is a schema with n properties of a schema; the first so many are required.
func object(n, required int, schema string) string {
	var properties, names []string
	for i := range n {
		properties = append(properties, fmt.Sprintf(`"p%d":%s`, i, schema))
		if i < required {
			names = append(names, fmt.Sprintf(`"p%d"`, i))
		}
	}
	return fmt.Sprintf(`{"type":"object","properties":{%s},"required":[%s]}`, strings.Join(properties, ","),
		strings.Join(names, ","))
}

func pattern(text string) string {
	quoted, _ := json.Marshal(text)
	return `{"type":"string","pattern":` + string(quoted) + `}`
}

// chain is n definitions of which each has the next in it.
func chain(n int, format string) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"d%d":`+format, i, i+1))
	}
	return fmt.Sprintf(`{"$defs":{%s,"d%d":{"type":"null"}},"$ref":"#/$defs/d0"}`, strings.Join(list, ","), n)
}

// TestSchemas is TestGrammars for JSON schemas.
func TestSchemas(t *testing.T) {
	items := func(n int) string { return repeated(n, `{"items":`) + "{}" + repeated(n, "}") }
	types := func(n int) string {
		return repeated(n, `{"type":["array","array"],"items":`) + "{}" + repeated(n, "}")
	}
	for name, c := range map[string]struct{ schema, want string }{
		"empty":                    {`{}`, ""},
		"true":                     {`true`, ""},
		"no schema":                {`5`, ""},
		"100 deep":                 {items(100), ""},
		"200 deep":                 {items(200), "nested deeper"},
		"brackets in strings":      {`{"enum":["[[","{{",` + strings.TrimSuffix(repeated(200, `"[[",`), ",") + `]}`, ""},
		"an example in the middle": {`{"type":"object","description":"{\"a\": [{\"b\": ["}`, ""},
		"behind closing brackets":  {`{"description":"` + repeated(200, "]") + `","x":` + items(200) + `}`, "nested deeper"},
		"a long string":            {`{"type":"string","maxLength":1000000}`, ""},
		"at least as long":         {`{"type":"string","minLength":4000}`, "more than 2000"},
		"lengths crossed":          {`{"type":"string","minLength":40,"maxLength":5}`, "cannot be"},
		"sizes crossed":            {`{"type":"array","items":{},"minItems":40,"maxItems":5}`, "cannot be"},
		"a negative length":        {`{"type":"string","maxLength":-5}`, "whole number"},
		"a length of text":         {`{"type":"string","maxLength":"5"}`, "whole number"},
		"no items":                 {`{"type":"array","items":{"type":"integer"},"maxItems":0}`, ""},
		"one item":                 {`{"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":1}`, ""},
		"1900 items":               {`{"type":"array","items":{"type":"integer"},"minItems":1900,"maxItems":1900}`, ""},
		"arrays of arrays":         {`{"type":"array","minItems":1900,"items":{"type":"array","minItems":1900,"items":{"type":"array","minItems":1900,"items":{}}}}`, ""},
		"types that double":        {types(18), "reasonable time"},
		"some types":               {`{"type":["string","null"]}`, ""},
		"200 optional":             {object(200, 0, `{"type":"integer"}`), ""},
		"500 optional":             {object(500, 0, `{"type":"integer"}`), "more than 256"},
		"500 required":             {object(500, 500, `{"type":"integer"}`), ""},
		"optional, open": {strings.Replace(object(30, 3, `{"type":"string"}`), "{",
			`{"additionalProperties":true,`, 1), ""},
		"optional, typed": {strings.Replace(object(30, 3, `{"type":"string"}`), "{",
			`{"additionalProperties":{"type":"string"},`, 1), ""},
		"large":     {object(80, 10, `{"type":"string","maxLength":100}`), ""},
		"too large": {object(80, 10, `{"type":"string","maxLength":1900}`), "too large"},
		"itself":    {`{"$ref":"#"}`, "only references within"},
		"elsewhere": {`{"$ref":"https://127.0.0.1/x"}`, "only references within"},
		"nowhere":   {`{"$ref":"#/$defs/x"}`, "not there"},
		"a cycle":   {`{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}`, ""},
		"a cycle of parts": {`{"$defs":{"a":{"$ref":"#/$defs/a"}},"allOf":[{"$ref":"#/$defs/a"}]}`,
			"leads to itself"},
		"a tree":              {`{"$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","next"]}},"$ref":"#/$defs/n"}`, ""},
		"an array of itself":  {`{"$defs":{"n":{"type":"array","items":{"$ref":"#/$defs/n"}}},"$ref":"#/$defs/n"}`, ""},
		"objects that double": {`{"$defs":{"n":{"anyOf":[{"type":"object","properties":{"a":{"$ref":"#/$defs/n"}},"required":["a"]},{"type":"object","properties":{"a":{"$ref":"#/$defs/n"}},"required":["a"]}]}},"$ref":"#/$defs/n"}`, "ambiguous"},
		"a row of references": {chain(200, `{"type":"array","items":{"$ref":"#/$defs/d%d"}}`), ""},
		"references that double": {chain(30, `{"anyOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%[2]d"}]}`),
			"reasonable time"},
		"references without end":  {chain(300, `{"$ref":"#/$defs/d%d"}`), "references"},
		"parts":                   {`{"allOf":[{"properties":{"a":{}}},{"anyOf":[{"properties":{"b":{}}},{"properties":{"c":{}}}]}]}`, ""},
		"words in all parts":      {`{"allOf":[{"enum":["a","b"]},{"enum":["b"]}]}`, ""},
		"a pattern":               {pattern(`^[A-Z]{2}-\d{4}(-[a-z0-9]+)*$`), ""},
		"a date":                  {pattern(`^(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$`), ""},
		"a mail address":          {pattern(`^[\w.+-]+@[\w-]+\.[\w.-]+$`), ""},
		"parentheses, escaped":    {pattern(`^` + repeated(200, `\(`) + `$`), ""},
		"parentheses in a class":  {pattern(`^` + repeated(200, `[(]`) + `$`), ""},
		"a reversed range":        {pattern(`^x[z-a]$`), "ends before it begins"},
		"a hyphen behind a class": {pattern(`^[\w-.]+@[\w-\.]+[\d-a][a-\d][_-\.]$`), ""},
		"a hyphen at the end":     {pattern(`^[\w.-]+[\w-]+[-\w][a-z\-][\\-]$`), ""},
		"code points":             {pattern(`^[\u4e00-\u9fa5][\x41-\x5A][é-ñ]$`), ""},
		"integers":                {`{"type":"integer","minimum":1,"maximum":1}`, ""},
		"integers crossed":        {`{"type":"integer","minimum":5,"maximum":1}`, "cannot be"},
		"no integer between":      {`{"type":"integer","minimum":1.2,"maximum":1.8}`, "at least 2 and at most 1"},
		"exclusive limits":        {`{"type":"integer","exclusiveMinimum":10,"exclusiveMaximum":11}`, "cannot be"},
		"one exclusive limit":     {`{"type":"integer","exclusiveMinimum":10,"maximum":11}`, ""},
		"limits of another type":  {`{"type":"number","minimum":5,"maximum":1}`, ""},
		"a limit of text":         {`{"type":"integer","minimum":"5","maximum":1}`, ""},
		"a lookahead":             {pattern(`^(?=.*[a-z])(?=.*\d).{8,}$`), ""},
		"not anchored":            {pattern(`a{3,1}`), ""},
		"a deep pattern":          {pattern(`^` + nested(200, "a") + `$`), "nested deeper"},
		"deep behind an escape":   {pattern(`^` + repeated(200, `\)`) + nested(200, "a") + `$`), "nested deeper"},
		"counts crossed":          {pattern(`^a{3,1}$`), "cannot be"},
		"a huge count":            {pattern(`^a{99999999999}$`), "more than 2000"},
		"optional counts":         {pattern(`^((a?){999}){999}$`), "character"},
		"a pattern that explodes": {pattern(`^(a|a|aa)*$`), "ambiguous"},
	} {
		if !json.Valid([]byte(c.schema)) {
			t.Fatalf("%s: the test's schema is no JSON", name)
		}
		err := CheckSchema([]byte(c.schema))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// BenchmarkSchema is of a tool with ten properties.
func BenchmarkSchema(b *testing.B) {
	schema := []byte(object(10, 4, `{"type":"string","description":"What it is about, in a few words"}`))
	for b.Loop() {
		if err := CheckSchema(schema); err != nil {
			b.Fatal(err)
		}
	}
}
