package operation

import "math"

// minifloat is a small floating-point format with subnormal numbers, saturating.
type minifloat struct {
	mantissa int // bits after the point
	least    int // exponent of the least normal number
	top      int // exponent of the largest number
	most     float32
}

// The formats of OCP's FP8 and MX specifications.
var (
	e4m3 = minifloat{3, -6, 8, 448}
	e5m2 = minifloat{2, -14, 15, 57344}
	e2m1 = minifloat{1, 0, 2, 6}
)

// fp8 is a format of 8 bits as a config names it.
func fp8(format string) minifloat {
	if format == "e5m2" {
		return e5m2
	}
	return e4m3
}

// nearest rounds to the format, ties to even, or stochastically by u from [0, 1); beyond tells whether x is out of
// range.
func (f *minifloat) nearest(x float32, d *draws, i int) (y float32, beyond bool) {
	e := int(math.Float32bits(x)>>23&0xff) - 127
	e = max(e, f.least) - f.mantissa
	// Both are powers of two between 2^-16 and 2^16 where x is in range; beyond it is clamped anyway.
	up, step := pow2(-e), pow2(e)
	if d == nil {
		y = even(x*up) * step
	} else {
		y = float32(math.Floor(float64(x*up)+d.unit(i))) * step
	}
	if y > f.most {
		return f.most, x > f.most
	}
	if y < -f.most {
		return -f.most, x < -f.most
	}
	return y, false
}

// pow2 is 2^e, e clamped to float32's normal numbers.
func pow2(e int) float32 {
	return math.Float32frombits(uint32(min(max(e, -126), 127)+127) << 23)
}
