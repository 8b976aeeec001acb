package upstream

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

const chatPath = "/v1/chat/completions"

// llama starts a real llama-server and returns its socket.
func llama(t *testing.T) string {
	t.Helper()
	s := llamatest.Start(t, nil, "--parallel", "2", "--ctx-size", "2048")
	c, err := s.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.RemoteAddr().String()
}

func chat(stream bool) []byte {
	return fmt.Appendf(nil, `{"messages":[{"role":"user","content":"What is rain?"}],"max_tokens":4,"temperature":0,"stream":%t}`, stream)
}

// ask makes one chat request and returns its text.
func ask(t *testing.T, c *Client, stream bool) string {
	t.Helper()
	resp, err := c.Do(t.Context(), http.MethodPost, chatPath, chat(stream))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Status != http.StatusOK {
		t.Fatalf("status %d", resp.Status)
	}
	if stream {
		return readEvents(t, resp)
	}
	var reply struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil || len(reply.Choices) != 1 {
		t.Fatalf("%v, %+v", err, reply)
	}
	return reply.Choices[0].Message.Content
}

func readEvents(t *testing.T, resp *Response) string {
	t.Helper()
	if resp.ContentType != "text/event-stream" {
		t.Fatalf("content type %q", resp.ContentType)
	}
	var text strings.Builder
	done := false
	for {
		line, err := resp.Body.ReadSlice('\n')
		if err == io.EOF && done {
			return text.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		data, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data: "))
		if !ok {
			continue
		}
		if done = string(data) == "[DONE]"; done {
			continue
		}
		var event struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal(data, &event); err != nil {
			t.Fatalf("%v in %q", err, data)
		}
		for _, choice := range event.Choices {
			text.WriteString(choice.Delta.Content)
		}
	}
}

func TestLlamaServer(t *testing.T) {
	c := New(llama(t), "", 4)
	defer c.Close()
	whole, streamed := ask(t, c, false), ask(t, c, true)
	if whole == "" || whole != streamed {
		t.Errorf("the answer is %q whole and %q as a stream", whole, streamed)
	}
	for i := range 50 {
		if got := ask(t, c, i%2 == 0); got != whole {
			t.Errorf("answer %d is %q, want %q", i, got, whole)
		}
	}
}

// The reason why a connection is not used again after a stream of events. If
// this fails, llama-server has learnt to keep it: change head.reusable.
func TestLlamaServerClosesAfterStream(t *testing.T) {
	c := New(llama(t), "", 4)
	defer c.Close()
	conn, err := dial(t.Context(), c.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	r := bufio.NewReader(conn)
	for _, stream := range []bool{false, true} {
		req := newRequest("", http.MethodPost, chatPath, chat(stream))
		defer req.free()
		if err := req.send(conn); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		if resp.Close {
			t.Fatal("the head says that the connection will be closed")
		}
		t.Log(resp.Proto, resp.Status, resp.Header, resp.TransferEncoding)
	}
	if b, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after a stream came %q, %v", b, err)
	}
}
