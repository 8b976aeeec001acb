package whole

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/loragate/loragate/internal/rawjson"
	"github.com/loragate/loragate/internal/upstream"
)

// Worker is what an Assembly asks for what events leave out.
type Worker interface {
	Forward(ctx context.Context, path string, body []byte) (*upstream.Response, error)
}

// cutText returns the ids of a text's tokens; the text is a JSON string.
func cutText(ctx context.Context, w Worker, text []byte) ([][]byte, error) {
	var answer struct{ Tokens json.RawMessage }
	body := slices.Concat([]byte(`{"content":`), text, []byte(`,"add_special":false,"parse_special":false}`))
	err := ask(ctx, w, "/tokenize", body, &answer)
	return rawjson.Elements(answer.Tokens), err
}

// ask asks a worker for something small.
func ask(ctx context.Context, w Worker, path string, body []byte, to any) error {
	resp, err := w.Forward(ctx, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.Status != http.StatusOK {
		return fmt.Errorf("%s: status %d", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(to)
}
