package llamatest

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
)

// LeaveAt posts a body to a URL, reads the stream that answers until one of its lines has the
// text, and leaves. It returns the head of the answer.
func LeaveAt(t testing.TB, url, body, text string) http.Header {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan() && !strings.Contains(lines.Text(), text); {
	}
	return resp.Header
}
