package failure

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/loragate/loragate/internal/httpkit"
)

// fieldMessage is how llama-server says what is wrong with a field that it knows.
var fieldMessage = regexp.MustCompile(`(?s)^Field '([^']+)': (.*)$`)

// ofField takes such a message apart into the field and what is wrong with it, in words that follow
// its name.
func ofField(message string) (key, says string, ok bool) {
	m := fieldMessage.FindStringSubmatch(message)
	if m == nil {
		return "", "", false
	}
	for _, form := range forms {
		if at := form.says.FindStringSubmatch(m[2]); at != nil {
			return m[1], form.means(at), true
		}
	}
	return m[1], "is refused by llama-server: " + httpkit.Shorten(strings.TrimSuffix(m[2], ".")), true
}

// forms are what llama-server says of values, and what that means.
var forms = []struct {
	says  *regexp.Regexp
	means func(parts []string) string
}{
	{regexp.MustCompile(`type must be (\w+), but is (\w+)`), func(m []string) string {
		return fmt.Sprintf("must be %s, not %s", article(m[1]), article(m[2]))
	}},
	{regexp.MustCompile(`Value must be between (\S+) <= value <= (\S+), but got (\S+)`), func(m []string) string {
		return fmt.Sprintf("must be from %s to %s, not %s", m[1], m[2], m[3])
	}},
	{regexp.MustCompile(`key '([^']+)' not found`), func(m []string) string {
		return fmt.Sprintf("lacks %q", m[1])
	}},
}

// article puts one before the name of a JSON type.
func article(kind string) string {
	switch kind {
	case "array", "object":
		return "an " + kind
	case "null":
		return kind
	case "boolean":
		return "true or false"
	}
	return "a " + kind
}

// inTemplate is how llama-server says that a chat's template failed: with a piece of its source.
// raised is what the template itself says.
var (
	inTemplate = regexp.MustCompile(`While executing \w+ at line \d+`)
	raised     = regexp.MustCompile(`(?s)Jinja Exception: (.*)$`)
)

// ofTemplate returns what a chat's template says against a request's messages, in words that follow
// the field's name. fails is whether it failed at all.
func ofTemplate(message string) (says string, fails bool) {
	if !inTemplate.MatchString(message) {
		return "", false
	}
	if m := raised.FindStringSubmatch(message); m != nil {
		return "is refused by the model's chat template: " + httpkit.Shorten(strings.TrimRight(m[1], ". \n")), true
	}
	return "cannot be put into the model's chat template", true
}

// exception is the name that llama-server's JSON library gives a mistake. Those of types and of
// what is missing are found while a request is read, so they are the request's.
var exception = regexp.MustCompile(`\[json\.exception\.(\w+)\.\d+\] ?`)

// inPlainWords takes the names of exceptions out of an error's message.
func inPlainWords(e *httpkit.Error) {
	m := exception.FindStringSubmatch(e.Message)
	if m == nil {
		return
	}
	e.Message = exception.ReplaceAllString(e.Message, "")
	for _, form := range forms {
		if at := form.says.FindStringSubmatch(e.Message); at != nil {
			e.Message = strings.Replace(e.Message, at[0], "a value "+form.means(at), 1)
		}
	}
	if m[1] == "type_error" || m[1] == "out_of_range" {
		if e.Status == http.StatusInternalServerError {
			e.Status, e.Type = http.StatusBadRequest, httpkit.TypeInvalid
		}
		if says, bare := strings.CutPrefix(e.Message, "a value "); bare {
			e.Message = "A value of the request " + says + "."
		}
	}
}
