package grammar

import (
	"fmt"
	"strings"
	"testing"
)

// row joins n lines of a format with the numbers i and i+1.
func row(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"%[3]s", i, i+1, "\n")
	}
	return b.String()
}

func repeated(n int, text string) string { return strings.Repeat(text, n) }

func nested(n int, inner string) string { return repeated(n, "(") + inner + repeated(n, ")") }

// TestGrammars: what would hurt a llama-server is refused with a word that says why, and
// honest grammars pass, however much they look like the others.
func TestGrammars(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing":         {"", ""},
		"a word":          {`root ::= "a"`, ""},
		"100 parentheses": {"root ::= " + nested(100, `"a"`), ""},
		"200 parentheses": {"root ::= " + nested(200, `"a"`), "nested deeper"},
		"behind a comment": {"root ::= \"a\" # " + repeated(21000, ")") + "\nx ::= " + nested(21000, `"a"`),
			"nested deeper"},
		"behind a string":         {`root ::= "` + repeated(21000, ")") + `" ` + nested(21000, `"a"`), "nested deeper"},
		"behind a class":          {`root ::= [` + repeated(21000, ")") + `] ` + nested(21000, `"a"`), "nested deeper"},
		"behind an escape":        {`root ::= "\\" ` + nested(200, `"a"`), "nested deeper"},
		"parentheses in strings":  {"root ::= " + repeated(130, `":(" `), ""},
		"parentheses in classes":  {"root ::= " + repeated(130, `[(] `), ""},
		"a quote in a class":      {"root ::= " + repeated(130, `["] "(" `), ""},
		"parentheses in comments": {"root ::= \"a\"\n" + repeated(200, "# :(\n"), ""},
		"m above n":               {`root ::= "a"{3,1}`, "cannot be"},
		"m above n, spaced":       {"root ::= (\"a\"{ 3 , # x\n 1 })", "cannot be"},
		"{0,0}":                   {`root ::= "a"{0,0} "b"`, ""},
		"{2000}":                  {`root ::= "a"{2000}`, ""},
		"{5000}":                  {`root ::= "a"{5000}`, "more than 2000"},
		"{0,5000}":                {`root ::= "a"{0,5000}`, ""},
		"a count without end":     {`root ::= "a"{99999999999999999999999999}`, "more than 2000"},
		"nested counts":           {`root ::= ((("a"{1000}){1000}){1000}){1000}`, ""}, // each is a rule of its own
		"a repeated text":         {`root ::= "` + repeated(30000, "a") + `"{1999}`, "too large"},
		"nested optional counts":  {`root ::= (("a"?){999}){999}`, "character"},
		"nested stars":            {`root ::= (("a"*)*)*`, ""},
		"optional in a star":      {`root ::= ("a"?)*`, ""},
		"16 optional":             {"root ::= " + repeated(16, `"a"? `) + `"b"`, ""},
		"200 optional":            {"root ::= " + repeated(200, `"a"? `) + `"b"`, "ambiguous"},
		"1500 optional":           {"root ::= " + repeated(1500, `"a"? `) + `"b"`, "too"},
		"empty, repeated twice":   {`root ::= "x" | "y" c{6,37}{5,18} | "z"` + "\nc ::= d\nd ::= \"b\"?", "ambiguous"},
		"empty, 400 times":        {`root ::= "x" "z" "z" | "y" c{1,400}` + "\nc ::= \"b\"?", "ambiguous"},
		"empty, 8 times":          {`root ::= "x" | "y" c{1,8} "q"` + "\nc ::= [a-z]?", ""},
		"behind a prefix":         {`root ::= "zz" ` + repeated(1500, `"a"? `) + `"b"`, "too"},
		"left recursion":          {`root ::= root "a" | "a"`, "for ever"},
		"hidden left recursion":   {"root ::= e root \"a\" | \"a\"\ne ::= \"b\"?", "for ever"},
		"recursion by turns":      {"root ::= x \"a\"\nx ::= y \"b\"\ny ::= x", "for ever"},
		"left rules that double":  {"root ::= r0\n" + row(28, "r%d ::= r%[2]d | r%[2]d") + `r28 ::= "a"`, "reasonable time"},
		"a row of rules":          {"root ::= r0\n" + row(500, "r%d ::= r%d") + `r500 ::= "a"`, ""},
		"stacks that double":      {`root ::= "a" root "b" | "a" root "c" | "a"`, "ambiguous"},
		"after a prefix":          {"root ::= \"x\" y\ny ::= \"a\" y \"b\" | \"a\" y \"c\" | \"a\"", "ambiguous"},
		"ways that double":        {"root ::= (\"a\" | \"a\" x)*\nx ::= \"\" | \"\"", "ambiguous"},
		"2500 words":              {"root ::= " + strings.Join(strings.Fields(row(2500, `"x%d"`)), " | "), ""},
		"5000 words":              {"root ::= " + strings.Join(strings.Fields(row(5000, `"x%d"`)), " | "), "ambiguous"},
		"a list":                  {"root ::= item+\nitem ::= \"- \" [^\\n]+ \"\\n\"", ""},
		"expressions": {"root ::= (expr \"=\" ws term \"\\n\")+\nexpr ::= term ([-+*/] term)*\nterm ::= ident " +
			"| num | \"(\" ws expr \")\" ws\nident ::= [a-z] [a-z0-9_]* ws\nnum ::= [0-9]+ ws\nws ::= [ \\t\\n]*", ""},
		"JSON":                  {jsonGrammar, ""},
		"tokens":                {"root ::= <[5]> !<[6]>* <think> \"a\"", ""},
		"an unknown rule":       {"root ::= x", `no rule "x"`},
		"no root":               {"x ::= \"a\"", `no rule "root"`},
		"no grammar":            {"root", "::="},
		"an open string":        {`root ::= "a`, "middle"},
		"a bad escape":          {`root ::= "\q"`, "escape"},
		"an empty repetition":   {`root ::= ""*`, "nothing to repeat"},
		"a reversed range":      {`root ::= [z-a]`, "from 'z' to 'a'"},
		"a reversed escape":     {`root ::= "x" [^\xFF-\x01]`, "ends before it begins"},
		"a range beside others": {`root ::= [xé-a_]`, "ends before it begins"},
		"a range of one":        {`root ::= [a-a]`, ""},
		"hyphens at the ends":   {`root ::= [-a] [a-] [--/] [+--]`, ""},
		"a zero":                {"root ::= \"a\"\x00" + nested(21000, "x"), "zero"},
	} {
		err := Check(c.text)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// jsonGrammar is the one that comes with llama.cpp.
const jsonGrammar = `root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws

string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws

number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws

# Optional space: by convention, applied in this grammar after literal chars when allowed
ws ::= | " " | "\n" [ \t]{0,20}
`

func BenchmarkCheck(b *testing.B) {
	for b.Loop() {
		if err := Check(jsonGrammar); err != nil {
			b.Fatal(err)
		}
	}
}
