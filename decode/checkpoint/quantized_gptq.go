package checkpoint

import (
	"fmt"
)

// gptq is the format of AutoGPTQ and GPTQModel: qweight [in/per, out] has per integers of consecutive inputs in a word,
// the lowest bits first; qzeros [groups, out/per] likewise of outputs; scales [groups, out]; g_idx [in] is the group of
// each input, which is its place divided by the group's size but for activation order. In version 1 zero points are
// stored less 1.
type gptq struct {
	bits, group int // group 0: all inputs
	version1    bool
}

func newGPTQ(f *fields) (quantizer, []string) {
	q := gptq{bits: f.integer("bits", 0, 1, 32), group: groupSize(f, "group_size")}
	if q.bits != 4 && q.bits != 8 {
		f.fail("bits", "%d is not supported for GPTQ; supported are 4 and 8", q.bits)
	}
	switch format := f.text("checkpoint_format", f.text("format", "gptq")); format {
	case "gptq":
		q.version1 = true
	case "gptq_v2":
	default:
		f.fail("checkpoint_format", "%s is not supported for GPTQ; supported are gptq and gptq_v2", quote(format))
	}
	return q, nil
}

// groupSize reads the size of groups, 0 for one group of all.
func groupSize(f *fields, key string) int {
	n := f.integer(key, -1, -1, maxIntermediate)
	if n == 0 {
		f.fail(key, "expected -1 or a number of inputs, found 0")
	}
	return max(n, 0)
}

func (q gptq) String() string { return fmt.Sprintf("GPTQ %d bit", q.bits) }

func (q gptq) find(t Tensor) (string, bool) { return cutEnd(t, ".qweight") }

func (q gptq) weight(p *parts) (*matrix, error) {
	per := 32 / q.bits
	weight := p.take(".qweight", 2, "I32")
	if p.err != nil {
		return nil, p.err
	}
	in, out := weight.Shape[0]*per, weight.Shape[1]
	size := q.group
	if size == 0 {
		size = max(in, 1)
	}
	groups := (in + size - 1) / size
	zeros := p.shaped(".qzeros", []int{groups, (out + per - 1) / per}, "I32")
	scales := p.shaped(".scales", []int{groups, out}, scaleTypes...)
	m := &matrix{
		name: q.String(), sources: []Tensor{weight, zeros, scales}, rows: out, columns: in,
		dtype: scales.DType,
	}
	groupOf := make([]int32, in)
	for i := range groupOf {
		groupOf[i] = int32(i / size)
	}
	if _, ok := p.from[p.module+".g_idx"]; ok {
		index := p.shaped(".g_idx", []int{in}, "I32")
		if p.err != nil {
			return nil, p.err
		}
		data, err := index.raw()
		if err != nil {
			return nil, err
		}
		copied := Tensor{Data: data}
		for i := range groupOf {
			g := copied.word(i)
			if g >= uint32(groups) {
				return nil, fmt.Errorf("tensor %s: input %d is in group %d of %d", quote(index.Name), i, int32(g),
					groups)
			}
			groupOf[i] = int32(g)
		}
	}
	mask := uint32(1)<<q.bits - 1
	var ones uint32 // 1 in each field, added to whole words as GPTQModel does
	if q.version1 {
		for shift := 0; shift < 32; shift += q.bits {
			ones |= 1 << shift
		}
	}
	zerosAcross := (out + per - 1) / per
	m.row = func(dst []float32, r, from int) {
		last, zero, scale := int32(-1), 0, float32(0)
		for i := range dst {
			c := from + i
			if g := groupOf[c]; g != last {
				last = g
				zero = int((zeros.word(int(g)*zerosAcross+r/per) + ones) >> (r % per * q.bits) & mask)
				scale = scales.at(int(g)*out + r)
			}
			code := int(weight.word(c/per*out+r) >> (c % per * q.bits) & mask)
			dst[i] = scale * float32(code-zero)
		}
	}
	return m, nil
}

// awq is the format of AutoAWQ's GEMM kernels: qweight [in, out/8] and qzeros [groups, out/8] have eight outputs in a
// word, in an order of their own; scales [groups, out].
type awq struct{ group int }

func newAWQ(f *fields) (quantizer, []string) {
	if bits := f.integer("bits", f.integer("w_bit", 4, 1, 32), 1, 32); bits != 4 {
		f.fail("bits", "%d is not supported for AWQ; supported is 4", bits)
	}
	if v := f.text("version", "gemm"); v != "gemm" && v != "GEMM" {
		f.fail("version", "%s is not supported for AWQ; supported is gemm", quote(v))
	}
	if !f.boolean("zero_point", true) {
		f.fail("zero_point", "AWQ without zero points is not supported")
	}
	key := "group_size"
	if !f.present(key) && f.present("q_group_size") {
		key = "q_group_size"
	}
	return awq{group: groupSize(f, key)}, nil
}

func (q awq) String() string { return "AWQ 4 bit" }

func (q awq) find(t Tensor) (string, bool) { return cutEnd(t, ".qweight") }

// awqPlace is where in a word an output stands: AutoAWQ packs outputs 0, 2, 4, 6, 1, 3, 5, 7 of eight.
var awqPlace = [8]int{0, 4, 1, 5, 2, 6, 3, 7}

func (q awq) weight(p *parts) (*matrix, error) {
	weight := p.take(".qweight", 2, "I32")
	if p.err != nil {
		return nil, p.err
	}
	in, across := weight.Shape[0], weight.Shape[1]
	size := q.group
	if size == 0 {
		size = max(in, 1)
	}
	groups, out := (in+size-1)/size, across*8
	zeros := p.shaped(".qzeros", []int{groups, across}, "I32")
	scales := p.shaped(".scales", []int{groups, out}, scaleTypes...)
	field := func(t Tensor, row, output int) int {
		return int(t.word(row*across+output/8) >> (4 * awqPlace[output%8]) & 15)
	}
	m := &matrix{
		name: q.String(), sources: []Tensor{weight, zeros, scales}, rows: out, columns: in,
		dtype: scales.DType,
	}
	m.row = func(dst []float32, r, from int) {
		last, zero, scale := -1, 0, float32(0)
		for i := range dst {
			c := from + i
			if g := c / size; g != last {
				last, zero, scale = g, field(zeros, g, r), scales.at(g*out+r)
			}
			dst[i] = scale * float32(field(weight, c, r)-zero)
		}
	}
	return m, nil
}
