package philox

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The known-answer vectors that Random123 publishes for philox4x32 with 10 rounds (tests/kat_vectors).
func TestKnownAnswerVectors(t *testing.T) {
	t.Parallel()
	const ff = 0xffffffff
	for _, c := range []struct {
		ctr  Counter
		key  Key
		want [4]uint32
	}{
		{Counter{}, 0, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{Counter{ff, ff, ff, ff}, 0xffffffffffffffff, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{
			Counter{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
			0x299f31d0a4093822,
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		},
	} {
		if diff := cmp.Diff(c.want, Words(c.ctr, c.key)); diff != "" {
			t.Errorf("Words(%x, %x) differs from Random123 (-want +got):\n%s", c.ctr, c.key, diff)
		}
	}
}

func TestKeysDifferByEveryArgument(t *testing.T) {
	t.Parallel()
	seen := map[Key]string{}
	for _, d := range []Domain{
		Weight, Activation, Output, Sample, CalibrationWeight, CalibrationActivation,
		CalibrationOutput, CalibrationSample,
	} {
		for _, seed := range []uint64{0, 1, 42} {
			for r := range 3 {
				for _, of := range []string{"", "0", "1", "12"} {
					k := NewKey(d, seed, r, of)
					if was, dup := seen[k]; dup {
						t.Fatalf("key of (%s %d %d %q) is that of %s", d, seed, r, of, was)
					}
					seen[k] = string(d) + of
				}
			}
		}
	}
	if got, want := NewKey(Activation, 42, 0, "7"), NewKey(Activation, 42, 0, "7"); got != want {
		t.Fatalf("the same arguments gave %x and %x", got, want)
	}
}

func TestUniformAndNormalsStayFiniteAtTheEnds(t *testing.T) {
	t.Parallel()
	for _, w := range []uint32{0, 1, 255, 256, math.MaxUint32 - 1, math.MaxUint32} {
		if u := Uniform(w); u <= 0 || u >= 1 {
			t.Errorf("Uniform(%d) = %v, outside (0, 1)", w, u)
		}
		if g := Gumbel(w); math.IsInf(g, 0) || math.IsNaN(g) {
			t.Errorf("Gumbel(%d) = %v", w, g)
		}
		for _, n := range Normals([4]uint32{w, w, w, ^w}) {
			if math.IsInf(n, 0) || math.IsNaN(n) || math.Abs(n) > 5.78 {
				t.Errorf("a normal of word %d is %v", w, n)
			}
		}
	}
}
