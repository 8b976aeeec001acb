package worker

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// TestManyAdapters has a worker load thousands of files, with more names than one argument
// can have, and looks at what that takes in its directory.
func TestManyAdapters(t *testing.T) {
	const files = 4000
	opts, dir := fakeOptions(t), t.TempDir()
	opts.Adapters = nil
	for i := range files {
		path := filepath.Join(dir, fmt.Sprintf("%064d.gguf", i))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		opts.Adapters = append(opts.Adapters, path)
	}
	w, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	made, err := os.ReadDir(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != 3 { // socket, slots, a link to the folder
		t.Errorf("%d files were made for the worker", len(made))
	}
	if got, err := w.LoRA([]Part{{Path: opts.Adapters[files-1], Scale: 1}}); err != nil ||
		!strings.Contains(string(got), fmt.Sprint(files-1)) {
		t.Errorf("the last one is %s, %v", got, err)
	}
}

// TestNamesOfAdapters has the real llama-server load files whose names --lora cannot be
// told as they are.
func TestNamesOfAdapters(t *testing.T) {
	opts, content := fakeOptions(t), llamatest.VariantBytes(t, 1)
	opts.Command, opts.Model, opts.Adapters = llamatest.Binary(t), llamatest.Base(), nil
	for _, folder := range []string{"one", "two, with: a comma"} {
		dir := filepath.Join(t.TempDir(), folder)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"plain.gguf", "a,b.gguf", "a:2.gguf", `"quoted".gguf`, "with space.gguf"} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			opts.Adapters = append(opts.Adapters, path)
		}
	}
	w, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	w.Stop()
}

// TestRepeatedLora is what TestManyAdapters leans on in the real llama-server: it loads the
// files of every --lora, in their order.
func TestRepeatedLora(t *testing.T) {
	files := llamatest.Variants(t, 3)
	s := llamatest.StartPlain(t, "--model", llamatest.Base(), "--lora", files[2]+","+files[0], "--lora", files[1])
	var loaded []struct{ Path string }
	s.Must(t, http.MethodGet, "/lora-adapters", nil, &loaded)
	want := []struct{ Path string }{{files[2]}, {files[0]}, {files[1]}}
	if !slices.Equal(loaded, want) {
		t.Errorf("loaded %v, want %v", loaded, want)
	}
}

// TestTooManyNames are no file's fault.
func TestTooManyNames(t *testing.T) {
	opts := fakeOptions(t, strings.Repeat("x", 200<<10))
	_, err := Start(t.Context(), opts)
	if !TooMuch(err) {
		t.Errorf("%v is not told from other failures ", err)
	}
}
