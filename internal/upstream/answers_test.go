package upstream

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, test := range []struct {
		name, answer string
		method       string
		close        bool // the server closes behind the answer
		status       int
		body         string
		reused       bool
	}{
		{name: "length", answer: ok + "content-length:  5 \r\n\r\nhello", body: "hello", reused: true},
		{name: "empty", answer: ok + "Content-Length: 0\r\n\r\n", reused: true},
		{name: "same length twice", answer: ok + "Content-Length: 2\r\nContent-Length: 02\r\n\r\nok", body: "ok",
			reused: true},
		{name: "chunks", answer: ok + "Transfer-Encoding: Chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", body: "hello",
			reused: true},
		{name: "chunk extensions and trailers", body: "hello", reused: true,
			answer: ok + "Transfer-Encoding: chunked\r\n\r\n05 ;a=b;c=\"d\"\r\nhello\r\n000;e\r\nX-Sum: 1\r\nY: 2\r\n\r\n"},
		{name: "no chunks", answer: ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", reused: true},
		{name: "until close", answer: ok + "\r\nhello", close: true, body: "hello"},
		{name: "until close, empty", answer: ok + "\r\n", close: true},
		{name: "close is announced", answer: ok + "Connection: foo, Close\r\nContent-Length: 2\r\n\r\nok", body: "ok"},
		{name: "HTTP/1.0", answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", body: "ok"},
		{name: "HTTP/1.0 that keeps", answer: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
			body: "ok", reused: true},
		{name: "no reason", answer: "HTTP/1.1 404\r\nContent-Length: 2\r\n\r\nno", status: 404, body: "no", reused: true},
		{name: "interim answers", body: "ok", reused: true,
			answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "Content-Length: " +
				"2\r\n\r\nok"},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\n\r\n", status: 204, reused: true},
		{name: "304 with a length", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", status: 304,
			reused: true},
		{name: "HEAD", method: http.MethodHead, answer: ok + "Content-Length: 7\r\n\r\n", reused: true},
		{name: "more than the answer", answer: ok + "Content-Length: 2\r\n\r\nokHTTP", body: "ok"},
		{name: "a body where none can be", answer: "HTTP/1.1 204 No Content\r\n\r\nbody", status: 204},
		{name: "long head", answer: ok + strings.Repeat("X-Y: "+strings.Repeat("z", 5000)+"\r\n",
			10) + "Content-Length: 2\r\n\r\nok", body: "ok", reused: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := answering(t, test.answer, test.close)
			c := s.client(t)
			method, status := test.method, test.status
			if method == "" {
				method = http.MethodGet
			}
			if status == 0 {
				status = http.StatusOK
			}
			for range 2 {
				resp, body, err := get(t, c, method)
				if err != nil {
					t.Fatal(err)
				}
				if resp.Status != status || body != test.body {
					t.Errorf("got %d %q, want %d %q", resp.Status, body, status, test.body)
				}
			}
			want := 2
			if test.reused {
				want = 1
			}
			if got := s.dials(); got != want {
				t.Errorf("two requests took %d connections, want %d", got, want)
			}
			c.Close()
			s.awaitOpen(0)
		})
	}
}

func TestBrokenAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	const chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"
	for _, test := range []struct {
		name, answer string
		body         string // what must have come before
		want         string // "" means io.ErrUnexpectedEOF
	}{
		{name: "nothing", answer: "", want: "without an answer"},
		{name: "part of a head", answer: "HTTP/1.1 200 OK\r\nContent-Le"},
		{name: "interim only", answer: "HTTP/1.1 100 Continue\r\n\r\n"},
		{name: "short body", answer: ok + "Content-Length: 5\r\n\r\nhell", body: "hell"},
		{name: "short chunk", answer: chunked + "5\r\nhell", body: "hell"},
		{name: "no last chunk", answer: chunked + "5\r\nhello\r\n", body: "hello"},
		{name: "no end of the trailers", answer: chunked + "5\r\nhello\r\n0\r\n", body: "hello"},
		{name: "not HTTP", answer: "SSH-2.0\r\n\r\n", want: `status line "SSH-2.0"`},
		{name: "HTTP/2", answer: "HTTP/2.0 200 OK\r\n\r\n", want: "status line"},
		{name: "status of two digits", answer: "HTTP/1.1 20 OK\r\n\r\n", want: "status line"},
		{name: "status of four digits", answer: "HTTP/1.1 2000 OK\r\n\r\n", want: "status line"},
		{name: "status below 100", answer: "HTTP/1.1 099 OK\r\n\r\n", want: "status line"},
		{name: "switch", answer: "HTTP/1.1 101 Switching Protocols\r\n\r\n", want: "101"},
		{name: "endless interim", answer: strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20), want: "interim"},
		{name: "bare LF", answer: "HTTP/1.1 200 OK\nContent-Length: 0\n\n", want: "CR LF"},
		{name: "no colon", answer: ok + "Content-Length\r\n\r\n", want: `header field "Content-Length"`},
		{name: "space before the colon", answer: ok + "Content-Length : 2\r\n\r\nok", want: "header field"},
		{name: "folded", answer: ok + "A: b\r\n c\r\n\r\n", want: "header field"},
		{name: "control character", answer: ok + "A: b\x00\r\n\r\n", want: "header field"},
		{name: "two lengths", answer: ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", want: "two lengths, 2 and 3"},
		{name: "list of lengths", answer: ok + "Content-Length: 2, 2\r\n\r\nok", want: `Content-Length "2, 2"`},
		{name: "negative length", answer: ok + "Content-Length: -2\r\n\r\nok", want: `Content-Length "-2"`},
		{name: "huge length", answer: ok + "Content-Length: 9999999999999999999\r\n\r\nok", want: "Content-Length"},
		{name: "empty length", answer: ok + "Content-Length:\r\n\r\nok", want: "empty Content-Length"},
		{name: "both", answer: ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
			want: "both chunked and of length 2"},
		{name: "other coding", answer: ok + "Transfer-Encoding: gzip, chunked\r\n\r\n",
			want: `transfer coding "gzip, chunked"`},
		{name: "chunked twice", answer: ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
			want: "transfer coding"},
		{name: "chunked in HTTP/1.0", answer: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			want: "HTTP/1.0"},
		{name: "no chunk size", answer: chunked + "\r\nhello\r\n", want: `chunk size ""`},
		{name: "bad chunk size", answer: chunked + "0x5\r\nhello\r\n", want: `chunk size "0x5"`},
		{name: "huge chunk size", answer: chunked + "8000000000000000\r\nhello", want: "chunk size"},
		{name: "chunk longer than declared", answer: chunked + "2\r\nhello\r\n0\r\n\r\n", body: "he",
			want: `"ll" where a chunk`},
		{name: "bare LF behind a chunk", answer: chunked + "2\r\nhe\n0\r\n\r\n", body: "he", want: "where a chunk"},
		{name: "bad trailer", answer: chunked + "2\r\nhe\r\n0\r\nx\r\n\r\n", body: "he", want: "header field"},
		{name: "endless extension", answer: chunked + "2;" + strings.Repeat("x", maxLine), want: "a line of more than"},
		{name: "endless trailers", answer: chunked + "0\r\n" + strings.Repeat("a: b\r\n", maxHead/6+1),
			want: "header fields"},
		{name: "endless line", answer: ok + strings.Repeat("x", bufferSize), want: "a line of more than"},
		{name: "endless head", answer: ok + strings.Repeat("a: b\r\n", maxHead/6+1), want: "header fields"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, func(_ int, c *peerConn) {
				c.request()
				c.send(test.answer)
				c.CloseWrite()
				c.untilGone() // the client must close by itself
			})
			_, body, err := get(t, s.client(t), http.MethodGet)
			switch {
			case err == nil:
				t.Fatalf("no error, but %q", body)
			case test.want == "" && !errors.Is(err, io.ErrUnexpectedEOF):
				t.Errorf("the error is %v, want an unexpected EOF", err)
			case !strings.Contains(err.Error(), test.want):
				t.Errorf("the error is %v, want %q in it", err, test.want)
			}
			if body != test.body {
				t.Errorf("got %q before the error, want %q", body, test.body)
			}
			s.awaitOpen(0)
			if n := s.dials(); n != 1 {
				t.Errorf("the request was sent %d times", n)
			}
		})
	}
}
