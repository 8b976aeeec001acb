package cost

// terms is how many coefficients a fit has at most; those that are not expected to be
// anything stay 0.
const terms = 4

// fit estimates y = c0*x0 + c1*x1 + ... from measurements, of which old ones fade:
// recursive least squares, held to what is expected where the measurements say nothing
// (ridge regression).
type fit struct {
	expected [terms]float64
	// relative scales what is expected to the measurements: it is right in its
	// proportions only.
	relative bool

	weight float64 // of all measurements
	xx     [terms][terms]float64
	xy     [terms]float64
	x      [terms]float64
	y      float64
	coeffs [terms]float64 // the present estimate
}

const (
	// fading is what a measurement's weight is multiplied by with each one after it:
	// the last 50 or so count.
	fading = 0.98
	// priorMeasurements is how many measurements what was expected counts as.
	priorMeasurements = 3
	// outlier is how many times what was expected a measurement may be; more counts as
	// so much. A request that waited for a page fault is no news of the device.
	outlier = 5
)

func newFit(relative bool, expected ...float64) fit {
	f := fit{relative: relative}
	copy(f.expected[:], expected)
	f.coeffs = f.expected
	return f
}

// at returns the estimate at x.
func (f *fit) at(x [terms]float64) (y float64) {
	for i := range x {
		y += f.coeffs[i] * x[i]
	}
	return y
}

// known reports whether there are enough measurements to go by.
func (f *fit) known() bool { return f.weight >= priorMeasurements }

// observe takes in a measurement.
func (f *fit) observe(x [terms]float64, y float64) {
	if f.known() {
		y = min(y, outlier*f.at(x))
	}
	f.weight = fading*f.weight + 1
	f.y = fading*f.y + y
	for i := range x {
		f.x[i] = fading*f.x[i] + x[i]
		f.xy[i] = fading*f.xy[i] + x[i]*y
		for j := range x {
			f.xx[i][j] = fading*f.xx[i][j] + x[i]*x[j]
		}
	}
	f.solve()
}

// solve makes the estimate from the sums: it minimises the squared errors plus those of
// the coefficients against what is expected, each in units of its own term.
func (f *fit) solve() {
	scale := 1.0
	if f.relative {
		expected := 0.0
		for i, e := range f.expected {
			expected += e * f.x[i]
		}
		if expected > 0 && f.y > 0 {
			scale = f.y / expected
		}
	}
	a, b := f.xx, f.xy
	for i := range terms {
		ridge := priorMeasurements * max(f.xx[i][i]/f.weight, 1e-6)
		a[i][i] += ridge
		b[i] += ridge * scale * f.expected[i]
	}
	f.coeffs = solve(a, b)
	for i := range f.coeffs {
		f.coeffs[i] = max(0, f.coeffs[i]) // nothing gets faster by more to do
	}
}

// solve returns the c with a*c = b for a symmetric, positive definite a, by Gaussian
// elimination, which needs no pivoting there.
func solve(a [terms][terms]float64, b [terms]float64) (c [terms]float64) {
	for i := range terms {
		for row := i + 1; row < terms; row++ {
			factor := a[row][i] / a[i][i]
			for col := i; col < terms; col++ {
				a[row][col] -= factor * a[i][col]
			}
			b[row] -= factor * b[i]
		}
	}
	for i := terms - 1; i >= 0; i-- {
		c[i] = b[i]
		for col := i + 1; col < terms; col++ {
			c[i] -= a[i][col] * c[col]
		}
		c[i] /= a[i][i]
	}
	return c
}
