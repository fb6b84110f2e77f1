package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
)

// compressedTensors is the format of llm-compressor and vLLM: integers packed into words, or 8 bits each, or F8_E4M3,
// with scales by tensor, row, group of columns or block.
type compressedTensors struct {
	packed     bool   // format pack-quantized
	bits       []int  // of the groups of the config
	block      [2]int // rows and columns of a block, 0: none
	asymmetric bool
}

func newCompressedTensors(f *fields) (quantizer, []string) {
	q := compressedTensors{}
	formats := []string{f.text("format", "")}
	var notes []string
	groups := f.sub("config_groups")
	if groups == nil {
		f.fail("config_groups", "the key is missing")
		return q, nil
	}
	for name := range groups.values {
		g := groups.sub(name)
		if g == nil {
			break
		}
		if format := g.text("format", ""); format != "" {
			formats = append(formats, format)
		}
		weights := g.sub("weights")
		if weights == nil {
			g.fail("weights", "a scheme without quantised weights is not supported")
			groups.take(g)
			break
		}
		q.scheme(weights)
		g.take(weights)
		if isSet(g.values["input_activations"]) || isSet(g.values["output_activations"]) {
			notes = []string{"the checkpoint's scheme quantises activations too; here only its weights are as it says, activations are not rounded"}
		}
		groups.take(g)
	}
	f.take(groups)
	for _, format := range formats {
		switch format {
		case "pack-quantized":
			q.packed = true
		case "int-quantized", "float-quantized", "naive-quantized", "dense", "mixed-precision", "":
		default:
			f.fail("format",
				"%s is not supported for compressed-tensors; supported are pack-quantized, int-quantized, float-quantized and naive-quantized", quote(format))
		}
	}
	if isSet(f.values["transform_config"]) {
		f.fail("transform_config", "transforms of weights and activations are not supported")
	}
	if s := f.sub("sparsity_config"); s != nil {
		if format := s.text("format", "dense"); format != "dense" {
			s.fail("format", "sparse weights (%s) are not supported", quote(format))
		}
		f.take(s)
	}
	if isSet(f.values["kv_cache_scheme"]) {
		notes = append(notes, "the checkpoint's scheme quantises keys and values too; here they are not rounded")
	}
	return q, notes
}

// scheme reads how the weights of one group of modules are stored.
func (q *compressedTensors) scheme(f *fields) {
	bits := f.integer("num_bits", 8, 1, 64)
	switch kind := f.text("type", "int"); {
	case kind == "int" && (bits == 4 || bits == 8), kind == "float" && bits == 8:
	default:
		f.fail("num_bits", "%s of %d bits are not supported; supported are int of 4 and 8 and float of 8", kind, bits)
	}
	q.bits = append(q.bits, bits)
	q.asymmetric = q.asymmetric || !f.boolean("symmetric", true)
	switch s := f.text("strategy", "tensor"); s {
	case "tensor", "channel", "group":
	case "block":
		shape := f.numbers("block_structure", 1, maxIntermediate)
		if len(shape) != 2 {
			f.fail("block_structure", "expected two numbers, found %d", len(shape))
			return
		}
		q.block = [2]int{int(shape[0]), int(shape[1])}
	default:
		f.fail("strategy", "%s is not supported for weights; supported are tensor, channel, group and block", quote(s))
	}
}

func (q compressedTensors) String() string { return "compressed-tensors" }

func (q compressedTensors) find(t Tensor) (string, bool) {
	if module, ok := cutEnd(t, ".weight_packed"); ok {
		return module, true
	}
	return cutEnd(t, ".weight", "I8", "F8_E4M3")
}

func (q compressedTensors) weight(p *parts) (*matrix, error) {
	if _, ok := p.from[p.module+".weight_g_idx"]; ok {
		return nil, fmt.Errorf("weight_g_idx: activation order by groups is not supported in this format; use GPTQ's own, or order by weights")
	}
	for _, end := range []string{".input_scale", ".input_zero_point", ".output_scale", ".output_zero_point"} {
		p.optional(end) // of activations, which are not rounded here
	}
	if _, ok := p.from[p.module+".weight_packed"]; ok {
		return q.unpacked(p)
	}
	weight := p.take(".weight", 2, "I8", "F8_E4M3")
	if p.err != nil {
		return nil, p.err
	}
	rows, columns := weight.Shape[0], weight.Shape[1]
	scales, err := p.scales(".weight_scale", rows, columns, q.block)
	if err != nil {
		return nil, err
	}
	m := &matrix{
		name: "compressed-tensors float8", sources: []Tensor{weight, scales.t}, rows: rows, columns: columns,
		dtype: scales.t.DType,
	}
	if weight.DType == "F8_E4M3" {
		m.row = scaledFloat8(weight, scales, columns)
		return m, nil
	}
	m.name = "compressed-tensors int8"
	var zero func(r, block int) int
	if _, ok := p.from[p.module+".weight_zero_point"]; ok {
		zeros := p.shaped(".weight_zero_point", scales.t.Shape, "I8")
		m.sources = append(m.sources, zeros)
		zero = func(r, block int) int { return int(int8(zeros.Data[r/scales.high*scales.across+block])) }
	}
	m.row = affine(scales, columns, func(r, c int) int { return int(int8(weight.Data[r*columns+c])) }, zero)
	return m, p.err
}

// scaledFloat8 decodes F8_E4M3 times a scale.
func scaledFloat8(weight Tensor, scales grid, columns int) func(dst []float32, r, from int) {
	return func(dst []float32, r, from int) {
		for c := from; c < from+len(dst); {
			end := min(scales.until(c, columns), from+len(dst))
			for s := scales.at(r, c); c < end; c++ {
				dst[c-from] = float8[weight.Data[r*columns+c]] * s
			}
		}
	}
}

// unpacked is a weight of format pack-quantized: weight_packed [rows, columns*bits/32], a row's integers one after the
// other from the lowest bits on, plus half their range.
func (q compressedTensors) unpacked(p *parts) (*matrix, error) {
	weight := p.take(".weight_packed", 2, "I32")
	shape := p.shaped(".weight_shape", []int{2}, "I64", "I32")
	if p.err != nil {
		return nil, p.err
	}
	data, err := shape.raw()
	if err != nil {
		return nil, err
	}
	var rows, columns int
	if shape.DType == "I64" {
		rows, columns = wholeNumber(binary.LittleEndian.Uint64(data)), wholeNumber(binary.LittleEndian.Uint64(data[8:]))
	} else {
		rows, columns = wholeNumber(uint64(binary.LittleEndian.Uint32(data))),
			wholeNumber(uint64(binary.LittleEndian.Uint32(data[4:])))
	}
	bits := 0
	for _, b := range q.bits {
		if (columns*b+31)/32 == weight.Shape[1] {
			bits = b
		}
	}
	if bits == 0 || rows != weight.Shape[0] || columns < 1 {
		return nil, fmt.Errorf("weight_packed has shape %v, which is not that of %d rows and %d columns (weight_shape) of %v bits", weight.Shape, rows, columns, q.bits)
	}
	scales, err := p.scales(".weight_scale", rows, columns, [2]int{})
	if err != nil {
		return nil, err
	}
	per, across, offset, mask := 32/bits, weight.Shape[1], 1<<(bits-1), uint32(1)<<bits-1
	m := &matrix{
		name: fmt.Sprintf("compressed-tensors int%d", bits), sources: []Tensor{weight, scales.t},
		rows: rows, columns: columns, dtype: scales.t.DType,
	}
	code := func(r, c int) int { return int(weight.word(r*across+c/per)>>(c%per*bits)&mask) - offset }
	var zero func(r, block int) int
	if _, ok := p.from[p.module+".weight_zero_point"]; ok {
		// Packed along the rows.
		zeros := p.shaped(".weight_zero_point", []int{(rows*bits + 31) / 32, scales.across}, "I32")
		m.sources = append(m.sources, zeros)
		zero = func(r, block int) int { return int(zeros.word(r/per*scales.across+block)>>(r%per*bits)&mask) - offset }
	} else if q.asymmetric && len(q.bits) == 1 {
		return nil, fmt.Errorf("tensor %s is missing, and the scheme is not symmetric",
			quote(p.module+".weight_zero_point"))
	}
	m.row = affine(scales, columns, code, zero)
	return m, p.err
}

func wholeNumber(v uint64) int {
	if v > math.MaxInt32 {
		return -1
	}
	return int(v)
}

// scales takes scales by tensor ([] or [1]), by row ([rows, 1]), by group of columns ([rows, groups]) or by block.
func (p *parts) scales(end string, rows, columns int, block [2]int) (grid, error) {
	t, ok := p.from[p.module+end]
	if !ok {
		return grid{}, fmt.Errorf("tensor %s is missing", quote(p.module+end))
	}
	t = p.take(end, len(t.Shape), scaleTypes...)
	if p.err != nil {
		return grid{}, p.err
	}
	g := grid{t: t, across: 1, high: max(rows, 1), wide: max(columns, 1)}
	switch n := len(t.Shape); {
	case t.Elements() == 1:
		return g, nil
	case n == 2 && block[0] > 0 && t.Shape[0] == (rows+block[0]-1)/block[0] &&
		t.Shape[1] == (columns+block[1]-1)/block[1]:
		g.high, g.wide, g.across = block[0], block[1], t.Shape[1]
		return g, nil
	case (n == 2 && t.Shape[1] > 0 && columns%t.Shape[1] == 0 || n == 1) && t.Shape[0] == rows && rows > 0 &&
		columns > 0:
		g.high = 1
		if n == 2 {
			g.across, g.wide = t.Shape[1], columns/t.Shape[1]
		}
		return g, nil
	}
	return grid{},
		fmt.Errorf("tensor %s has shape %v, which is not that of scales by tensor, row, group or block of a weight [%d %d]", quote(t.Name), t.Shape, rows, columns)
}

// fp8 is DeepSeek's format: F8_E4M3 with a scale for each block of 128 x 128 or so.
type fp8 struct{ block [2]int }

func newFP8(f *fields) (quantizer, []string) {
	q := fp8{}
	if v := f.text("fmt", "e4m3"); v != "e4m3" {
		f.fail("fmt", "%s is not supported for FP8; supported is e4m3", quote(v))
	}
	shape := f.numbers("weight_block_size", 1, maxIntermediate)
	if f.err == nil && len(shape) != 2 {
		f.fail("weight_block_size", "FP8 without scales by blocks is not supported: expected two numbers, found %d",
			len(shape))
		return q, nil
	}
	if len(shape) == 2 {
		q.block = [2]int{int(shape[0]), int(shape[1])}
	}
	return q, []string{"the checkpoint is made for activations in FP8; here only its weights are as it says, activations are not rounded"}
}

func (q fp8) String() string { return "FP8 in blocks" }

func (q fp8) find(t Tensor) (string, bool) { return cutEnd(t, ".weight", "F8_E4M3") }

func (q fp8) weight(p *parts) (*matrix, error) {
	p.optional(".activation_scale")
	weight := p.take(".weight", 2, "F8_E4M3")
	if p.err != nil {
		return nil, p.err
	}
	rows, columns := weight.Shape[0], weight.Shape[1]
	scales := p.shaped(".weight_scale_inv", []int{
		(rows + q.block[0] - 1) / q.block[0],
		(columns + q.block[1] - 1) / q.block[1],
	}, scaleTypes...)
	g := grid{t: scales, across: (columns + q.block[1] - 1) / q.block[1], high: q.block[0], wide: q.block[1]}
	// transformers multiplies in float32 and rounds to what the model computes in, as is done here at load.
	return &matrix{
		name: q.String(), sources: []Tensor{weight, scales}, rows: rows, columns: columns, dtype: F32,
		row: scaledFloat8(weight, g, columns),
	}, nil
}
