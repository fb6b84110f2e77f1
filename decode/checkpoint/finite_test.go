package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestCheckFinite puts every kind of value at places around block and word ends.
func TestCheckFinite(t *testing.T) {
	t.Parallel()
	f32 := func(bits uint32) []byte { return binary.LittleEndian.AppendUint32(nil, bits) }
	b16 := func(bits uint16) []byte { return binary.LittleEndian.AppendUint16(nil, bits) }
	f64 := func(x float64) []byte { return binary.LittleEndian.AppendUint64(nil, math.Float64bits(x)) }
	for _, tc := range []struct {
		dtype    DType
		filler   []byte
		finite   [][]byte
		infinite [][]byte
	}{
		{
			F32, f32(0xff7fffff), // the most negative float
			[][]byte{f32(0), f32(0x80000000), f32(1), f32(0x7f7fffff)},
			[][]byte{f32(0x7f800000), f32(0xff800000), f32(0x7fc00000), f32(0x7f800001), f32(0xffffffff)},
		},
		{
			BF16, b16(0xff7f),
			[][]byte{b16(0), b16(0x8000), b16(1), b16(0x7f7f)},
			[][]byte{b16(0x7f80), b16(0xff80), b16(0x7fc0), b16(0x7f81), b16(0xffff)},
		},
		{
			F16, b16(0xfbff),
			[][]byte{b16(0), b16(0x8000), b16(1), b16(0x7bff)},
			[][]byte{b16(0x7c00), b16(0xfc00), b16(0x7e00), b16(0x7c01), b16(0xffff)},
		},
		{
			F64, f64(-math.MaxFloat64),
			[][]byte{f64(0), f64(math.SmallestNonzeroFloat64), f64(math.MaxFloat64)},
			[][]byte{f64(math.Inf(1)), f64(math.Inf(-1)), f64(math.NaN())},
		},
	} {
		size := tc.dtype.Size()
		for _, n := range []int{1, 2, 3, 5, 4096/size - 1, 4096 / size, 4096/size + 1, 3*4096/size + 3} {
			for _, at := range []int{0, n / 2, n - 1} {
				data := make([]byte, 0, n*size)
				for range n {
					data = append(data, tc.filler...)
				}
				for _, v := range tc.finite {
					copy(data[at*size:], v)
					_, a, _ := openOne(t, tc.dtype, data)
					if err := a.CheckFinite(); err != nil {
						t.Errorf("%s, %d of %d: %v", tc.dtype, at, n, err)
					}
				}
				for _, v := range tc.infinite {
					copy(data[at*size:], v)
					_, a, path := openOne(t, tc.dtype, data)
					wantError(t, a.CheckFinite(), path, `"a"`, fmt.Sprintf("element %d of %d", at, n))
				}
			}
		}
	}
	_, ints, _ := openOne(t, "I32", f32(0xffffffff))
	if err := ints.CheckFinite(); err != nil {
		t.Error(err)
	}
	_, eighth, _ := openOne(t, "F8_E4M3", []byte{0})
	wantError(t, eighth.CheckFinite(), "F8_E4M3", "convert")
}

// TestFirstBadAgrees compares with the standard library on random bits.
func TestFirstBadAgrees(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	hits := 0
	for range 2000 {
		data := make([]byte, 4*(1+rng.IntN(40)))
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		want := -1
		for i := 0; i < len(data); i += 4 {
			x := float64(math.Float32frombits(binary.LittleEndian.Uint32(data[i:])))
			if math.IsNaN(x) || math.IsInf(x, 0) {
				want = i / 4
				hits++
				break
			}
		}
		if got := lanesF32.firstBad(data); got != want {
			t.Fatalf("%x: element %d, want %d", data, got, want)
		}
	}
	if hits < 20 {
		t.Fatalf("only %d arrays had a value to find", hits)
	}
}
