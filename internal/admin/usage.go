package admin

import (
	"context"
	"encoding/csv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/usage"
)

// Usage is what the API needs of a usage.Recorder. It waits for the disk.
type Usage interface {
	Sums(ctx context.Context, q usage.Query) ([]usage.Sum, error)
}

// showUsage answers in JSON, or in CSV with format=csv.
func (a *api) showUsage(c echo.Context) error {
	query, format, err := usageQuery(c)
	if err != nil {
		return err
	}
	sums, err := a.opts.Usage.Sums(c.Request().Context(), query)
	if err != nil {
		return err
	}
	answer := adminapi.UsageAnswer{By: append([]string{}, query.By...), Sums: []adminapi.UsageTotal{}}
	for _, s := range sums {
		answer.Sums = append(answer.Sums, adminapi.UsageTotal{
			Group: s.Group, Requests: s.Requests, PromptTokens: s.Prompt, CachedTokens: s.Cached, CompletionTokens: s.Completion,
			QueueSeconds: float64(s.QueueMs) / 1000, SwapSeconds: float64(s.SwapMs) / 1000,
			GenerationSecond: float64(s.GenerationMs) / 1000,
		})
	}
	if format == "csv" {
		return writeCSV(c, answer)
	}
	return writeJSON(c, http.StatusOK, answer)
}

// usageQuery reads from, to (days, or times), by and format.
func usageQuery(c echo.Context) (query usage.Query, format string, err error) {
	q := newQuery(c)
	var from, to, by string
	q.text("from", &from)
	q.text("to", &to)
	q.text("by", &by)
	q.text("format", &format)
	for _, t := range []struct {
		name, text string
		to         *time.Time
	}{{"from", from, &query.From}, {"to", to, &query.To}} {
		if t.text == "" {
			continue
		}
		if *t.to, err = parseMoment(t.text); err != nil {
			q.fail(t.name, "must be a day such as 2030-01-31, or a time such as 2030-01-31T12:00:00Z")
		}
	}
	if by == "" {
		by = "day,tenant,model"
	}
	query.By = strings.Split(by, ",")
	for i, group := range query.By {
		if !slices.Contains(usage.Groups, group) || slices.Contains(query.By[:i], group) {
			q.fail("by", "must be some of "+strings.Join(usage.Groups, ", ")+", separated by commas")
		}
	}
	if format != "" && format != "json" && format != "csv" {
		q.fail("format", "must be json or csv")
	}
	return query, format, q.end()
}

func parseMoment(text string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339, text)
}

func writeCSV(c echo.Context, answer adminapi.UsageAnswer) error {
	c.Response().Header().Set("Content-Type", "text/csv; charset=utf-8")
	out := csv.NewWriter(c.Response())
	_ = out.Write(append(slices.Clone(answer.By), "requests", "prompt_tokens", "cached_tokens", "completion_tokens",
		"queue_seconds", "swap_seconds", "generation_seconds"))
	seconds := func(f float64) string { return strconv.FormatFloat(f, 'f', 3, 64) }
	for _, s := range answer.Sums {
		_ = out.Write(append(slices.Clone(s.Group), strconv.FormatInt(s.Requests, 10), strconv.FormatInt(s.PromptTokens, 10),
			strconv.FormatInt(s.CachedTokens, 10), strconv.FormatInt(s.CompletionTokens, 10), seconds(s.QueueSeconds),
			seconds(s.SwapSeconds), seconds(s.GenerationSecond)))
	}
	out.Flush() // fails only when nobody reads any more
	return nil
}
