package config

import (
	"slices"

	"github.com/loragate/loragate/internal/rawjson"
)

// reserved are fields of requests that are the gateway's.
var reserved = []string{"model", "lora", "id_slot"}

// rules checks what is to be done with requests.
func (k *checker) rules(rules []Rule) {
	seen := map[string]string{}
	for i, r := range rules {
		at := index("rules", i)
		switch other, twice := seen[r.Match]; {
		case r.Match == "":
			k.add(at+".match", "must be set: a name as clients write it, * is any text")
		case twice:
			k.add(at+".match", "already used by %s: the first rule holds", other)
		}
		seen[r.Match] = at + ".match"
		fields := slices.Clone(r.Strip)
		for _, o := range []struct{ key, text string }{{"set", r.Set}, {"default", r.Default}} {
			if o.text == "" {
				continue
			}
			object, err := rawjson.Parse([]byte(o.text))
			if err != nil {
				k.add(at+"."+o.key, "must be a JSON object such as {\"temperature\": 0.2}: %v", err)
				continue
			}
			fields = append(fields, object.Keys()...)
		}
		for _, field := range fields {
			if slices.Contains(reserved, field) {
				k.add(at, "changes %q, which is the gateway's own", field)
			}
		}
	}
}
