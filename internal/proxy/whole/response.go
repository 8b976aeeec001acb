package whole

import (
	"bytes"
	"slices"

	"github.com/loragate/loragate/internal/rawjson"
)

// ResponseKey is where events of the Responses API have their response.
const ResponseKey = "response"

// Response is the shape of the Responses API: the last event has the whole response.
var Response = Shape{Inner: ResponseKey, Ends: endsResponse, Parses: true, take: takeResponse, build: buildResponse}

// endsResponse knows the last event of a stream of the Responses API.
func endsResponse(event rawjson.Object) bool {
	kind, _ := event.Raw("type")
	return slices.ContainsFunc([]string{"completed", "incomplete", "failed"}, func(how string) bool {
		return string(kind) == `"response.`+how+`"`
	})
}

func takeResponse(a *Assembly, _ []byte, object rawjson.Object) {
	if endsResponse(object) {
		a.end(a.draft(nil), object)
	}
}

// buildResponse follows server_task_result_cmpl_final::to_json_oaicompat_resp.
func buildResponse(a *Assembly) []byte {
	response, _ := a.drafts[0].last.Inner(ResponseKey)
	w := rawjson.Builder{}
	if created, ok := response.Raw("created_at"); ok {
		w.Member("completed_at", created)
	}
	for _, key := range []string{"created_at", "id", "model", "object"} {
		w.Copy(response, key)
	}
	output, _ := response.Raw("output")
	items := rawjson.Elements(output)
	for i, item := range items {
		items[i] = wholeItem(item)
	}
	w.Member("output", rawjson.List(items))
	for _, key := range []string{"status", "usage"} {
		w.Copy(response, key)
	}
	return a.finish(w.End())
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
		w := rawjson.Builder{}
		for _, key := range []string{"content", "id", "role", "status", "type"} {
			w.Copy(item, key)
		}
		return w.End()
	}
	return text
}
