package proxy

import (
	"bytes"

	"github.com/loragate/loragate/internal/rawjson"
)

// responseShape is that of the Responses API: the last event has the whole response.
type responseShape struct{}

func (responseShape) take(a *assembly, _ []byte, object rawjson.Object) {
	if endsResponse(object) {
		a.end(a.draft(nil), object)
	}
}

// build follows server_task_result_cmpl_final::to_json_oaicompat_resp.
func (responseShape) build(a *assembly) []byte {
	response, _ := a.drafts[0].last.Inner(responseKey)
	w := objectWriter{}
	if created, ok := response.Raw("created_at"); ok {
		w.member("completed_at", created)
	}
	for _, key := range []string{"created_at", "id", "model", "object"} {
		w.copy(response, key)
	}
	output, _ := response.Raw("output")
	items := rawjson.Elements(output)
	for i, item := range items {
		items[i] = wholeItem(item)
	}
	w.member("output", list(items))
	for _, key := range []string{"status", "usage"} {
		w.copy(response, key)
	}
	return a.finish(w.end())
}

// wholeItem puts an item of a response's output in the order, and gives it the
// fields, that it has in a whole answer.
func wholeItem(text []byte) []byte {
	item, ok := rawjson.Scan(text)
	if !ok {
		return text
	}
	switch kind, _ := item.Raw("type"); {
	case bytes.Equal(kind, []byte(`"reasoning"`)):
		return item.Apply(rawjson.Edit{Key: "status", Value: []byte(`"completed"`)})
	case bytes.Equal(kind, []byte(`"message"`)):
		w := objectWriter{}
		for _, key := range []string{"content", "id", "role", "status", "type"} {
			w.copy(item, key)
		}
		return w.end()
	}
	return text
}
