package checkpoint

import (
	"fmt"
	"math"
)

// bitsAndBytes is the format of bitsandbytes: nf4 in blocks with the largest magnitude of each, or int8 with that of
// each row.
type bitsAndBytes struct{ four bool }

func newBitsAndBytes(f *fields) (quantizer, []string) {
	q := bitsAndBytes{four: f.boolean("load_in_4bit", f.boolean("_load_in_4bit", false))}
	if q.four {
		if kind := f.text("bnb_4bit_quant_type", "fp4"); kind != "nf4" {
			f.fail("bnb_4bit_quant_type", "%s is not supported for bitsandbytes; supported are nf4 and int8",
				quote(kind))
		}
		return q, nil
	}
	if !f.boolean("load_in_8bit", f.boolean("_load_in_8bit", false)) {
		f.fail("load_in_8bit", "neither load_in_4bit nor load_in_8bit is true")
	}
	return q, []string{"bitsandbytes rounds activations to int8 too where none is large; here only its weights are as it says, activations are not rounded"}
}

func (q bitsAndBytes) String() string {
	return map[bool]string{true: "nf4", false: "int8"}[q.four] + " of bitsandbytes"
}

const nf4State = ".weight.quant_state.bitsandbytes__nf4"

func (q bitsAndBytes) find(t Tensor) (string, bool) {
	if q.four {
		return cutEnd(t, nf4State)
	}
	return cutEnd(t, ".weight", "I8")
}

func (q bitsAndBytes) weight(p *parts) (*matrix, error) {
	if q.four {
		return q.nf4(p)
	}
	return q.int8(p)
}

// int8 is a weight of 8 bits, with the largest magnitude of each row (SCB).
func (q bitsAndBytes) int8(p *parts) (*matrix, error) {
	weight := p.take(".weight", 2, "I8")
	if p.err != nil {
		return nil, p.err
	}
	if format, ok := p.optional(".weight_format"); ok {
		data, err := format.raw()
		if err != nil {
			return nil, err
		}
		if len(data) != 1 || data[0] != 0 {
			return nil, fmt.Errorf("tensor %s: only weights in rows (0) are supported, found %v", quote(format.Name),
				data[:min(len(data), 4)])
		}
	}
	rows, columns := weight.Shape[0], weight.Shape[1]
	most := p.shaped(".SCB", []int{rows}, F32)
	const unit = float32(7.874015718698502e-3) // 1/127, as bitsandbytes writes it
	return &matrix{
		name: q.String(), sources: []Tensor{weight, most}, rows: rows, columns: columns, dtype: F32,
		row: func(dst []float32, r, from int) {
			s := most.at(r)
			for i := range dst {
				dst[i] = float32(float32(int8(weight.Data[r*columns+from+i]))*s) * unit
			}
		},
	}, p.err
}

// nf4Levels are the sixteen values of nf4, quantiles of the normal distribution (Dettmers et al., 2023).
var nf4Levels = [16]float32{
	-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
	-0.09105003625154495, 0,
	0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434,
	0.5626170039176941, 0.7229568362236023, 1,
}

// nf4Types are the types that a weight is dequantised to.
var nf4Types = map[string]DType{"float32": F32, "float16": F16, "bfloat16": BF16}

// nf4 is a weight of 4 bits: bytes of two elements, the first in the high half, a level of nf4 each; the largest
// magnitude of each block, which may itself be a code of 8 bits in blocks, plus an offset.
func (q bitsAndBytes) nf4(p *parts) (*matrix, error) {
	stateTensor := p.take(nf4State, 1, "U8")
	if p.err != nil {
		return nil, p.err
	}
	state, err := stateTensor.jsonObject()
	if err != nil {
		return nil, err
	}
	shape := state.numbers("shape", 1, maxIntermediate)
	block := state.required("blocksize", 1, 1<<16)
	dtype, known := nf4Types[state.text("dtype", "")]
	switch {
	case state.err != nil:
		return nil, state.err
	case len(shape) != 2:
		return nil, fmt.Errorf("tensor %s: shape has %d numbers; expected two", quote(stateTensor.Name), len(shape))
	case !known:
		return nil, fmt.Errorf("tensor %s: dtype %s is not supported; supported are float32, float16 and bfloat16",
			quote(stateTensor.Name), quote(state.text("dtype", "")))
	}
	rows, columns := int(shape[0]), int(shape[1])
	weight, ok := p.optional(".weight") // bytes, whatever type they are stored as
	if !ok || len(weight.Data) != (rows*columns+1)/2 {
		return nil, fmt.Errorf("tensor %s has %d bytes; expected %d for shape [%d %d]", quote(p.module+".weight"),
			len(weight.Data), (rows*columns+1)/2, rows, columns)
	}
	p.optional(".weight.quant_map")
	blocks := (rows*columns + block - 1) / block
	m := &matrix{name: q.String(), sources: []Tensor{weight}, rows: rows, columns: columns, dtype: dtype}
	most := p.shaped(".weight.absmax", []int{blocks}, F32, "U8")
	if p.err != nil {
		return nil, p.err
	}
	m.sources = append(m.sources, most)
	largest := most.at
	if most.DType == "U8" {
		if largest, err = p.nested(m, most, state, blocks); err != nil {
			return nil, err
		}
	}
	m.row = func(dst []float32, r, from int) {
		at := r*columns + from
		for i := 0; i < len(dst); {
			b := (at + i) / block
			end := min((b+1)*block-at, len(dst))
			for s := largest(b); i < end; i++ {
				e := at + i
				dst[i] = nf4Levels[weight.Data[e/2]>>(4*(1-e%2))&15] * s
			}
		}
	}
	return m, nil
}

// nested gives the magnitudes of blocks that are themselves codes of 8 bits.
func (p *parts) nested(m *matrix, codes Tensor, state *fields, blocks int) (func(int) float32, error) {
	outer := state.required("nested_blocksize", 1, 1<<16)
	offset := float32(state.number("nested_offset", 0, -math.MaxFloat32, math.MaxFloat32))
	most := p.shaped(".weight.nested_absmax", []int{(blocks + outer - 1) / outer}, F32)
	levels := p.shaped(".weight.nested_quant_map", []int{256}, F32)
	if state.err != nil {
		return nil, state.err
	}
	m.sources = append(m.sources, most, levels)
	return func(b int) float32 { return float32(levels.at(int(codes.Data[b]))*most.at(b/outer)) + offset }, p.err
}
