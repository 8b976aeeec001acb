package gguf

import (
	"fmt"
	"strings"
)

// KeyWarnings is where a converter notes what it found odd, a line for each thing. It so
// stays with the bytes wherever these go.
const KeyWarnings = "loragate.warnings"

// Bounds on what a file says of itself.
const (
	maxWarnings = 8
	maxWarning  = 512 // bytes
)

// warnings says what is odd about an adapter that can be served. The tensors' data was read.
func (h *header) warnings(alpha float64, pairs []*pair) (list []string) {
	var idle []string
	for _, p := range pairs {
		if p.a.zero || p.b.zero {
			idle = append(idle, p.name)
		}
	}
	switch {
	case len(idle) == len(pairs):
		list = append(list, fmt.Sprintf("it changes nothing: in each of its %d pairs lora_a or lora_b is all zeros; "+
			"was it trained, and saved after that?", len(pairs)))
	case len(idle) > 0:
		list = append(list, fmt.Sprintf("%d of its %d pairs change nothing, as lora_a or lora_b is all zeros: %s",
			len(idle), len(pairs), Some(idle)))
	}
	if alpha == 0 {
		list = append(list, keyAlpha+" is 0, which llama.cpp takes as if it were the rank: the scale is 1, not 0")
	}
	var norms []string
	for i := range h.tensors {
		if strings.HasSuffix(h.tensors[i].name, suffixNorm) {
			norms = append(norms, h.tensors[i].name)
		}
	}
	if len(norms) > 0 {
		list = append(list, fmt.Sprintf("llama.cpp passes over %d tensors of norms: %s", len(norms), Some(norms)))
	}
	return append(list, h.said(maxWarnings-len(list))...)
}

// said returns at most so many of the warnings that a converter left in the file.
func (h *header) said(most int) (list []string) {
	for line := range strings.SplitSeq(h.values[KeyWarnings].text, "\n") {
		if len(list) == most {
			break
		}
		if line = strings.ToValidUTF8(line[:min(len(line), maxWarning)], ""); line != "" && printable(line) {
			list = append(list, line)
		}
	}
	return list
}

// Some names the first few of many things.
func Some(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
