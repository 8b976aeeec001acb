// Package adminclient calls a gateway's admin API.
package adminclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/httpkit"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

// Client calls one gateway. It may be used from several goroutines. Methods block
// until the gateway has answered or ctx ends; their error is an *Error if the
// gateway refused.
type Client struct {
	base     *url.URL
	token    string
	http     *http.Client
	answered func(answer []byte) // nil is nobody
}

// ErrUnreachable is what an error is when there was no connection: nothing was
// asked.
var ErrUnreachable = errors.New("no gateway answers at the admin address")

// New returns a client of the admin address, such as http://127.0.0.1:8081; the
// scheme may be left out. Without a token, "", none is sent. It does not connect.
func New(address, token string) (*Client, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	base, err := url.Parse(strings.TrimRight(address, "/"))
	if err != nil || base.Hostname() == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("%q is not the address of a gateway: give it as http://host:port", address)
	}
	transport := &http.Transport{ // no proxy of the environment is meant for this
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: 5 * time.Second,
		IdleConnTimeout:       30 * time.Second,
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base: base, token: token, http: &http.Client{Transport: transport, CheckRedirect: stay}}, nil
}

// OnAnswer has told called with the JSON of every answer that is no refusal, as it
// came: a gateway of another version may know of more than this package's types.
// It is called by the goroutine of the call, and set before the first.
func (c *Client) OnAnswer(told func(answer []byte)) { c.answered = told }

// Loopback reports whether the gateway is on this machine, and so can read its
// files.
func (c *Client) Loopback() bool {
	return httpkit.Loopback(httpkit.Host(c.base.Hostname()))
}

// TokenFile returns the file in which the gateway keeps a token that it made by itself,
// "" if it has none. It needs no token.
func (c *Client) TokenFile(ctx context.Context) (string, error) {
	var h adminapi.Health
	err := c.call(ctx, http.MethodGet, "/health", nil, &h)
	return h.TokenFile, err
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is a refusal of the gateway.
type Error struct {
	Status  int    // of HTTP
	Code    string // for machines: not_found, conflict, invalid, refused, too_large, failed, unauthorized, ...
	Param   string // the field at fault; "" is none
	Message string // for people
}

func (e *Error) Error() string { return e.Message }

// Adapters returns all adapters and compositions, by name.
func (c *Client) Adapters(ctx context.Context) ([]adminapi.Adapter, error) {
	var all adminapi.Adapters
	err := c.call(ctx, http.MethodGet, adminapi.AdaptersPath, nil, &all)
	return all.Adapters, err
}

// Adapter returns one adapter or composition.
func (c *Client) Adapter(ctx context.Context, name string) (adminapi.Adapter, error) {
	return c.adapter(ctx, http.MethodGet, name, "", nil)
}

// Put adds or replaces an adapter or composition. With wait it returns when that
// is served or refused.
func (c *Client) Put(ctx context.Context, name string, put adminapi.PutRequest, wait bool) (adminapi.Adapter, error) {
	suffix := ""
	if wait {
		suffix = "?wait=true"
	}
	return c.adapter(ctx, http.MethodPut, name, suffix, put)
}

// Remove removes an adapter or composition.
func (c *Client) Remove(ctx context.Context, name string) error {
	path, err := adapterPath(name)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodDelete, path, nil, nil)
}

// Pin says whether every worker has the adapter loaded at all times.
func (c *Client) Pin(ctx context.Context, name string, pin bool) (adminapi.Adapter, error) {
	return c.adapter(ctx, http.MethodPost, name, "/pin", adminapi.PinRequest{Pin: pin})
}

// Rollback makes the version before the active one answer.
func (c *Client) Rollback(ctx context.Context, name string) (adminapi.Adapter, error) {
	return c.adapter(ctx, http.MethodPost, name, "/rollback", nil)
}

// Workers returns all workers, by number.
func (c *Client) Workers(ctx context.Context) ([]adminapi.Worker, error) {
	var all adminapi.Workers
	err := c.call(ctx, http.MethodGet, adminapi.WorkersPath, nil, &all)
	return all.Workers, err
}

// Drain keeps new requests from a worker until Resume.
func (c *Client) Drain(ctx context.Context, id int) (adminapi.Worker, error) {
	return c.worker(ctx, id, "drain")
}

// Resume lets a drained worker take requests again.
func (c *Client) Resume(ctx context.Context, id int) (adminapi.Worker, error) {
	return c.worker(ctx, id, "resume")
}

// Restart lets a worker's requests end and replaces its process. It does not wait
// for that.
func (c *Client) Restart(ctx context.Context, id int) (adminapi.Worker, error) {
	return c.worker(ctx, id, "restart")
}

// Keys returns the API keys that the admin API made, oldest first.
func (c *Client) Keys(ctx context.Context) ([]adminapi.Key, error) {
	var all adminapi.KeyList
	err := c.call(ctx, http.MethodGet, adminapi.KeysPath, nil, &all)
	return all.Keys, err
}

// CreateKey makes a key for a tenant; its secret is in the answer and nowhere else.
func (c *Client) CreateKey(ctx context.Context, create adminapi.CreateKeyRequest) (adminapi.NewKey, error) {
	var k adminapi.NewKey
	err := c.call(ctx, http.MethodPost, adminapi.KeysPath, create, &k)
	return k, err
}

// RevokeKey ends a key at once.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, adminapi.KeysPath+"/"+url.PathEscape(id), nil, nil)
}

// RotateKey makes a key in another's place, which stays valid for grace, in whole
// seconds: a part of one counts as one.
func (c *Client) RotateKey(ctx context.Context, id string, grace time.Duration) (adminapi.NewKey, error) {
	var k adminapi.NewKey
	body := adminapi.RotateKeyRequest{GraceSeconds: int(math.Ceil(grace.Seconds()))}
	err := c.call(ctx, http.MethodPost, adminapi.KeysPath+"/"+url.PathEscape(id)+"/rotate", body, &k)
	return k, err
}

// Usage returns what requests took, by the query of the API: from, to, by.
func (c *Client) Usage(ctx context.Context, query url.Values) (adminapi.UsageAnswer, error) {
	var u adminapi.UsageAnswer
	err := c.call(ctx, http.MethodGet, adminapi.UsagePath+"?"+query.Encode(), nil, &u)
	return u, err
}

func (c *Client) worker(ctx context.Context, id int, action string) (adminapi.Worker, error) {
	var w adminapi.Worker
	err := c.call(ctx, http.MethodPost, adminapi.WorkersPath+"/"+strconv.Itoa(id)+"/"+action, nil, &w)
	return w, err
}

func (c *Client) adapter(ctx context.Context, method, name, suffix string, body any) (adminapi.Adapter, error) {
	var a adminapi.Adapter
	path, err := adapterPath(name)
	if err != nil {
		return a, err
	}
	err = c.call(ctx, method, path+suffix, body, &a)
	return a, err
}

// adapterPath escapes a name, slashes included. Names that a URL cannot carry as
// a segment are no adapter's.
func adapterPath(name string) (string, error) {
	if name == "" || name == "." || name == ".." {
		return "", &Error{Status: http.StatusBadRequest, Code: "invalid",
			Message: fmt.Sprintf("%q is not the name of an adapter", name)}
	}
	return adminapi.AdaptersPath + "/" + url.PathEscape(name), nil
}

// call sends body as JSON, unless it is nil, and decodes the answer into v,
// unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, body, v any) error {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, reader)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.do(req, v)
}

func (c *Client) do(req *http.Request, v any) error {
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.failed(req.Context(), err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.failed(req.Context(), fmt.Errorf("the answer ended early: %w", err))
	}
	if resp.StatusCode/100 != 2 {
		return c.refusal(resp, text)
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s does not answer as a gateway's admin address does: %w", c.base.Redacted(), err)
	}
	if c.answered != nil {
		c.answered(text)
	}
	return nil
}

// failed turns the error of a call that has no answer into one for people.
func (c *Client) failed(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // its text repeats the whole URL
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return fmt.Errorf("%w %s: %w", ErrUnreachable, c.base.Redacted(), err)
	}
	return fmt.Errorf("the call to the admin address %s broke: %w", c.base.Redacted(), err)
}

func (c *Client) refusal(resp *http.Response, text []byte) error {
	var answer httpkit.ErrorAnswer
	if json.Unmarshal(text, &answer) != nil || answer.Error.Message == "" {
		return &Error{Status: resp.StatusCode, Message: fmt.Sprintf(
			"%s answers %s; is it the gateway's admin address?", c.base.Redacted(), resp.Status)}
	}
	return &Error{
		Status: resp.StatusCode, Message: answer.Error.Message,
		Code: orEmpty(answer.Error.Code), Param: orEmpty(answer.Error.Param),
	}
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Follow asks for the adapter whenever tick brings something until its source has
// been taken or refused, and shows every answer. The error is an *Error with the
// code refused if it was.
func (c *Client) Follow(ctx context.Context, name string, tick <-chan time.Time,
	show func(adminapi.Adapter)) (adminapi.Adapter, error) {
	for {
		a, err := c.Adapter(ctx, name)
		if err != nil {
			return a, err
		}
		show(a)
		switch {
		case a.State == "rejected", a.State == "quarantined", a.State == "ready" && a.Reason != "":
			return a, &Error{Status: http.StatusUnprocessableEntity, Code: "refused", Message: a.Reason}
		case a.State == "ready":
			return a, nil
		}
		select {
		case <-ctx.Done():
			return a, context.Cause(ctx)
		case <-tick:
		}
	}
}
