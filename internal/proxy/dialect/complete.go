package dialect

import (
	"bytes"

	"github.com/loragate/loragate/internal/proxy/sse"
	"github.com/loragate/loragate/internal/proxy/tally"
	"github.com/loragate/loragate/internal/rawjson"
)

// complete gives an event what the client's API promises beside llama-server's. same says that the
// next event, if it differs in its text only, becomes the same but for that; silent that the
// client gets nothing of this one.
func (w *Rewriter) complete(event rawjson.Object) (changed rawjson.Object, same, silent bool) {
	same = true
	if w.Legacy != nil {
		if w.text.Options == nil {
			w.text.Options, w.text.Head = w.Legacy, w.Head(w.RequestID)
		}
		event, same = w.text.Event(event), w.text.Repeats()
	}
	if w.Topped {
		event = w.choices(event, w.untop)
	}
	if w.Total == nil {
		return event, same, false
	}
	null := rawjson.Edit{Key: "usage", Value: []byte("null")}
	usage, told := event.Raw("usage")
	if !told || string(usage) == "null" {
		event, _ = rawjson.Scan(event.Apply(null)) // an edited object stays one
		return event, same, false
	}
	// llama-server tells it of each choice: in an event of its own, or in the choice's last one.
	none := rawjson.Edit{Key: "choices", Value: []byte("[]")}
	choices, _ := event.Raw("choices")
	if len(rawjson.Elements(choices)) == 0 {
		w.last = bytes.Clone(event.Apply())
		return event, false, true
	}
	w.last = event.Apply(none, rawjson.Edit{Key: tally.Timings})
	event, _ = rawjson.Scan(event.Apply(null))
	return event, false, false
}

// usage returns the event that tells what the whole request took, if there is to be one.
func (w *Rewriter) usage() []byte {
	if w.last == nil {
		return nil
	}
	last, _ := rawjson.Scan(tally.WithUsage(w.last, w.Total()))
	return sse.Event("", w.Rename(last))
}
