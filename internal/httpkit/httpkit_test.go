package httpkit

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestLoopback(t *testing.T) {
	for _, local := range []string{
		"localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.8.9.1:80", "::1", "[::1]", "[::1]:8080",
		"[::ffff:127.0.0.1]:1",
	} {
		if !Loopback(Host(local)) {
			t.Errorf("%q is not taken for this machine", local)
		}
	}
	for _, other := range []string{
		"", ":80", "0.0.0.0", "[::]:80", "127.0.0.1.example.com", "localhost.example.com:80", "example.com", "127.1",
		"0x7f.1", "10.0.0.1:80",
	} {
		if Loopback(Host(other)) {
			t.Errorf("%q is taken for this machine", other)
		}
	}
}

func TestShows(t *testing.T) {
	for header, want := range map[string]bool{
		"Bearer secret": true, "bearer  secret ": true, "Bearer secret2": false, "Bearer": false, "Bearer ": false,
		"": false, "secret": false, "Basic secret": false, "BearerX secret": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", header)
		if got := Shows(r, "secret"); got != want {
			t.Errorf("%q: %t", header, got)
		}
		if Shows(r, "") {
			t.Errorf("%q shows a token that there is none of", header)
		}
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("disk")
	e := &Error{Type: TypeServer, Message: "No.", Cause: cause}
	text, err := json.Marshal(e.Answer())
	if want := `{"error":{"message":"No.","type":"server_error","param":null,"code":null}}`; err != nil ||
		string(text) != want {
		t.Errorf("%s, %v; want %s", text, err, want)
	}
	e.Code, e.Param = "c", "p"
	if text, _ = json.Marshal(e.Answer()); !strings.HasSuffix(string(text), `"param":"p","code":"c"}}`) {
		t.Errorf("%s", text)
	}
	if !errors.Is(e, cause) || !strings.Contains(e.Error(), "disk") {
		t.Errorf("the cause is lost: %v", e)
	}
	if got := Shorten(strings.Repeat("x", 300)); len(got) != shown+3 {
		t.Errorf("%d bytes", len(got))
	}
}
