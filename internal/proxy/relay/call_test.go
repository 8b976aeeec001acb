package relay

import (
	"testing"

	"github.com/loragate/loragate/internal/proxy/dialect"
	"github.com/loragate/loragate/internal/rawjson"
)

// TestSteadyKeepsSeeds: only who has none, or -1, which is any, is given one. To llama-server all others
// are seeds, those below as well.
func TestSteadyKeepsSeeds(t *testing.T) {
	for seed, kept := range map[string]bool{"": false, `,"seed":null`: false, `,"seed":-1`: false, `,"seed":-5`: true,
		`,"seed":0`: true, `,"seed":7`: true} {
		body, err := rawjson.Parse([]byte(`{"tools":[{"type":"function"}]` + seed + `}`))
		if err != nil {
			t.Fatal(err)
		}
		r := &Request{Body: body}
		r.API = dialect.Chat
		if got := string(r.steady().Body.Apply()) == string(body.Apply()); got != kept {
			t.Errorf("%s: kept is %t", seed, got)
		}
	}
}
