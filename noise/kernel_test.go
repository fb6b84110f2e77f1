package noise

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// normalTolerance bounds the difference of float32 normals from the float64 ones.
const normalTolerance = 2e-6

func start(t testing.TB, threads int) *torch.Worker {
	t.Helper()
	w, err := torch.Start(threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func do(t testing.TB, w *torch.Worker, f func(*torch.Scope)) {
	t.Helper()
	if err := w.Do(func(s *torch.Scope) error { f(s); return nil }); err != nil {
		t.Fatal(err)
	}
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// gaussian is a matrix of normals with the mean and standard deviation given.
func gaussian(r *rand.Rand, n int, mean, std float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(mean + std*r.NormFloat64())
	}
	return v
}

// implementations names the two generators of internal/torch.
var implementations = map[string]bool{"fused": false, "plain operations": true}

func TestPhiloxWordsAreThoseOfGo(t *testing.T) {
	t.Parallel()
	w, r := start(t, 1), random(1)
	type stream struct {
		blocks             int
		block0, c1, c2, c3 uint32
		key                uint64
	}
	streams := []stream{
		{blocks: 1},
		{33, math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint64}, // the block counter wraps
		{100, math.MaxUint32 - 31, 1, 2, 3, 1 << 63},
		{70, math.MaxUint32 - 40, 0x80000000, 0x80000000, 0x80000000, 0x8000000080000000},
		{65, 0x7fffffe0, 0, 0, 0, 0x00000000ffffffff}, // and its sign bit
		{40, 0, 0, 0, 0, 0xffffffff00000000},
	}
	for _, n := range []int{2, 3, 31, 32, 33, 63, 64, 65, 95, 257, 1000} {
		streams = append(streams, stream{n, r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32(), r.Uint64()})
	}
	for _, c := range streams {
		want := make([]uint32, 0, 4*c.blocks)
		for b := range c.blocks {
			block := philox.Words(philox.Counter{c.block0 + uint32(b), c.c1, c.c2, c.c3}, philox.Key(c.key))
			want = append(want, block[:]...)
		}
		for name, reference := range implementations {
			got := make([]uint32, 4*c.blocks)
			do(t, w, func(s *torch.Scope) {
				s.Fail(torch.PhiloxWords(got, c.block0, c.c1, c.c2, c.c3, c.key,
					reference))
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: words of %+v differ (-Go +libtorch):\n%s", name, c, diff)
			}
		}
	}
}

func TestNormalsAreThoseOfGo(t *testing.T) {
	t.Parallel()
	w := start(t, 1)
	for name, reference := range implementations {
		r, worst, far := random(2), 0.0, 0.0
		for _, blocks := range []int{1, 5, 31, 32, 33, 100, 30000} {
			block0, c1, c2, c3, key := r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32(), r.Uint64()
			if blocks == 100 {
				block0 = math.MaxUint32 - 50
			}
			got := make([]float32, 4*blocks)
			do(t, w, func(s *torch.Scope) { s.Fail(torch.Normals(got, block0, c1, c2, c3, key, reference)) })
			for b := range blocks {
				for j, want := range philox.Normals(philox.Words(philox.Counter{block0 + uint32(b), c1, c2, c3},
					philox.Key(key))) {
					d := math.Abs(float64(got[4*b+j]) - want)
					if !(d <= normalTolerance) {
						t.Fatalf("%s: normal %d of block %d is %v, in Go %v", name, j, b, got[4*b+j], want)
					}
					worst, far = max(worst, d), max(far, math.Abs(want))
				}
			}
		}
		t.Logf("%s: within %.1e of float64 up to |normal| = %.2f", name, worst, far)
	}
}

// batch is rows of activations with all that their noise depends on.
type batch struct {
	d    int
	x    []float32
	rows torch.NoiseRows
}

func newBatch(r *rand.Rand, rows, d int) batch {
	b := batch{d: d, x: gaussian(r, rows*d, 0.3, 1.5)}
	for range rows {
		b.rows.Spread = append(b.rows.Spread, float32(0.1+3*r.Float64()))
		b.rows.Keys = append(b.rows.Keys, r.Uint64())
		b.rows.Positions = append(b.rows.Positions, r.Uint32N(5000))
		b.rows.Steps = append(b.rows.Steps, r.Uint32N(3))
	}
	return b
}

// pick is the batch of some of the rows, in that order.
func (b batch) pick(order ...int) batch {
	p := batch{d: b.d}
	for _, r := range order {
		p.x = append(p.x, b.x[r*b.d:(r+1)*b.d]...)
		p.rows.Spread = append(p.rows.Spread, b.rows.Spread[r])
		p.rows.Keys = append(p.rows.Keys, b.rows.Keys[r])
		p.rows.Positions = append(p.rows.Positions, b.rows.Positions[r])
		p.rows.Steps = append(p.rows.Steps, b.rows.Steps[r])
	}
	return p
}

func (b batch) noise(t testing.TB, w *torch.Worker, scale float64, site uint32, reference bool) (y []float32,
	sumsq []float64,
) {
	t.Helper()
	n := len(b.rows.Keys)
	y, sumsq = make([]float32, len(b.x)), make([]float64, n)
	do(t, w, func(s *torch.Scope) {
		x := s.Floats(b.x, []int64{int64(n), int64(b.d)}, torch.CPU)
		s.ReadFloats(s.Noise(x, scale, site, b.rows, sumsq, reference), y)
		after := make([]float32, len(b.x))
		s.ReadFloats(x, after)
		if !slices.Equal(after, b.x) {
			t.Error("the input itself was changed")
		}
	})
	return y, sumsq
}

// TestActivationNoise holds both implementations against the formula in Go.
func TestActivationNoise(t *testing.T) {
	t.Parallel()
	w, r := start(t, 1), random(3)
	const scale, site = 0.7, 0xfffffff1
	for _, d := range []int{1, 3, 4, 127, 128, 129, 896} {
		b := newBatch(r, 9, d)
		b.rows.Spread[4] = 0
		for name, reference := range implementations {
			y, sumsq := b.noise(t, w, scale, site, reference)
			for i := range 9 {
				sum, amp := 0.0, scale*float64(b.rows.Spread[i])
				for e := range d {
					c := philox.Counter{uint32(e / 4), b.rows.Positions[i], site, b.rows.Steps[i]}
					change := amp * philox.Normals(philox.Words(c, philox.Key(b.rows.Keys[i])))[e%4]
					want := float64(b.x[i*d+e]) + change
					sum += change * change
					// The normal's tolerance, and the rounding of a product and a sum to float32.
					if tol := amp*normalTolerance +
						1.2e-7*(math.Abs(want)+math.Abs(change)); !(math.Abs(float64(y[i*d+e])-want) <= tol) {
						t.Fatalf("%s, %d wide: element %d of row %d is %v, want %v", name, d, e, i, y[i*d+e], want)
					}
				}
				if !(math.Abs(sumsq[i]-sum) <= 2e-5*sum+1e-6*amp*math.Sqrt(sum)) {
					t.Errorf("%s, %d wide: the squares of row %d's change sum to %v, want %v", name, d, i, sumsq[i],
						sum)
				}
				if amp == 0 && (sumsq[i] != 0 || !slices.Equal(y[i*d:(i+1)*d], b.x[i*d:(i+1)*d])) {
					t.Errorf("%s, %d wide: a row without spread changed", name, d)
				}
			}
		}
	}
}

func TestActivationNoiseOfARowIsItsOwn(t *testing.T) {
	t.Parallel()
	one, two, r := start(t, 1), start(t, 2), random(4)
	const rows, d = 64, 901 // enough for two threads, and no multiple of anything
	b := newBatch(r, rows, d)
	y, sumsq := b.noise(t, one, 0.5, 3, false)
	same := func(what string, got []float32, gotsq []float64, order []int) {
		t.Helper()
		for i, from := range order {
			if !slices.Equal(got[i*d:(i+1)*d], y[from*d:(from+1)*d]) || gotsq[i] != sumsq[from] {
				t.Fatalf("%s: row %d differs from what it was as row %d of %d", what, i, from, rows)
			}
		}
	}
	all := make([]int, rows)
	for i := range all {
		all[i] = i
	}
	gotY, gotSq := b.noise(t, two, 0.5, 3, false)
	same("two threads", gotY, gotSq, all)
	order := r.Perm(rows)
	gotY, gotSq = b.pick(order...).noise(t, two, 0.5, 3, false)
	same("another order", gotY, gotSq, order)
	gotY, gotSq = b.pick(17).noise(t, one, 0.5, 3, false)
	same("alone", gotY, gotSq, []int{17})

	// Other neighbours, at the same place.
	other := newBatch(r, rows, d)
	copy(other.x[17*d:18*d], b.x[17*d:18*d])
	other.rows.Spread[17], other.rows.Keys[17], other.rows.Positions[17], other.rows.Steps[17] = b.rows.Spread[17],
		b.rows.Keys[17], b.rows.Positions[17], b.rows.Steps[17]
	gotY, gotSq = other.noise(t, two, 0.5, 3, false)
	same("other neighbours", gotY[17*d:18*d], gotSq[17:18], []int{17})

	// Whatever a draw is for changes it.
	for what, change := range map[string]func(*batch, *uint32){
		"key":      func(b *batch, _ *uint32) { b.rows.Keys[0]++ },
		"high key": func(b *batch, _ *uint32) { b.rows.Keys[0] ^= 1 << 40 },
		"position": func(b *batch, _ *uint32) { b.rows.Positions[0]++ },
		"step":     func(b *batch, _ *uint32) { b.rows.Steps[0]++ },
		"site":     func(_ *batch, site *uint32) { *site++ },
	} {
		p, site := b.pick(17), uint32(3)
		change(&p, &site)
		got, _ := p.noise(t, one, 0.5, site, false)
		equal := 0
		for e := range d {
			if got[e] == y[17*d+e] {
				equal++
			}
		}
		if equal > d/100 {
			t.Errorf("another %s leaves %d of %d elements as they were", what, equal, d)
		}
	}
}

func TestActivationNoiseKeepsTheType(t *testing.T) {
	t.Parallel()
	w, r := start(t, 1), random(5)
	b := newBatch(r, 6, 40)
	do(t, w, func(s *torch.Scope) {
		x := s.To(s.Floats(b.x, []int64{6, 40}, torch.CPU), torch.BFloat16)
		fused, plain := make([]float64, 6), make([]float64, 6)
		before, after := make([]float32, 240), make([]float32, 240)
		s.ReadFloats(x, before)
		s.ReadFloats(s.Noise(x, 0.5, 1, b.rows, fused, false), after)
		s.Noise(x, 0.5, 1, b.rows, plain, true)
		if diff := cmp.Diff(plain, fused); diff != "" {
			t.Errorf("bfloat16 has two implementations (-plain +other):\n%s", diff)
		}
		for i := range 6 {
			sum := 0.0
			for e := range 40 {
				d := float64(after[40*i+e] - before[40*i+e])
				sum += d * d
			}
			// What is accounted for is what was added after rounding.
			if math.Abs(sum-plain[i]) > 1e-9*sum || sum == 0 {
				t.Errorf("row %d: the squares of the change sum to %v, reported %v", i, sum, plain[i])
			}
		}
	})
}

// spreadOf is the unbiased standard deviation, or the largest magnitude, in float64.
func spreadOf(x []float32, absmax bool) float64 {
	sum, top := 0.0, 0.0
	for _, v := range x {
		sum += float64(v)
		top = max(top, math.Abs(float64(v)))
	}
	if absmax {
		return top
	}
	mean, sq := sum/float64(len(x)), 0.0
	for _, v := range x {
		sq += (float64(v) - mean) * (float64(v) - mean)
	}
	return math.Sqrt(sq / float64(len(x)-1))
}

func TestSpreadIsOverEachGroup(t *testing.T) {
	t.Parallel()
	w, two, r := start(t, 1), start(t, 2), random(6)
	for _, c := range []struct {
		rows, d int
		groups  []int32
	}{
		{1, 5, []int32{0, 1}},
		{1, 2, []int32{0, 1}},
		{4, 1, []int32{0, 4}},
		{7, 33, []int32{0, 3, 4, 7}},
		{7, 33, []int32{2, 5}}, // rows outside the groups do not count
		{50, 896, []int32{0, 1, 20, 50}},
	} {
		// A mean far from 0 breaks the difference of the mean square and the squared mean.
		for _, mean := range []float64{0, 1000} {
			x := gaussian(r, c.rows*c.d, mean, 0.5)
			for _, absmax := range []bool{false, true} {
				for _, dt := range []torch.DType{torch.Float32, torch.BFloat16} {
					values, got, again := make([]float32, len(x)), make([]float32, len(c.groups)-1),
						make([]float32, len(c.groups)-1)
					do(t, w, func(s *torch.Scope) {
						in := s.To(s.Floats(x, []int64{int64(c.rows), int64(c.d)}, torch.CPU), dt)
						s.ReadFloats(in, values)
						s.Spread(got, in, c.groups, absmax)
					})
					for g := range got {
						want := spreadOf(values[int(c.groups[g])*c.d:int(c.groups[g+1])*c.d], absmax)
						if !(math.Abs(float64(got[g])-want) <= 1e-6*want) {
							t.Errorf("%d x %d of mean %v, %v, absmax %v: spread of group %d is %v, want %v", c.rows,
								c.d, mean, dt, absmax, g, got[g], want)
						}
					}
					do(t, two, func(s *torch.Scope) {
						s.Spread(again, s.To(s.Floats(x, []int64{int64(c.rows), int64(c.d)}, torch.CPU), dt), c.groups,
							absmax)
					})
					if dt == torch.Float32 && !slices.Equal(got, again) {
						t.Errorf("%d x %d: spread is %v with one thread, %v with two", c.rows, c.d, got, again)
					}
				}
			}
		}
	}
	// One element has no standard deviation; it is not perturbed.
	do(t, w, func(s *torch.Scope) {
		for _, dt := range []torch.DType{torch.Float32, torch.BFloat16} {
			got := []float32{1, 1}
			s.Spread(got, s.To(s.Floats([]float32{3, 4}, []int64{2, 1}, torch.CPU), dt), []int32{0, 1, 2}, false)
			if diff := cmp.Diff([]float32{0, 0}, got); diff != "" {
				t.Errorf("%v: spread of single elements (-want +got):\n%s", dt, diff)
			}
		}
	})
}

// TestWeightNoise holds both implementations against the formula in Go.
func TestWeightNoise(t *testing.T) {
	t.Parallel()
	w, r := start(t, 1), random(7)
	const scale = 0.3
	for _, shape := range [][]int64{{1}, {7}, {5, 3}, {1, 9}, {33, 130}, {64, 126}, {300, 257}} {
		n, rows := int(shape[0]), 1
		if len(shape) > 1 {
			n, rows = int(shape[0]*shape[1]), int(shape[0])
		}
		x, key := gaussian(r, n, -0.2, 0.6), r.Uint64()
		for _, absmax := range []bool{false, true} {
			for _, perRow := range []bool{false, true} {
				groups := 1
				if perRow {
					groups = rows
				}
				d := n / groups
				amp, spread2 := make([]float64, groups), 0.0
				for g := range groups {
					if d > 1 || absmax {
						amp[g] = spreadOf(x[g*d:(g+1)*d], absmax)
					}
					spread2 += amp[g] * amp[g]
				}
				sum := 0.0
				want := make([]float64, n)
				for i := range want {
					change := scale * amp[i/d] * philox.Normals(philox.Words(philox.Counter{uint32(i / 4)},
						philox.Key(key)))[i%4]
					want[i] = float64(x[i]) + change
					sum += change * change
				}
				for name, reference := range implementations {
					got := make([]float32, n)
					var sumsq, spread float64
					do(t, w, func(s *torch.Scope) {
						weight := s.Floats(x, shape, torch.CPU)
						sumsq, spread = s.WeightNoise(weight, scale, absmax, perRow, key, reference)
						s.ReadFloats(weight, got)
					})
					what := func() string {
						return name + map[bool]string{false: ", std", true: ", absmax"}[absmax] +
							map[bool]string{false: ", per tensor", true: ", per row"}[perRow]
					}
					for i := range want {
						if tol := scale*amp[i/d]*2*normalTolerance +
							2.4e-7*(math.Abs(want[i])+amp[i/d]); !(math.Abs(float64(got[i])-want[i]) <= tol) {
							t.Fatalf("%v, %s: element %d is %v, want %v", shape, what(), i, got[i], want[i])
						}
					}
					if !(math.Abs(sumsq-sum) <= 2e-5*sum) {
						t.Errorf("%v, %s: the squares of the change sum to %v, want %v", shape, what(), sumsq, sum)
					}
					if rms := math.Sqrt(spread2 / float64(groups)); !(math.Abs(spread-rms) <= 1e-6*rms) {
						t.Errorf("%v, %s: the spread is %v, want %v", shape, what(), spread, rms)
					}
				}
			}
		}
	}
}

func TestWeightNoiseDoesNotDependOnThreads(t *testing.T) {
	t.Parallel()
	x := gaussian(random(8), 400*611, 0, 1)
	for _, perRow := range []bool{false, true} {
		var want []float32
		var wantSq float64
		for threads := 1; threads <= 2; threads++ {
			got := make([]float32, len(x))
			var sumsq float64
			do(t, start(t, threads), func(s *torch.Scope) {
				weight := s.Floats(x, []int64{400, 611}, torch.CPU)
				sumsq, _ = s.WeightNoise(weight, 0.1, false, perRow, 11, false)
				s.ReadFloats(weight, got)
			})
			if threads == 1 {
				want, wantSq = got, sumsq
			} else if !slices.Equal(want, got) || wantSq != sumsq {
				t.Errorf("per row %v: two threads change the weights otherwise than one (squares %v and %v)", perRow,
					wantSq, sumsq)
			}
		}
	}
}

func BenchmarkActivationNoise(b *testing.B) {
	w := start(b, 1)
	for _, c := range []struct {
		name    string
		rows, d int
	}{{"32x128", 32, 128}, {"1x896", 1, 896}, {"32x896", 32, 896}} {
		for name, reference := range implementations {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				in := newBatch(random(9), c.rows, c.d)
				b.SetBytes(int64(4 * len(in.x)))
				do(b, w, func(s *torch.Scope) {
					x, sumsq, mark := s.Floats(in.x, []int64{int64(c.rows), int64(c.d)}, torch.CPU),
						make([]float64, c.rows), s.Mark()
					for b.Loop() {
						s.Noise(x, 0.1, 1, in.rows, sumsq, reference)
						s.Release(mark)
					}
				})
			})
		}
	}
}
