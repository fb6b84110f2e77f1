package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// on runs f with the emulated kernels in place. The tests run one after another: the kernels stand for the whole process.
func on(t *testing.T, f func(s *torch.Scope) error) {
	t.Helper()
	Emulate(true)
	defer Emulate(false)
	w, err := torch.Start(1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Do(func(s *torch.Scope) error { return errors.Join(f(s), s.Err()) }); err != nil {
		t.Fatal(err)
	}
}

func normal(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

func floats(s *torch.Scope, x torch.Tensor, n int) []float32 {
	v := make([]float32, n)
	s.ReadFloats(s.To(x, torch.Float32), v)
	return v
}

// apart is the largest difference; NaN where one is.
func apart(a, b []float32) float64 {
	most := 0.0
	for i := range a {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if math.IsNaN(d) {
			return d
		}
		most = max(most, d)
	}
	return most
}

func same(a, b []float32) bool {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

var dtypes = []struct {
	t    torch.DType
	name string
	ulp  float64 // spacing at 1
}{{torch.Float32, "float32", 0x1p-23}, {torch.BFloat16, "bfloat16", 0x1p-7}, {torch.Float16, "float16", 0x1p-10}}

func TestPhilox(t *testing.T) {
	const n = 5000
	on(t, func(s *torch.Scope) error {
		const block0, c1, c2, c3, key = math.MaxUint32 - 1000, 7, 11, 13, 0x299f31d0a4093822
		words, normals := s.Zeros([]int64{n, 4}, torch.Int64, torch.CPU), s.Zeros([]int64{n, 4}, torch.Float32, torch.CPU)
		s.PhiloxAt(words, normals, block0, c1, c2, c3, key, false)
		got, ns := make([]int64, 4*n), floats(s, normals, 4*n)
		torch.ReadAll(s, words, got)
		most := 0.0
		for i := range n {
			w := philox.Words(philox.Counter{uint32(i) + block0, c1, c2, c3}, key)
			want := philox.Normals(w)
			for j := range 4 {
				if got[4*i+j] != int64(w[j]) {
					return fmt.Errorf("word %d of block %d is %x, want %x", j, i, got[4*i+j], w[j])
				}
				most = max(most, math.Abs(want[j]-float64(ns[4*i+j])))
			}
		}
		t.Logf("%d words equal; normals within %.2g of float64", 4*n, most)
		if !(most < 2e-6) {
			t.Errorf("a normal is %v off", most)
		}
		return nil
	})
}

// TestRowStats holds the statistics of rows against float64.
func TestRowStats(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for _, dt := range dtypes {
		for _, d := range []int{1, 3, 70, 256, 1025} {
			const rows = 4
			on(t, func(s *torch.Scope) error {
				x := normal(r, rows*d)
				for i := range x {
					x[i] = x[i]*float32(1+i/d) + float32(i/d) - 2 // every row has a spread and a mean of its own
				}
				for row := range rows {
					x[row*d+d-1] = float32(3*row) - 9 // the last counts as the first does; the largest magnitude is of a negative number
				}
				all := s.To(s.Floats(x, []int64{rows, int64(d)}, torch.CPU), dt.t)
				x = floats(s, all, rows*d)
				for _, absmax := range []bool{false, true} {
					got := make([]float64, 2*rows)
					torch.ReadAll(s, s.RowStats(all, absmax), got)
					for row := range rows {
						var most, sum, square float64
						for _, v := range x[row*d : (row+1)*d] {
							most, sum = max(most, math.Abs(float64(v))), sum+float64(v)
						}
						mean := sum / float64(d)
						for _, v := range x[row*d : (row+1)*d] {
							square += (float64(v) - mean) * (float64(v) - mean)
						}
						want := [2]float64{mean, square}
						if absmax {
							want = [2]float64{most, 0}
						}
						for i, w := range want {
							if g := got[2*row+i]; !(math.Abs(g-w) <= 1e-9*max(1, math.Abs(w))) {
								t.Errorf("%s %dx%d absmax %v: statistic %d of row %d is %v, want %v", dt.name, rows, d, absmax, i, row, g, w)
							}
						}
					}
				}
				return nil
			})
		}
	}
}

func TestNoise(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, dt := range dtypes {
		for _, d := range []int{1, 3, 70, 1025, 2048} {
			for _, m := range []int{1, 2, 5} {
				for _, absmax := range []bool{false, true} {
					name := fmt.Sprintf("%s %dx%d absmax %v", dt.name, m, d, absmax)
					on(t, func(s *torch.Scope) error {
						total := m + 2 // the rows and two of their groups' before them
						all := s.To(s.Floats(normal(r, total*d), []int64{int64(total), int64(d)}, torch.CPU), dt.t)
						x := s.Rows(all, 2, total)
						stats := s.RowStats(all, absmax)
						keys, pos, step, live, group := make([]int64, m), make([]int64, m), make([]int64, m), make([]float32, m), make([]int64, 2*m)
						for i := range m {
							keys[i], pos[i], step[i] = int64(r.Uint64()), int64(i+7), int64(i%2)
							live[i], group[2*i], group[2*i+1] = float32(1-i%2), int64(i%3), int64(i+3)
						}
						sums := [2]torch.Tensor{}
						before := make([]float32, 2*m) // what is added to
						for i := range before {
							before[i] = float32(i + 1)
						}
						out := [2][]float32{}
						for k, reference := range []bool{false, true} {
							sums[k] = s.To(s.Floats(before, []int64{int64(m), 2}, torch.CPU), torch.Float64)
							y := s.NoiseAt(x, stats, absmax, 0.3, 5, torch.NoiseRowsAt{
								Keys: s.Ints(keys, torch.CPU), Positions: s.Ints(pos, torch.CPU), Steps: s.Ints(step, torch.CPU),
								Groups: s.View(s.Ints(group, torch.CPU), int64(m), 2), Sums: sums[k],
								Live: s.To(s.Floats(live, []int64{int64(m)}, torch.CPU), torch.Int32),
							}, reference)
							out[k] = floats(s, y, m*d)
						}
						// Where float32 normals differ in the last bits, a rounding may go the other way.
						if most := apart(out[0], out[1]); !(most <= 4e-6+4*dt.ulp) || (dt.t == torch.Float32 && most > 4e-6) {
							t.Errorf("%s: %v apart", name, most)
						}
						a, b := make([]float64, 2*m), make([]float64, 2*m)
						torch.ReadAll(s, sums[0], a)
						torch.ReadAll(s, sums[1], b)
						for i := range a {
							added, want := a[i]-float64(before[i]), b[i]-float64(before[i])
							if !(math.Abs(added-want) <= 1e-3*math.Abs(want)) {
								t.Errorf("%s: %v was added to sum %d, want %v", name, added, i, want)
							}
						}
						// A row alone has the same bits.
						last := m - 1
						alone := s.NoiseAt(s.Rows(x, last, m), stats, absmax, 0.3, 5, torch.NoiseRowsAt{
							Keys: s.Ints(keys[last:], torch.CPU), Positions: s.Ints(pos[last:], torch.CPU), Steps: s.Ints(step[last:], torch.CPU),
							Groups: s.View(s.Ints(group[2*last:], torch.CPU), 1, 2),
						}, false)
						if !same(floats(s, alone, d), out[0][last*d:]) {
							t.Errorf("%s: the last row alone has other bits", name)
						}
						return nil
					})
				}
			}
		}
	}
}

// attention in float64.
func attention(q, k, v []float32, n, hd int, scale, softcap float64) []float64 {
	w, out := make([]float64, n), make([]float64, hd)
	top, sum := math.Inf(-1), 0.0
	for p := range n {
		for i := range hd {
			w[p] += float64(q[i]) * float64(k[p*hd+i])
		}
		w[p] *= scale
		if softcap > 0 {
			w[p] = softcap * math.Tanh(w[p]/softcap)
		}
		top = max(top, w[p])
	}
	for p := range n {
		w[p] = math.Exp(w[p] - top)
		sum += w[p]
	}
	for p := range n {
		for i := range hd {
			out[i] += w[p] / sum * float64(v[p*hd+i])
		}
	}
	return out
}

func TestAttention(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	const capacity = 700
	for _, c := range []struct{ heads, kv, hd int }{{4, 2, 16}, {3, 3, 40}, {20, 2, 64}, {2, 1, 256}} {
		for di, dt := range dtypes {
			for _, softcap := range []float64{0, 5} {
				on(t, func(s *torch.Scope) error {
					pos := []int64{0, 126, 127, 128, 300, 699}
					rows := len(pos)
					q := s.To(s.Floats(normal(r, rows*c.heads*c.hd), []int64{int64(rows), int64(c.heads), int64(c.hd)}, torch.CPU), dt.t)
					shape := []int64{int64(rows), int64(c.kv), capacity, int64(c.hd)}
					cache := torch.BFloat16
					if di != 0 {
						cache = dt.t
					}
					k := s.To(s.Floats(normal(r, rows*c.kv*capacity*c.hd), shape, torch.CPU), cache)
					v := s.To(s.Floats(normal(r, rows*c.kv*capacity*c.hd), shape, torch.CPU), cache)
					scale := 2 / math.Sqrt(float64(c.hd))
					n := rows * c.heads * c.hd
					got := floats(s, s.AttentionAt(q, k, v, s.Ints(pos, torch.CPU), capacity, scale, softcap), n)
					qf, kf, vf := floats(s, q, n), floats(s, k, rows*c.kv*capacity*c.hd), floats(s, v, rows*c.kv*capacity*c.hd)
					most := 0.0
					for row := range rows {
						for h := range c.heads {
							first := (row*c.kv + h/(c.heads/c.kv)) * capacity * c.hd
							at := (row*c.heads + h) * c.hd
							want := attention(qf[at:at+c.hd], kf[first:], vf[first:], int(pos[row])+1, c.hd, scale, softcap)
							for i := range want {
								most = max(most, math.Abs(want[i]-float64(got[at+i]))) // NaN stays
							}
						}
					}
					if !(most <= 4e-6+2*dt.ulp) {
						t.Errorf("%+v %s softcap %v: %v off", c, dt.name, softcap, most)
					}
					t.Logf("%+v %s softcap %v: within %.2g", c, dt.name, softcap, most)
					// Neither the length nor the neighbours matter.
					alone := s.AttentionAt(s.Rows(q, 2, 3), s.Rows(k, 2, 3), s.Rows(v, 2, 3), s.Ints(pos[2:3], torch.CPU), 128, scale, softcap)
					row := c.heads * c.hd
					if !same(floats(s, alone, row), got[2*row:3*row]) {
						t.Errorf("%+v %s: row 2 alone, at length 128, has other bits", c, dt.name)
					}
					return nil
				})
			}
		}
	}
}

// gumbelMax is the choice by all draws.
func gumbelMax(z []float32, temperature float64, step uint32, key uint64) int {
	best, at := math.Inf(-1), 0
	for i, x := range z {
		v := float64(x)
		if temperature > 0 {
			v = v/temperature + philox.Gumbel(philox.Words(philox.Counter{uint32(i / 4), step, 0, 0}, philox.Key(key))[i%4])
		}
		if v > best {
			best, at = v, i
		}
	}
	return at
}

type state struct {
	tokens, pos, count []int64
	live, status, out  []int32
}

// choose lets the kernels or the plain operations choose once and reads the state.
func choose(s *torch.Scope, z []float32, temps []float64, keys, counts, limits []int64, live []float32, ends []byte, n int, reference bool) state {
	rows, v := len(keys), len(ends)
	many, wide := []int64{int64(rows)}, []int64{int64(rows), int64(n)}
	t := s.Zeros(wide, torch.Float64, torch.CPU)
	raw := make([]float32, len(temps))
	for i := range temps {
		raw[i] = float32(temps[i])
	}
	s.Assign(t, s.Floats(raw, wide, torch.CPU))
	e := s.Zeros([]int64{int64(v)}, torch.Uint8, torch.CPU)
	s.CopyBytes(e, 0, ends, torch.Uint8)
	d := torch.DecodeState{
		Tokens: s.Zeros(many, torch.Int64, torch.CPU), Positions: s.Zeros(many, torch.Int64, torch.CPU), Counts: s.Ints(counts, torch.CPU),
		Limits: s.Ints(limits, torch.CPU), Live: s.To(s.Floats(live, many, torch.CPU), torch.Int32), Status: s.Zeros(many, torch.Int32, torch.CPU),
		Out: s.Zeros(wide, torch.Int32, torch.CPU), Temps: t, Keys: s.Ints(keys, torch.CPU), Ends: e,
	}
	s.ChooseAt(s.Floats(z, []int64{int64(rows), int64(v)}, torch.CPU), d, reference)
	got := state{make([]int64, rows), make([]int64, rows), make([]int64, rows), make([]int32, rows), make([]int32, rows), make([]int32, rows*n)}
	torch.ReadAll(s, d.Tokens, got.tokens)
	torch.ReadAll(s, d.Positions, got.pos)
	torch.ReadAll(s, d.Counts, got.count)
	torch.ReadAll(s, d.Live, got.live)
	torch.ReadAll(s, d.Status, got.status)
	torch.ReadAll(s, d.Out, got.out)
	return got
}

func TestChoose(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	const rows, n = 16, 4
	draws, ways := 0, map[int32]int{}
	on(t, func(s *torch.Scope) error {
		for trial := range 130 {
			v := []int{7, 300, 41, 4096, 300, 12, 9001, 64}[trial%8]
			z, temps := normal(r, rows*v), make([]float64, rows*n)
			keys, counts, limits, live, ends := make([]int64, rows), make([]int64, rows), make([]int64, rows), make([]float32, rows), make([]byte, v)
			for i := range ends {
				ends[i] = byte(b2i(r.IntN(9) == 0))
			}
			for i := range z {
				z[i] *= 4
				if trial%3 == 0 {
					z[i] = float32(math.Round(float64(z[i]))) // ties
				}
			}
			for i := range rows {
				keys[i], counts[i], limits[i], live[i] = int64(r.Uint64()), int64(r.IntN(3)), int64(3+r.IntN(2)), float32(b2i(r.IntN(6) > 0))
				for j := range n {
					temps[i*n+j] = []float64{0, 0.125, 0.75, 1, 2}[r.IntN(5)]
				}
			}
			broken := r.IntN(rows)
			z[broken*v+r.IntN(v)] = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}[trial%3]
			got := choose(s, z, temps, keys, counts, limits, live, ends, n, false)
			plain := choose(s, z, temps, keys, counts, limits, live, ends, n, true)
			for i := range rows {
				want := state{[]int64{0}, []int64{0}, []int64{counts[i]}, []int32{int32(live[i])}, []int32{0}, make([]int32, n)}
				switch {
				case live[i] == 0:
				case i == broken:
					want.status[0], want.live[0] = torch.DecodeNonfinite, 0
				default:
					draws++
					id := gumbelMax(z[i*v:(i+1)*v], temps[i*n+int(counts[i])], uint32(counts[i]), uint64(keys[i]))
					want.out[counts[i]] = int32(id)
					want.count[0]++
					switch {
					case ends[id] != 0:
						want.status[0], want.live[0] = torch.DecodeStopped, 0
					case want.count[0] >= limits[i]:
						want.status[0], want.live[0] = torch.DecodeFull, 0
					default:
						want.tokens[0], want.pos[0] = int64(id), 1
					}
				}
				ways[want.status[0]]++
				of := func(x state) string {
					return fmt.Sprint(x.tokens[i:i+1], x.pos[i:i+1], x.count[i:i+1], x.live[i:i+1], x.status[i:i+1], x.out[i*n:(i+1)*n])
				}
				w := fmt.Sprint(want.tokens, want.pos, want.count, want.live, want.status, want.out)
				if of(got) != w || of(plain) != w {
					t.Errorf("trial %d, %d tokens, row %d: kernels %s, plain operations %s, want %s", trial, v, i, of(got), of(plain), w)
				}
			}
		}
		return nil
	})
	t.Logf("%d choices; ends by status: %v", draws, ways)
	for status := range int32(4) {
		if ways[status] == 0 {
			t.Errorf("no sequence got status %d", status)
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// What a kernel gives against the plain operations, with and without Emulate, for the rows between products.
func TestRows(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, dt := range dtypes {
		const rows, heads, hd, rot, d = 3, 2, 24, 16, 300
		x, y, w := normal(r, rows*d), normal(r, rows*d), normal(r, d)
		cos, sin := normal(r, 50*rot), normal(r, 50*rot)
		h := normal(r, rows*heads*hd)
		all := func(s *torch.Scope) map[string][]float32 {
			put := func(v []float32, shape ...int64) torch.Tensor { return s.To(s.Floats(v, shape, torch.CPU), dt.t) }
			a, b, c := put(x, rows, d), put(y, rows, d), put(w, d)
			head := put(h, rows, heads, hd)
			pos := s.Ints([]int64{0, 49, 17}, torch.CPU)
			cache := s.Zeros([]int64{4, heads, 50, hd}, torch.BFloat16, torch.CPU)
			if dt.t != torch.Float32 {
				cache = s.Zeros([]int64{4, heads, 50, hd}, dt.t, torch.CPU)
			}
			s.StoreKVAt(cache, head, s.Ints([]int64{3, 0, 1}, torch.CPU), pos)
			out := map[string][]float32{
				"rms norm": floats(s, s.RMSNorm(a, c, 1e-6), rows*d), "rms norm with an offset": floats(s, s.RMSNorm1(a, c, 1e-6), rows*d),
				"silu": floats(s, s.SiluMul(a, b), rows*d), "gelu": floats(s, s.GeluMul(a, b), rows*d), "store": floats(s, cache, 4*heads*50*hd),
			}
			s.RopeAt(head, s.Floats(cos, []int64{50, rot}, torch.CPU), s.Floats(sin, []int64{50, rot}, torch.CPU), pos)
			out["rope"] = floats(s, head, rows*heads*hd)
			return out
		}
		on(t, func(s *torch.Scope) error {
			got := all(s)
			Emulate(false)
			want := all(s)
			for name := range want {
				most := apart(want[name], got[name])
				other := 0
				for i := range want[name] {
					other += b2i(want[name][i] != got[name][i])
				}
				t.Logf("%s %s: within %.2g, %d of %d elements differ", dt.name, name, most, other, len(want[name]))
				// Both round at the same places: a rounding goes the other way now and then, and not in every fiftieth element.
				if dt.t != torch.Float32 && 50*other > len(want[name]) {
					t.Errorf("%s %s: %d of %d elements differ", dt.name, name, other, len(want[name]))
				}
				if name == "store" && most != 0 || !(most <= 8*dt.ulp*2) {
					t.Errorf("%s %s: %v apart", dt.name, name, most)
				}
			}
			return nil
		})
	}
}

// TestExtremes: what is too large for an exponential, and what is no number, comes out as it does of the plain operations.
func TestExtremes(t *testing.T) {
	nan := float32(math.NaN())
	x := []float32{-6e4, -100, -88.5, -87, -20, 0, 20, 87, 88.5, 100, 6e4, nan}
	n := int64(len(x))
	for _, dt := range dtypes {
		on(t, func(s *torch.Scope) error {
			gate, up := s.To(s.Floats(x, []int64{n}, torch.CPU), dt.t), s.To(s.Floats(slices.Repeat([]float32{1}, len(x)), []int64{n}, torch.CPU), dt.t)
			got := [][]float32{floats(s, s.SiluMul(gate, up), len(x)), floats(s, s.GeluMul(gate, up), len(x))}
			rows := s.To(s.Floats(slices.Concat(x, x[:n-1], []float32{3}), []int64{2, n}, torch.CPU), dt.t)
			stats := make([]float64, 4)
			torch.ReadAll(s, s.RowStats(rows, true), stats)
			first := s.To(s.Floats(append([]float32{nan}, x[:n-1]...), []int64{1, n}, torch.CPU), dt.t)
			lost := make([]float64, 2)
			torch.ReadAll(s, s.RowStats(first, true), lost)
			if !math.IsNaN(stats[0]) || !math.IsNaN(lost[0]) || math.IsNaN(stats[2]) {
				t.Errorf("%s: the largest magnitudes are %v and %v, want NaN, a number, NaN", dt.name, stats, lost)
			}
			Emulate(false)
			defer Emulate(true)
			want := [][]float32{floats(s, s.SiluMul(gate, up), len(x)), floats(s, s.GeluMul(gate, up), len(x))}
			for k, name := range []string{"silu", "gelu"} {
				for i, w := range want[k] {
					g := got[k][i]
					if math.IsNaN(float64(w)) != math.IsNaN(float64(g)) || math.Abs(float64(w-g)) > 4*dt.ulp*math.Abs(float64(w))+1e-6 {
						t.Errorf("%s: %s of %v is %v, want %v", dt.name, name, x[i], g, w)
					}
				}
			}
			return nil
		})
	}
}

// TestRounding stores float32 into caches of half precision as libtorch converts it: ties, subnormals, the largest, and every kind of NaN,
// of which a GPU's own has all bits set.
func TestRounding(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	x := []float32{0, 65503, 65504, 65519, 65519.996, 65520, 65536, 1e6, 1e-8, 0x1p-24, 0x1p-25, 0x1.000002p-25, 0x1.8p-24, 0x1.4p-23, 0x1p-14, 0x1.ffcp-15, 0x1.ffep-15}
	for range 2000 {
		x = append(x, float32(math.Ldexp(1+r.Float64(), r.IntN(60)-30)))
		// Halfway between two numbers of float16, and of bfloat16.
		e := r.IntN(28) - 13
		x = append(x, float32(math.Ldexp(1+(float64(r.IntN(1024))+0.5)/1024, e)), float32(math.Ldexp(1+(float64(r.IntN(128))+0.5)/128, e)))
	}
	for _, bits := range []uint32{0x7f800000, 0x7fffffff, 0x7f800001, 0x7fc00000} {
		x = append(x, math.Float32frombits(bits))
	}
	for _, v := range slices.Clone(x) {
		x = append(x, -v)
	}
	n := len(x)
	for _, dt := range dtypes[1:] {
		on(t, func(s *torch.Scope) error {
			one := s.Ints([]int64{0}, torch.CPU)
			from, cache := s.Floats(x, []int64{1, 1, int64(n)}, torch.CPU), s.Zeros([]int64{1, 1, 1, int64(n)}, dt.t, torch.CPU)
			s.StoreKVAt(cache, from, one, one)
			got, want := floats(s, cache, n), floats(s, s.To(from, dt.t), n)
			for i := range x {
				if got[i] != want[i] && !(math.IsNaN(float64(got[i])) && math.IsNaN(float64(want[i]))) {
					t.Errorf("%s: %v (%x) became %v, want %v", dt.name, x[i], math.Float32bits(x[i]), got[i], want[i])
				}
			}
			return nil
		})
	}
}

func TestMessages(t *testing.T) {
	Emulate(true)
	defer Emulate(false)
	w, err := torch.Start(1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, c := range []struct {
		do   func(s *torch.Scope)
		want string
	}{
		{func(s *torch.Scope) { s.RowStats(s.Zeros([]int64{3}, torch.Float32, torch.CPU), false) }, "row stats: the input must be"},
		{func(s *torch.Scope) { s.RowStats(s.Zeros([]int64{3, 3}, torch.Int64, torch.CPU), false) }, "row stats: there is no kernel for Long"},
		{func(s *torch.Scope) {
			x := s.Zeros([]int64{2, 2, 2048}, torch.Float32, torch.CPU)
			k := s.Zeros([]int64{2, 2, 4, 2048}, torch.Float32, torch.CPU)
			s.AttentionAt(x, k, k, s.Ints([]int64{0, 1}, torch.CPU), 4, 1, 0)
		}, "heads of 2048 dimensions are too large"},
	} {
		err := w.Do(func(s *torch.Scope) error { c.do(s); return s.Err() })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v does not say %q", err, c.want)
		}
	}
}

// nvrtc is the library that $GSMEVAL_TEST_NVRTC names, or the one beside the libtorch that the program is built with or $LIBTORCH names.
func nvrtc(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("GSMEVAL_TEST_NVRTC"); path != "" {
		return path
	}
	dirs := []string{os.Getenv("LIBTORCH")}
	for _, f := range strings.Fields(os.Getenv("CGO_LDFLAGS")) {
		if dir, ok := strings.CutPrefix(f, "-L"); ok {
			dirs = append(dirs, filepath.Dir(dir))
		}
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, "..", "nvidia", "cu13", "lib", "libnvrtc.so.13")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Skip("there is no libnvrtc.so.13 beside libtorch; .ci/run fetches one")
	return ""
}

func TestNVRTCCompiles(t *testing.T) {
	library := nvrtc(t)
	for _, arch := range []string{"compute_80", "compute_90"} {
		code, log, err := Compile(library, arch)
		if err != nil {
			t.Fatal(err)
		}
		if log != "" {
			t.Errorf("%s: %s", arch, log)
		}
		if strings.Contains(string(code), "fma.rn.f64") {
			t.Errorf("%s: a float64 product and sum were contracted", arch)
		}
		for _, entry := range []string{"choose_next", "attend_bf16_f32", "noise_f16"} {
			if !strings.Contains(string(code), ".entry "+entry+"(") {
				t.Errorf("%s: no kernel %s", arch, entry)
			}
		}
		t.Logf("%s: %d bytes, log %q", arch, len(code), log)
	}
}
