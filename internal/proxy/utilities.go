package proxy

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/bounds"
	"github.com/loragate/loragate/internal/proxy/dialect"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/fields"
	"github.com/loragate/loragate/internal/proxy/relay"
	"github.com/loragate/loragate/internal/proxy/tools"
	"github.com/loragate/loragate/internal/rawjson"
)

// utilityPaths are endpoints of llama-server that use no slot and no adapter: any
// worker answers them at once.
var utilityPaths = []string{
	"/tokenize", "/detokenize", "/apply-template",
	"/v1/messages/count_tokens", "/v1/responses/input_tokens", "/v1/chat/completions/input_tokens",
}

// counting is how the tokens of a request are counted: as what it would run as.
type counting struct {
	api  *dialect.API
	runs string // where it would run
	head string // of the answer
}

const chatCount = "/v1/chat/completions/input_tokens"

// counters are the endpoints that count tokens, by path.
var counters = map[string]counting{
	"/v1/messages/count_tokens":  {api: dialect.Messages, runs: "/v1/messages"},
	chatCount:                    {api: dialect.Chat, runs: "/v1/chat/completions"},
	"/v1/responses/input_tokens": {dialect.Responses, "/v1/responses", `"response.input_tokens"`},
}

const (
	// maxUtility bounds their bodies: they are answered beside what is scheduled,
	// llama-server cannot be told to stop, and cuts 1 to 3 MB into tokens a second.
	maxUtility = 2 << 20
	// maxBeside bounds how many run at once, on all workers together.
	maxBeside = 4
)

// utilities serves them.
type utilities struct {
	gate             *gate
	names            *names
	checker          *bounds.Checker
	worker           func() (pool.Runner, error) // any that is up
	vocabulary       bounds.Vocabulary
	facts            func() pool.Facts // of the base
	maxBody, maxText int64             // bytes of a body, see Options
	beside           chan struct{}     // has room for as many as may run at once
}

// limit is how long the body for one of them may be.
func (s *utilities) limit(path string) int64 {
	limit := min(s.maxBody, maxUtility)
	if s.maxText > 0 && slices.Contains(utilityPaths[:3], path) { // the others may have pictures
		limit = min(limit, s.maxText)
	}
	return limit
}

// serve returns the handler of one. A model that the client names must exist.
func (s *utilities) serve(path string) echo.HandlerFunc {
	return s.gate.accounted(s.limit(path), func(rec *record, principal *auth.Principal, body rawjson.Object) error {
		if err := s.checker.Check(body, ""); err != nil {
			return err
		}
		var asked string
		if err := s.names.asked(body, true, &asked); err != nil {
			return err
		}
		rec.model, rec.target = asked, s.names.alias
		if _, given := body.Raw("model"); given {
			model, err := s.names.resolve(principal, asked)
			if err != nil {
				return err
			}
			rec.target, rec.adhoc = model.Target, model.Adhoc
		}
		asks, body, err := s.asWhat(path, asked, fields.Plain(body))
		if err != nil {
			return err
		}
		select {
		case s.beside <- struct{}{}:
			defer func() { <-s.beside }()
		case <-rec.Request().Context().Done():
			return failure.ClientLeft(rec.Request().Context().Err())
		}
		return s.askAny(rec, path, asks, body)
	})
}

// asWhat returns what a worker is asked, and where. Tokens are counted of what a request for
// that model would run as: with its rule, and in llama-server's terms.
func (s *utilities) asWhat(path, model string, body rawjson.Object) (string, rawjson.Object, error) {
	c, counts := counters[path]
	if !counts {
		body, err := s.checkFields(path, body)
		return path, body, err
	}
	if rule := s.names.ruleFor(model); rule != nil {
		body = rule.apply(body, c.runs)
	}
	body, _, err := c.api.Translate(body)
	if err == nil {
		body, err = s.checkFields(chatCount, body)
	}
	return chatCount, tools.Forced(body), c.api.InItsWords(err)
}

// checkFields refuses numbers that are no tokens, and what is no text or no message. It returns the
// body as llama-server gets it.
func (s *utilities) checkFields(path string, body rawjson.Object) (rawjson.Object, error) {
	switch path {
	case "/detokenize":
		return body, s.vocabulary.CheckList(body, "tokens")
	case "/tokenize":
		if err := fields.Text(body, "content"); err != nil {
			return body, err
		}
		return body, s.vocabulary.CheckIDs(body, "content")
	case "/apply-template", chatCount:
		return fields.Messages(body, readerOf(s.facts()))
	}
	return body, nil
}

// askAny passes a request on to whichever worker is up.
func (s *utilities) askAny(rec *record, path, asks string, body rawjson.Object) error {
	worker, err := s.worker()
	if err != nil {
		return failure.FromPool(rec.model, err)
	}
	ctx := rec.Request().Context()
	resp, err := worker.Forward(ctx, asks, body.Apply())
	if err != nil {
		return failure.WorkerDied(err)
	}
	defer resp.Body.Close()
	answer, err := relay.ReadAnswer(resp)
	switch {
	case ctx.Err() != nil:
		return failure.Ended(ctx, err)
	case err != nil:
		return failure.WorkerDied(err)
	case resp.Status != http.StatusOK:
		return failure.FromWorker(failure.Asked{Body: body}, resp.Status, answer)
	}
	if asks != path {
		counted, _ := rawjson.Scan(answer)
		n := rawjson.Builder{}
		if head := counters[path].head; head != "" {
			n.Member("object", []byte(head))
		}
		n.Copy(counted, "input_tokens")
		answer = n.End()
	}
	return rec.write(answer)
}
