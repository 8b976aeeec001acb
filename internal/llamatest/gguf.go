package llamatest

import (
	encoding "encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// donor is a demo adapter's file with the places of what variants change.
type donor struct {
	data    []byte
	alpha   int    // where the 4 bytes of adapter.lora.alpha are
	tensors []span // in the order of the file
}

// span is where a tensor's weights are, 16-bit floats all.
type span struct {
	name       string
	dims       int // where its two sizes are, 8 bytes each, the columns' first
	begin, end int
}

var readDonors = sync.OnceValues(func() ([]donor, error) {
	var all []donor
	for _, name := range []string{"chat", "coding", "legal", "medical"} {
		data, err := os.ReadFile(filepath.Join(Root(), "deploy", "demo", "adapters", name+".gguf"))
		if err != nil {
			return nil, err
		}
		d, err := parseDonor(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, d)
		if !slices.EqualFunc(d.tensors, all[0].tensors, sameWeights) {
			return nil, fmt.Errorf("%s: its tensors do not lie where those of chat do", name)
		}
	}
	return all, nil
})

// sameWeights tells whether tensors of two files are interchangeable.
func sameWeights(a, b span) bool { return a.name == b.name && a.end-a.begin == b.end-b.begin }

// donors returns the demo adapters of one shape. Nobody may change them.
func donors(t testing.TB) []donor {
	t.Helper()
	d, err := readDonors()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d donor) weights(i int) []byte { return d.data[d.tensors[i].begin:d.tensors[i].end] }

// cursor reads a GGUF's header. It trusts the file: the demo's are ours.
type cursor struct {
	data []byte
	at   int
}

func (c *cursor) uint32() uint32 {
	c.at += 4
	return encoding.LittleEndian.Uint32(c.data[c.at-4:])
}

func (c *cursor) uint64() int {
	c.at += 8
	return int(encoding.LittleEndian.Uint64(c.data[c.at-8:]))
}

func (c *cursor) text() string {
	n := c.uint64()
	c.at += n
	return string(c.data[c.at-n : c.at])
}

// parseDonor finds the places in a file whose metadata are strings and 32-bit
// numbers and whose tensors are pairs of 16-bit matrices.
func parseDonor(data []byte) (donor, error) {
	const typeString, typeF16, alignment = 8, 1, 32
	d := donor{data: data}
	c := &cursor{data: data, at: len("GGUF") + 4}
	tensors, keys := c.uint64(), c.uint64()
	for range keys {
		key := c.text()
		if c.uint32() == typeString {
			c.text()
			continue
		}
		if key == "adapter.lora.alpha" {
			d.alpha = c.at
		}
		c.at += 4
	}
	for range tensors {
		s := span{name: c.text()}
		size := 2
		if n := c.uint32(); n != 2 {
			return d, fmt.Errorf("%s has %d dimensions, not 2", s.name, n)
		}
		s.dims = c.at
		size *= c.uint64() * c.uint64()
		if kind := c.uint32(); kind != typeF16 {
			return d, fmt.Errorf("%s is of type %d, not of 16-bit floats", s.name, kind)
		}
		s.begin = c.uint64()
		s.end = s.begin + size
		d.tensors = append(d.tensors, s)
	}
	begin := (c.at + alignment - 1) / alignment * alignment
	for i := range d.tensors {
		s := &d.tensors[i]
		s.begin, s.end = s.begin+begin, s.end+begin
		if i%2 == 1 && strings.TrimSuffix(s.name, "b") != strings.TrimSuffix(d.tensors[i-1].name, "a") {
			return d, fmt.Errorf("%s does not follow its A", s.name)
		}
	}
	return d, nil
}

// narrower returns an adapter for a model of half the width: every A has half of
// its columns and twice the rank, every B twice the rank and half of its rows.
func (d donor) narrower() []byte {
	out := slices.Clone(d.data)
	for i, s := range d.tensors {
		first, second := out[s.dims:s.dims+8], out[s.dims+8:s.dims+16]
		if i%2 == 1 {
			first, second = second, first
		}
		encoding.LittleEndian.PutUint64(first, encoding.LittleEndian.Uint64(first)/2)
		encoding.LittleEndian.PutUint64(second, encoding.LittleEndian.Uint64(second)*2)
	}
	return out
}

func putUint32(b []byte, v uint32) { encoding.LittleEndian.PutUint32(b, v) }
