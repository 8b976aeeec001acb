package randgguf

import (
	"encoding/binary"
	"math"
)

// Quant is how weights are stored.
type Quant struct {
	Name     string
	code     uint32 // ggml's number of the type
	fileType uint32 // llama.cpp's number of a file of mostly that type
	elements int    // in a block
	bytes    int    // of a block
	// fill writes whole blocks of random weights with a mean of 0 and a standard
	// deviation of spread.
	fill func(dst []byte, spread float64, r *random)
}

// The ways to store weights. A zeroed block is of zero weights in each.
var (
	F32  = Quant{Name: "f32", code: 0, fileType: 0, elements: 1, bytes: 4, fill: fillF32}
	F16  = Quant{Name: "f16", code: 1, fileType: 1, elements: 1, bytes: 2, fill: fillF16}
	Q4_0 = Quant{Name: "q4_0", code: 2, fileType: 2, elements: 32, bytes: 18, fill: fillQ4}
	Q8_0 = Quant{Name: "q8_0", code: 8, fileType: 7, elements: 32, bytes: 34, fill: fillQ8}
	// ones is of norms, which are not random.
	ones = Quant{Name: "f32", code: 0, elements: 1, bytes: 4, fill: fillOnes}
)

// random is SplitMix64: fast, and good enough for weights.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix(uint64(*r))
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// The deviation of the 256 evenly spaced values -127.5, -126.5 to 127.5, from
// which fillF32 and fillF16 take each weight.
const deviation = 73.9

func fillF32(dst []byte, spread float64, r *random) {
	for len(dst) > 0 {
		bits := r.next()
		for range min(8, len(dst)/4) {
			value := (float64(bits&0xff) - 127.5) / deviation * spread
			binary.LittleEndian.PutUint32(dst, math.Float32bits(float32(value)))
			dst, bits = dst[4:], bits>>8
		}
	}
}

func fillF16(dst []byte, spread float64, r *random) {
	var values [256]uint16
	for i := range values {
		values[i] = half((float64(i) - 127.5) / deviation * spread)
	}
	for len(dst) > 0 {
		bits := r.next()
		for range min(8, len(dst)/2) {
			binary.LittleEndian.PutUint16(dst, values[bits&0xff])
			dst, bits = dst[2:], bits>>8
		}
	}
}

// fillQ4 and fillQ8 give every block the same scale, of random sign: stored
// numbers have a mean of -1/2, which would add up over thousands of inputs if it
// had the same sign everywhere.

func fillQ4(dst []byte, spread float64, r *random) {
	const deviation = 4.637 // of -8, -7 to 7
	scale := half(spread / deviation)
	for ; len(dst) > 0; dst = dst[18:] {
		binary.LittleEndian.PutUint16(dst, scale|uint16(r.next()>>63)<<15)
		binary.LittleEndian.PutUint64(dst[2:], r.next())
		binary.LittleEndian.PutUint64(dst[10:], r.next())
	}
}

func fillQ8(dst []byte, spread float64, r *random) {
	const deviation = 73.9 // of -128, -127 to 127
	scale := half(spread / deviation)
	for ; len(dst) > 0; dst = dst[34:] {
		binary.LittleEndian.PutUint16(dst, scale|uint16(r.next()>>63)<<15)
		for i := 2; i < 34; i += 8 {
			binary.LittleEndian.PutUint64(dst[i:], r.next())
		}
	}
}

func fillOnes(dst []byte, _ float64, _ *random) {
	for ; len(dst) > 0; dst = dst[4:] {
		binary.LittleEndian.PutUint32(dst, math.Float32bits(1))
	}
}

// half returns the nearest number of 16 bits in IEEE 754's form; one that is too
// large becomes the largest.
func half(x float64) uint16 {
	const largest = 65504
	var sign uint16
	if math.Signbit(x) {
		sign, x = 1<<15, -x
	}
	x = min(x, largest)
	fraction, exponent := math.Frexp(x) // fraction in [1/2, 1)
	if x == 0 || exponent < -13 {       // zero or subnormal: a multiple of 2^-24
		return sign | uint16(math.RoundToEven(math.Ldexp(x, 24)))
	}
	// A mantissa that is rounded up to 2048 carries into the exponent, as it should.
	mantissa := uint16(math.RoundToEven(math.Ldexp(fraction, 11)))
	return sign | (uint16(exponent+13)<<10 + mantissa)
}
