package proxy_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestPagesAreNotServedWithoutKeys sends what a browser sends for a page of somebody
// else, and for one whose name was made to point here.
func TestPagesAreNotServedWithoutKeys(t *testing.T) {
	t.Parallel()
	closed := start(t, func(s *settings) { s.local, s.hosts = true, []string{"llm.lan"} })
	open := start(t, func(s *settings) { s.origins = []string{"https://*.example"} })
	all := start(t, func(s *settings) { s.origins = []string{"*"} })
	for _, c := range []struct {
		what   string
		s      *stack
		method string
		header []string
		code   string // "" is served
	}{
		{"no browser", closed, "POST", nil, ""},
		{"another site", closed, "POST", []string{"Sec-Fetch-Site", "cross-site"}, "cross_origin"},
		{"another host of the site", closed, "POST", []string{"Sec-Fetch-Site", "same-site"}, "cross_origin"},
		{"an old browser", closed, "POST", []string{"Origin", "https://evil.example"}, "cross_origin"},
		{"a sandbox", closed, "POST", []string{"Origin", "null"}, "cross_origin"},
		{"another port", closed, "POST", []string{"Host", "localhost:1", "Origin", "http://localhost:2"}, "cross_origin"},
		{"itself", closed, "POST", []string{"Host", "localhost:1", "Origin", "http://localhost:1"}, ""},
		{"typed in", closed, "GET", []string{"Sec-Fetch-Site", "none"}, ""},
		{"a name made to point here", closed, "GET", []string{"Host", "evil.example"}, "host_not_allowed"},
		{"the same, in a change", closed, "POST", []string{"Host", "evil.example:8080", "Sec-Fetch-Site", "same-origin"},
			"host_not_allowed"},
		{"a name that looks like an address", closed, "GET", []string{"Host", "127.0.0.1.evil.example"}, "host_not_allowed"},
		{"another machine's address", closed, "GET", []string{"Host", "10.0.0.1"}, "host_not_allowed"},
		{"localhost", closed, "GET", []string{"Host", "LocalHost.:8080"}, ""},
		{"127.1.2.3", closed, "GET", []string{"Host", "127.1.2.3"}, ""},
		{"IPv6", closed, "GET", []string{"Host", "[::1]:8080"}, ""},
		{"a name that is known", closed, "GET", []string{"Host", "LLM.lan:8080"}, ""},
		{"a page that may", open, "POST", []string{"Origin", "https://app.example", "Sec-Fetch-Site", "cross-site"}, ""},
		{"a page that may not", open, "POST", []string{"Origin", "https://app.example.evil"}, "cross_origin"},
		{"any host", open, "GET", []string{"Host", "gateway.example"}, ""},
		{"any page", all, "POST", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, ""},
	} {
		path, body := "/v1/models", ""
		if c.method == "POST" {
			path, body = chatPath, chat("coding", "Hi", "")
		}
		status, text := c.s.call(c.method, path, body, c.header...)
		if served := status == http.StatusOK; served != (c.code == "") || !strings.Contains(text, c.code) {
			t.Errorf("%s: %d %s", c.what, status, text)
		}
	}
}
