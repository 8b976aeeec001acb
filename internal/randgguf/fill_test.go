package randgguf

import (
	"encoding/binary"
	"math"
	"testing"
)

// value returns the number that half encoded.
func value(h uint16) float64 {
	mantissa, exponent := float64(h&0x3ff), int(h>>10&0x1f)
	x := math.Ldexp(mantissa, -24)
	if exponent > 0 {
		x = math.Ldexp(1024+mantissa, exponent-25)
	}
	if h>>15 == 1 {
		x = -x
	}
	return x
}

func TestHalf(t *testing.T) {
	for x, want := range map[float64]uint16{
		0: 0, 1: 0x3c00, -2: 0xc000, 0.5: 0x3800, 65504: 0x7bff, 1e9: 0x7bff, math.Inf(-1): 0xfbff,
		math.Ldexp(1, -14): 0x0400, math.Ldexp(1, -24): 1, math.Ldexp(1023.9, -24): 0x0400,
		math.Ldexp(1, -26): 0, 2047.9 / 1024: 0x4000, 0.1: 0x2e66, -0.001: 0x9419,
	} {
		if got := half(x); got != want {
			t.Errorf("half(%v) = %#04x, want %#04x", x, got, want)
		}
	}
	for h := range uint16(0x7c00) {
		if got := half(value(h)); got != h {
			t.Fatalf("half(%v) = %#04x, want %#04x", value(h), got, h)
		}
	}
}

// weights decodes blocks as llama.cpp does.
func weights(q Quant, data []byte) []float64 {
	var out []float64
	for ; len(data) > 0; data = data[q.bytes:] {
		scale := value(binary.LittleEndian.Uint16(data))
		switch q.Name {
		case "f16":
			out = append(out, scale)
		case "q4_0":
			for _, b := range data[2:18] {
				out = append(out, scale*float64(int(b&15)-8), scale*float64(int(b>>4)-8))
			}
		case "q8_0":
			for _, b := range data[2:34] {
				out = append(out, scale*float64(int8(b)))
			}
		}
	}
	return out
}

func TestWeightsHaveTheirSpread(t *testing.T) {
	for _, q := range []Quant{F16, Q4_0, Q8_0} {
		for _, spread := range []float64{1, 0.25, 1.0 / 96} {
			data := make([]byte, 1<<16/q.elements*q.bytes)
			r := random(7)
			q.fill(data, spread, &r)
			w := weights(q, data)
			var sum, squares float64
			for _, x := range w {
				sum += x
				squares += x * x
			}
			n := float64(len(w))
			if n != 1<<16 {
				t.Fatalf("%s: %v weights in %d bytes", q.Name, n, len(data))
			}
			if mean := sum / n / spread; math.Abs(mean) > 0.02 {
				t.Errorf("%s: a mean of %v spreads", q.Name, mean)
			}
			if got := math.Sqrt(squares/n) / spread; math.Abs(got-1) > 0.02 {
				t.Errorf("%s: a spread of %v times %v", q.Name, got, spread)
			}
		}
	}
}
