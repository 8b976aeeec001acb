package overhead

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// requestBody is a chat request as clients send it; the model is an adapter of
// the demo.
const requestBody = `{"model":"coding","messages":[` +
	`{"role":"system","content":"You are a careful assistant for programmers. Answer briefly and in plain words."},` +
	`{"role":"user","content":"How does a binary search find a value in a sorted list of numbers, and how many steps ` +
	`does it take for a million of them?"}],` +
	`"temperature":0.2,"top_p":0.95,"max_tokens":200,"seed":7,"user":"overhead-benchmark","stream":%t}`

// apiKey is sent to all; only one asks for it.
const apiKey = "a-key-of-the-benchmark"

// request returns the bytes of one request.
func request(address string, stream bool) []byte {
	body := fmt.Sprintf(requestBody, stream)
	return fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nUser-Agent: overhead\r\nAccept: */*\r\n"+
		"Authorization: Bearer "+apiKey+"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", address,
		len(body), body)
}

// client is one connection that sends one request after the other. One goroutine
// owns it.
type client struct {
	conn    net.Conn
	r       *bufio.Reader
	request []byte
	stream  bool
	check   checker
	answers []timing
}

// timing is how long one answer took, from before its request was written.
type timing struct {
	first time.Duration // to the first part of the body
	whole time.Duration
}

var errClosing = errors.New("the proxy closes the connection")

// once sends a request and reads its answer, whole.
func (c *client) once() (timing, error) {
	c.check.reset(c.stream)
	start := time.Now()
	if _, err := c.conn.Write(c.request); err != nil {
		return timing{}, err
	}
	line, err := readLine(c.r)
	if err != nil {
		return timing{}, noEOF(err)
	}
	ok := bytes.HasPrefix(line, []byte("HTTP/1.1 200"))
	var status string
	if !ok {
		status = string(line)
	}
	f, err := readHeaders(c.r)
	if err != nil {
		return timing{}, err
	}
	if f.length < 0 && !f.chunked {
		return timing{}, fmt.Errorf("the answer %q says nothing of its length", line)
	}
	var first time.Duration
	err = readBody(c.r, f, func(part []byte) {
		if first == 0 {
			first = time.Since(start)
		}
		c.check.add(part)
	})
	took := timing{first: first, whole: time.Since(start)}
	switch {
	case err != nil:
		return took, err
	case !ok:
		return took, fmt.Errorf("status %q: %s", status, c.check.tail)
	case f.close:
		return took, errClosing
	}
	return took, c.check.whole()
}

// checker tells whether a body is whole, from its parts as they come.
type checker struct {
	stream bool
	tail   []byte // of what came, long enough for what is looked for
	events int
	found  bool // answerText
}

// maxTail is how much of a body is looked at again with the next part.
const maxTail = 128

var (
	eventEnd  = []byte("\n\n")
	doneEvent = []byte("data: [DONE]\n\n")
)

func (c *checker) reset(stream bool) { *c = checker{stream: stream, tail: c.tail[:0]} }

func (c *checker) add(part []byte) {
	if c.stream {
		c.events += bytes.Count(part, eventEnd)
		// The end of an event may be cut in two.
		if n := len(c.tail); n > 0 && c.tail[n-1] == '\n' && part[0] == '\n' && !bytes.HasSuffix(c.tail, eventEnd) {
			c.events++
		}
	} else if !c.found {
		c.found = bytes.Contains(part, []byte(answerText)) ||
			len(c.tail) > 0 && bytes.Contains(append(c.tail, part...), []byte(answerText))
	}
	if len(part) >= maxTail {
		c.tail = append(c.tail[:0], part[len(part)-maxTail:]...)
		return
	}
	c.tail = append(c.tail, part...)
	if over := len(c.tail) - maxTail; over > 0 {
		c.tail = c.tail[:copy(c.tail, c.tail[over:])]
	}
}

func (c *checker) whole() error {
	switch {
	case c.stream && !bytes.HasSuffix(c.tail, doneEvent):
		return fmt.Errorf("the stream does not end with [DONE] but with %q", c.tail)
	case c.stream && c.events != streamChunks+1:
		return fmt.Errorf("the stream has %d events, not %d", c.events-1, streamChunks)
	case !c.stream && (!c.found || !bytes.HasSuffix(bytes.TrimSpace(c.tail), []byte("}"))):
		return fmt.Errorf("the answer is not whole; it ends with %q", c.tail)
	}
	return nil
}

// fleet is a number of connections to one proxy.
type fleet []*client

// dial opens n connections. The caller closes the fleet.
func dial(ctx context.Context, address string, n int, stream bool) (fleet, error) {
	var dialer net.Dialer
	var f fleet
	for range n {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			f.close()
			return nil, err
		}
		f = append(f, &client{
			conn: conn, r: bufio.NewReaderSize(conn, 32<<10), request: request(address, stream), stream: stream,
			answers: make([]timing, 0, 4096),
		})
	}
	return f, nil
}

func (f fleet) close() {
	for _, c := range f {
		c.conn.Close()
	}
}

// amount is how much load to make: until the time is over or, if requests is
// above 0, that many on each connection.
type amount struct {
	time     time.Duration
	requests int
}

// patience is how long answers may take beyond the time of a measurement before
// they count as failed.
const patience = 20 * time.Second

// load sends requests on all connections at once, each as soon as the answer
// before is whole, and blocks until the last answer. It returns how long that
// took; the answers' times are in the clients. A connection stops at its first
// failure, and any failure is an error. Ending ctx breaks the requests off.
func (f fleet) load(ctx context.Context, much amount) (time.Duration, error) {
	failures := make([]error, len(f))
	limit := time.Now().Add(much.time + patience)
	for _, c := range f {
		c.answers = c.answers[:0]
		c.conn.SetDeadline(limit)
	}
	stop := context.AfterFunc(ctx, func() {
		for _, c := range f {
			c.conn.SetDeadline(time.Unix(1, 0))
		}
	})
	defer stop()
	var all sync.WaitGroup
	start := time.Now()
	for i, c := range f {
		all.Go(func() { failures[i] = c.loop(start, much) })
	}
	all.Wait()
	took := time.Since(start)
	if err := context.Cause(ctx); err != nil {
		return took, err
	}
	return took, f.failed(failures)
}

func (c *client) loop(start time.Time, much amount) error {
	for n := 0; ; n++ {
		if much.requests > 0 && n == much.requests || much.requests == 0 && time.Since(start) >= much.time {
			return nil
		}
		took, err := c.once()
		if err != nil {
			return err
		}
		c.answers = append(c.answers, took)
	}
}

// failed sums failures up, nil if there are none.
func (f fleet) failed(failures []error) error {
	count, answered := 0, 0
	var first error
	for i, err := range failures {
		answered += len(f[i].answers)
		if err == nil {
			continue
		}
		count++
		if first == nil {
			first = err
		}
	}
	if count == 0 {
		return nil
	}
	return fmt.Errorf("%d requests failed and %d were answered; the first failure: %w", count, answered, first)
}
