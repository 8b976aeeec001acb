package dialect

import (
	"github.com/loragate/loragate/internal/proxy/legacy"
	"github.com/loragate/loragate/internal/proxy/sse"
	"github.com/loragate/loragate/internal/proxy/tally"
	"github.com/loragate/loragate/internal/rawjson"
)

// addition gives the events of a stream what the client's API promises beside llama-server's.
type addition struct {
	text legacy.Stream
	last []byte // the event that tells what the request took, as of its last choice
}

// to returns an event with what is added to it; tells is whether the client wants to know what the
// request took. same says that the next event, if it differs in its text only, becomes the same but
// for that; silent that the client gets nothing of this one.
func (a *addition) to(event rawjson.Object, r *Renamer, id string, tells bool) (e rawjson.Object, same, silent bool) {
	same = true
	if r.Legacy != nil {
		if a.text.Options == nil {
			a.text.Options, a.text.Head = r.Legacy, r.Head(id)
		}
		event, same = a.text.Event(event), a.text.Repeats()
	}
	if r.Topped {
		event = r.choices(event, r.untop)
	}
	if !tells {
		return event, same, false
	}
	null := rawjson.Edit{Key: "usage", Value: []byte("null")}
	usage, told := event.Raw(null.Key)
	if !told || string(usage) == "null" {
		event, _ = rawjson.Scan(event.Apply(null)) // an edited object stays one
		return event, same, false
	}
	// llama-server tells it of each choice: in an event of its own, or in the choice's last one.
	choices, _ := event.Raw("choices")
	if len(rawjson.Elements(choices)) == 0 {
		a.last = event.Apply()
		return event, false, true
	}
	a.last = event.Apply(rawjson.Edit{Key: "choices", Value: []byte("[]")}, rawjson.Edit{Key: tally.Timings})
	event, _ = rawjson.Scan(event.Apply(null))
	return event, false, false
}

// ends reports whether the stream is over, for llama-server's own API does not say so.
func (a *addition) ends() bool { return a.text.Options != nil && a.text.Ended() }

// usage returns the event that tells what the whole request took, if there is to be one.
func (a *addition) usage(r *Renamer, account *tally.Account) []byte {
	if a.last == nil {
		return nil
	}
	last, _ := rawjson.Scan(tally.WithUsage(a.last, account.Total()))
	return sse.Event("", r.Rename(last))
}
