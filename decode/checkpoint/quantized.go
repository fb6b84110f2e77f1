package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/decode/checkpoint/half"
)

// A quantised checkpoint stores the weight of a Linear in several tensors: integers, scales, zero points. Each such
// weight is made a packed Tensor of the weight's own name, which decodes it row by row to the numbers that transformers
// (or the package that wrote it) dequantises it to; what the rest of the program sees is an ordinary checkpoint.

// quantizer knows one way to store weights.
type quantizer interface {
	fmt.Stringer

	// find returns the name of the module whose weight a tensor is the first part of, and false for any other tensor.
	find(t Tensor) (module string, found bool)

	// weight makes the module's weight of its parts, each taken by the end of its name.
	weight(p *parts) (*matrix, error)
}

// quantizers make a quantizer of quantization_config, by its quant_method.
var quantizers = map[string]func(*fields) (quantizer, []string){
	"awq":                newAWQ,
	"bitsandbytes":       newBitsAndBytes,
	"compressed-tensors": newCompressedTensors,
	"fp8":                newFP8,
	"gptq":               newGPTQ,
}

// parseQuantization reads quantization_config: nil where there is none. notes say what of it is not done.
func parseQuantization(f *fields) (q quantizer, notes []string) {
	key := "quantization_config"
	if _, ok := f.get(key); !ok {
		key = "compression_config" // an older name
	}
	sub := f.sub(key)
	if sub == nil {
		return nil, nil
	}
	method := sub.text("quant_method", "")
	if method == "" && (sub.present("load_in_4bit") || sub.present("load_in_8bit")) {
		method = "bitsandbytes"
	}
	build, ok := quantizers[method]
	if !ok {
		sub.fail("quant_method",
			"%s is not supported; supported are %s, and GGUF files: use one of those, or the model's unquantised version",
			quote(method), strings.Join(slices.Sorted(maps.Keys(quantizers)), ", "))
		f.take(sub)
		return nil, nil
	}
	q, notes = build(sub)
	f.take(sub)
	return q, notes
}

// readQuantization looks for a quantization_config in the config.json beside the weights.
func readQuantization(dir string) (quantizer, []string, error) {
	data, err := readFile(dir, configFile, maxConfigBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the model's config: %w", err)
	}
	raw, err := object(data)
	if err == nil {
		f := &fields{values: raw}
		q, notes := parseQuantization(f)
		if f.err == nil {
			return q, notes, nil
		}
		err = f.err
	}
	return nil, nil, fmt.Errorf("%s: %w", PathOf(dir, configFile), err)
}

// unpack replaces the parts of quantised weights by the weights.
func (w *Weights) unpack(q quantizer) error {
	for _, name := range slices.Sorted(maps.Keys(w.tensors)) {
		t, ok := w.tensors[name]
		if !ok {
			continue // a part of an earlier weight
		}
		module, found := q.find(t)
		if !found {
			continue
		}
		p := &parts{module: module, from: w.tensors, used: map[string]bool{}}
		m, err := q.weight(p)
		if p.err != nil {
			err = p.err
		}
		if err == nil {
			err = m.check()
		}
		if _, twice := w.tensors[module+".weight"]; err == nil && twice && !p.used[module+".weight"] {
			err = fmt.Errorf("there is a tensor %s beside them", quote(module+".weight"))
		}
		if err != nil {
			return fmt.Errorf("%s: %s, stored as %s: %w", t.shard.path, module, q, err)
		}
		for n := range p.used {
			delete(w.tensors, n)
		}
		weight := module + ".weight"
		w.tensors[weight] = Tensor{
			Name: weight, DType: m.dtype, Shape: []int{m.rows, m.columns}, shard: t.shard,
			packed: m,
		}
	}
	return nil
}

// parts are the stored tensors of one module.
type parts struct {
	module string
	from   map[string]Tensor
	used   map[string]bool
	err    error
}

// optional takes a part that need not be there.
func (p *parts) optional(end string) (Tensor, bool) {
	t, ok := p.from[p.module+end]
	if ok {
		p.used[t.Name] = true
	}
	return t, ok
}

// take takes a part of one of some types and with so many dimensions.
func (p *parts) take(end string, dimensions int, dtypes ...DType) Tensor {
	t, ok := p.optional(end)
	switch {
	case p.err != nil:
	case !ok:
		p.err = fmt.Errorf("tensor %s is missing", quote(p.module+end))
	case !slices.Contains(dtypes, t.DType):
		p.err = fmt.Errorf("tensor %s is %s; expected %v", quote(t.Name), t.DType, dtypes)
	case len(t.Shape) != dimensions:
		p.err = fmt.Errorf("tensor %s has shape %v; expected %d dimensions", quote(t.Name), t.Shape, dimensions)
	}
	return t
}

// shaped is take for a part whose shape is known.
func (p *parts) shaped(end string, shape []int, dtypes ...DType) Tensor {
	t := p.take(end, len(shape), dtypes...)
	if p.err == nil && !slices.Equal(t.Shape, shape) {
		p.err = fmt.Errorf("tensor %s has shape %v; expected %v", quote(t.Name), t.Shape, shape)
	}
	return t
}

// matrix is the weight [rows, columns] of a Linear, decoded a row at a time.
type matrix struct {
	name          string // of the format
	sources       []Tensor
	rows, columns int
	dtype         DType // F16, BF16 or F32: what the decoded numbers are rounded to

	// row decodes elements [from, from+len(dst)) of row r.
	row func(dst []float32, r, from int)
}

func (m *matrix) format() string  { return m.name }
func (m *matrix) parts() []Tensor { return m.sources }
func (m *matrix) unit() int       { return 1 }

func (m *matrix) check() error {
	if m.rows < 1 || m.columns < 1 || m.columns > maxIntermediate || m.rows > maxVocab {
		return fmt.Errorf("a weight of %d rows and %d columns is not believed", m.rows, m.columns)
	}
	return nil
}

func (m *matrix) decode(dst []byte, first int) {
	size := m.dtype.Size()
	row := make([]float32, min(m.columns, len(dst)/size))
	for len(dst) > 0 {
		r, from := first/m.columns, first%m.columns
		part := row[:min(len(row), m.columns-from, len(dst)/size)]
		m.row(part, r, from)
		for i, v := range part {
			switch m.dtype {
			case F16:
				binary.LittleEndian.PutUint16(dst[2*i:], half.ToFloat16(v))
			case BF16:
				binary.LittleEndian.PutUint16(dst[2*i:], half.ToBFloat16(v))
			default:
				half.PutFloat32(dst[4*i:], v)
			}
		}
		dst, first = dst[size*len(part):], first+len(part)
	}
}

// scaleTypes are the types that scales come in.
var scaleTypes = []DType{F32, F16, BF16}

// grid is a value for each block of high rows and wide columns.
type grid struct {
	t          Tensor
	across     int // blocks beside each other
	high, wide int
}

// at is the value of the block of row r and column c.
func (g grid) at(r, c int) float32 { return g.t.at(r/g.high*g.across + c/g.wide) }

// until is where the block of a column ends.
func (g grid) until(c, columns int) int { return min((c/g.wide+1)*g.wide, columns) }

// at is element i of a stored tensor of a scale's type.
func (t Tensor) at(i int) float32 {
	switch t.DType {
	case F16:
		return half.Float16(binary.LittleEndian.Uint16(t.Data[2*i:]))
	case BF16:
		return half.BFloat16(binary.LittleEndian.Uint16(t.Data[2*i:]))
	default:
		return half.Float32(t.Data[4*i:])
	}
}

// word is element i of a stored I32 tensor.
func (t Tensor) word(i int) uint32 { return binary.LittleEndian.Uint32(t.Data[4*i:]) }

// affine decodes (code - zero) * scale, a block of the scales at a time. zero is nil where there is none.
func affine(scales grid, columns int, code func(r, c int) int, zero func(r, block int) int) func(dst []float32, r,
	from int) {
	return func(dst []float32, r, from int) {
		for c := from; c < from+len(dst); {
			end := min(scales.until(c, columns), from+len(dst))
			s, z := scales.at(r, c), 0
			if zero != nil {
				z = zero(r, c/scales.wide)
			}
			for ; c < end; c++ {
				dst[c-from] = float32(code(r, c)-z) * s
			}
		}
	}
}

// float8 are the values of an F8_E4M3 by its bits: no infinity, and NaN for the two codes with all bits set.
var float8 = func() (values [256]float32) {
	for b := range 256 {
		exponent, fraction := b>>3&15, float64(b&7)
		v := math.Ldexp(fraction, -9)
		if exponent != 0 {
			v = math.Ldexp(8+fraction, exponent-10)
		}
		if b&127 == 127 {
			v = math.NaN()
		}
		if b >= 128 {
			v = -v
		}
		values[b] = float32(v)
	}
	return values
}()

// raw reads a small tensor of whole numbers when a checkpoint is opened.
func (t Tensor) raw() ([]byte, error) {
	const most = maxIntermediate * 8
	if len(t.Data) > most {
		return nil, fmt.Errorf("tensor %s has %d bytes; expected at most %d", quote(t.Name), len(t.Data), most)
	}
	data := make([]byte, len(t.Data))
	return data, t.CopyTo(data)
}

// jsonBytes reads a tensor of bytes that hold a JSON object.
func (t Tensor) jsonObject() (*fields, error) {
	data, err := t.raw()
	if err != nil {
		return nil, err
	}
	values, err := object(data)
	if err != nil {
		return nil, fmt.Errorf("tensor %s: %w", quote(t.Name), err)
	}
	return &fields{values: values, prefix: t.Name + ": "}, nil
}

// cutEnd cuts an ending off a name.
func cutEnd(t Tensor, end string, dtypes ...DType) (string, bool) {
	module, ok := strings.CutSuffix(t.Name, end)
	return module, ok && (len(dtypes) == 0 || slices.Contains(dtypes, t.DType))
}

// isSet tells whether a raw value says something: it is there and no null, false, empty object or list.
func isSet(raw json.RawMessage) bool {
	switch string(raw) {
	case "", "null", "false", "{}", "[]":
		return false
	}
	return true
}
