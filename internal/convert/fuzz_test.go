package convert

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzReadHeader tests that no file makes the reader panic or lets a tensor
// reach beyond the file.
func FuzzReadHeader(f *testing.F) {
	for name := range fixtures {
		content, err := os.ReadFile(filepath.Join("testdata", name, weightsFile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, content []byte) {
		size := int64(len(content))
		tensors, err := readHeader(bytes.NewReader(content), size)
		if err != nil {
			atFault(t, err)
			return
		}
		for _, s := range tensors {
			if s.offset < 8 || s.bytes < 0 || s.offset+s.bytes > size {
				t.Errorf("%+v in a file of %d bytes", s, size)
			}
			if n := int64(s.kind.width()); n == 0 || s.bytes%n != 0 {
				t.Errorf("%+v: no whole elements", s)
			}
		}
	})
}

// FuzzConvert tests that whatever the two files say ends in a file that another
// reader takes, or in a refusal.
func FuzzConvert(f *testing.F) {
	for name := range fixtures {
		config, err := os.ReadFile(filepath.Join("testdata", name, configFile))
		if err != nil {
			f.Fatal(err)
		}
		weights, err := os.ReadFile(filepath.Join("testdata", name, weightsFile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(config, weights)
	}
	f.Fuzz(func(t *testing.T, config, weights []byte) {
		if len(weights) == 0 {
			return
		}
		out := filepath.Join(t.TempDir(), "out.gguf")
		err := Convert(t.Context(), Options{Dir: folder(t, string(config), weights), Base: baseOf(t, "llama"), Out: out})
		if err != nil {
			atFault(t, err)
			return
		}
		for name, v := range readGGUF(t, out).tensors {
			if len(v.data) == 0 {
				t.Errorf("tensor %s is empty", name)
			}
		}
	})
}

// atFault checks that the adapter is blamed.
func atFault(t *testing.T, err error) {
	t.Helper()
	_, refused := errors.AsType[*Unsupported](err)
	_, broken := errors.AsType[*Malformed](err)
	if (!refused && !broken) || err.Error() == "" {
		t.Errorf("%v is a %T", err, err)
	}
}
