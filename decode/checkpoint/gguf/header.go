// Package gguf reads the files of llama.cpp: metadata, the layout of the tensors, and the numbers in their blocks. What
// the metadata means for a model is for the caller.
//
// A file is taken for hostile until it is checked: nothing is allocated on its word before that word has been compared
// with the size of the file, and a broken rule gives one error that names the key or tensor.
package gguf

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The limits of the format and ours. Real files have some thousands of tensors, fifty keys, and lists as long as their
// vocabulary and its merges.
const (
	magic         = "GGUF"
	maxTensors    = 1 << 16
	maxKeys       = 1 << 12
	maxName       = 1 << 10 // bytes of a key or of a tensor's name
	maxText       = 1 << 20 // bytes of a text in the metadata, a chat template the longest of them
	maxList       = 1 << 23 // elements of a list
	maxMetadata   = 1 << 28 // bytes of all of it
	maxDimensions = 4
	maxAlignment  = 1 << 16
	usualAlign    = 32
)

// File is the header of a file.
type File struct {
	Meta      Meta
	Tensors   []Tensor // in the order of their data
	DataStart int64    // offset of the data in the file
}

// Tensor is where a tensor lies.
type Tensor struct {
	Name       string
	Type       Type
	Shape      []int // row-major: the slowest dimension first, the other way round than in the file
	Begin, End int64 // offsets from File.DataStart
}

// Meta is the metadata by key. A value is an int64, uint64, float64, bool or string, or a list: []int64, []uint64,
// []float64, []bool or []string.
type Meta map[string]any

// Read reads and checks the header of a file of so many bytes.
func Read(r io.Reader, size int64) (*File, error) {
	if size < int64(len(magic)) {
		return nil, fmt.Errorf("%d bytes are too few for a GGUF file; download it again", size)
	}
	p := &parser{r: bufio.NewReaderSize(r, 1<<16), size: size}
	f := p.file()
	if p.err != nil {
		return nil, p.err
	}
	return f, nil
}

// parser reads little-endian values; its first error sticks.
type parser struct {
	r    *bufio.Reader
	size int64 // of the file
	at   int64 // bytes read
	err  error
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// bytes reads n bytes, which must be there.
func (p *parser) bytes(n int64, what string) []byte {
	if p.err != nil {
		return nil
	}
	if n > p.size-p.at {
		p.fail("%s: %d bytes at offset %d go beyond the end of the file (%d bytes); it is cut short, download it again",
			what, n, p.at, p.size)
		return nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(p.r, b); err != nil {
		p.fail("%s: reading at offset %d: %w", what, p.at, err)
		return nil
	}
	p.at += n
	return b
}

func (p *parser) u32(what string) uint32 {
	if b := p.bytes(4, what); p.err == nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (p *parser) u64(what string) uint64 {
	if b := p.bytes(8, what); p.err == nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// count reads a number of things, each of at least so many bytes, that the file must have room for.
func (p *parser) count(what string, most uint64, each int64) int {
	n := p.u64(what)
	switch {
	case p.err != nil:
		return 0
	case n > most:
		p.fail("%s: %d are more than the %d that are believed", what, n, most)
		return 0
	case int64(n) > (p.size-p.at)/each:
		p.fail("%s: %d do not fit into the %d bytes that are left of the file; it is cut short, download it again",
			what, n, p.size-p.at)
		return 0
	}
	return int(n)
}

func (p *parser) text(what string, most uint64) string {
	n := p.count(what+": length", most, 1)
	b := p.bytes(int64(n), what)
	if p.err == nil && !utf8.Valid(b) {
		p.fail("%s: not valid UTF-8", what)
	}
	return string(b)
}

func (p *parser) file() *File {
	if m := p.bytes(4, "magic"); p.err == nil && string(m) != magic {
		p.fail("the file does not begin with %s; it is no GGUF file", magic)
	}
	switch v := p.u32("version"); {
	case p.err != nil:
	case v == 2 || v == 3:
	case v&0xffff == 0:
		p.fail("version %d: a big-endian file, which is not supported; convert it with gguf-convert-endian", v>>24)
	default:
		p.fail("version %d is not supported; supported are 2 and 3: convert the model again with a current llama.cpp", v)
	}
	const leastTensor, leastKey = 8 + 4 + 8 + 4 + 8, 8 + 4 + 1
	tensors := p.count("number of tensors", maxTensors, leastTensor)
	keys := p.count("number of metadata keys", maxKeys, leastKey)
	f := &File{Meta: Meta{}}
	for range keys {
		p.key(f.Meta)
		if p.err != nil {
			return nil
		}
	}
	align := p.alignment(f.Meta)
	names := map[string]bool{}
	for range tensors {
		t := p.tensor(align)
		if p.err == nil && names[t.Name] {
			p.fail("tensor %q: its name stands twice in the file", t.Name)
		}
		if p.err != nil {
			return nil
		}
		names[t.Name] = true
		f.Tensors = append(f.Tensors, t)
	}
	if p.err == nil {
		f.DataStart = aligned(p.at, align)
		p.err = checkLayout(f.Tensors, p.size-f.DataStart, align)
	}
	return f
}

// The types of metadata values.
const (
	kindU8 = iota
	kindI8
	kindU16
	kindI16
	kindU32
	kindI32
	kindF32
	kindBool
	kindText
	kindList
	kindU64
	kindI64
	kindF64
	kinds
)

// kindSize is the bytes of a value, the length alone for a text.
var kindSize = [kinds]int64{1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8}

// key reads one key and its value.
func (p *parser) key(into Meta) {
	name := p.text("a metadata key", maxName)
	if _, twice := into[name]; twice {
		p.fail("metadata key %q stands twice in the file", name)
	}
	what := "metadata key " + strconv.Quote(name)
	kind := p.u32(what)
	if p.err != nil {
		return
	}
	if kind == kindList {
		into[name] = p.list(what)
	} else {
		into[name] = p.scalar(what, kind)
	}
	if p.err == nil && p.at > maxMetadata {
		p.fail("%s: the metadata goes on beyond %d bytes", what, maxMetadata)
	}
}

func (p *parser) scalar(what string, kind uint32) any {
	if kind == kindText {
		return p.text(what, maxText)
	}
	if kind >= kinds || kind == kindList {
		p.fail("%s: values of type %d are not known", what, kind)
		return nil
	}
	b := p.bytes(kindSize[kind], what)
	if p.err != nil {
		return nil
	}
	v := number(kind, b)
	if kind == kindBool && b[0] > 1 {
		p.fail("%s: a truth value is 0 or 1, found %d", what, b[0])
	}
	return v
}

// number decodes a value of a fixed size.
func number(kind uint32, b []byte) any {
	var wide [8]byte
	copy(wide[:], b)
	u := binary.LittleEndian.Uint64(wide[:])
	switch kind {
	case kindU8, kindU16, kindU32, kindU64:
		return u
	case kindI8:
		return int64(int8(u))
	case kindI16:
		return int64(int16(u))
	case kindI32:
		return int64(int32(u))
	case kindI64:
		return int64(u)
	case kindF32:
		return float64(math.Float32frombits(uint32(u)))
	case kindF64:
		return math.Float64frombits(u)
	}
	return u != 0
}

func (p *parser) list(what string) any {
	kind := p.u32(what)
	if p.err == nil && (kind >= kinds || kind == kindList) {
		p.fail("%s: lists of values of type %d are not supported", what, kind)
	}
	if p.err != nil {
		return nil
	}
	n := p.count(what+": elements", maxList, kindSize[kind])
	switch kind {
	case kindText:
		return listOf[string](p, what, kind, n)
	case kindBool:
		return listOf[bool](p, what, kind, n)
	case kindF32, kindF64:
		return listOf[float64](p, what, kind, n)
	case kindU8, kindU16, kindU32, kindU64:
		return listOf[uint64](p, what, kind, n)
	}
	return listOf[int64](p, what, kind, n)
}

func listOf[T any](p *parser, what string, kind uint32, n int) []T {
	list := make([]T, 0, n)
	for i := range n {
		v := p.scalar(what, kind)
		if p.err != nil {
			p.err = fmt.Errorf("element %d: %w", i, p.err)
			return nil
		}
		if p.at > maxMetadata {
			p.fail("%s: the metadata goes on beyond %d bytes", what, maxMetadata)
			return nil
		}
		list = append(list, v.(T)) //nolint:forcetypeassert // scalar gives the kind's type
	}
	return list
}

func (p *parser) alignment(m Meta) int64 {
	v, ok := m["general.alignment"]
	if !ok {
		return usualAlign
	}
	u, ok := v.(uint64)
	if !ok || u < 8 || u > maxAlignment || u&(u-1) != 0 {
		p.fail("general.alignment: expected a power of two from 8 to %d, found %v", maxAlignment, v)
		return usualAlign
	}
	return int64(u)
}

func aligned(at, align int64) int64 { return (at + align - 1) / align * align }

func (p *parser) tensor(align int64) Tensor {
	t := Tensor{Name: p.text("a tensor's name", maxName)}
	what := "tensor " + strconv.Quote(t.Name)
	n := p.u32(what)
	if p.err == nil && (n == 0 || n > maxDimensions) {
		p.fail("%s: %d dimensions; expected 1 to %d", what, n, maxDimensions)
	}
	elements := int64(1)
	for i := 0; i < int(n) && p.err == nil; i++ {
		d := p.u64(what)
		if p.err == nil && (d == 0 || d > math.MaxInt64 || int64(d) > math.MaxInt64/elements) {
			p.fail("%s: dimension %d is %d, which is none or more than can be counted", what, i, d)
			break
		}
		elements *= max(int64(d), 1)
		t.Shape = append(t.Shape, int(d))
	}
	code := p.u32(what)
	begin := p.u64(what)
	if p.err != nil {
		return t
	}
	var known bool
	if t.Type, known = types[code]; !known {
		p.fail("%s: %s", what, unsupported(code))
		return t
	}
	columns := int64(t.Shape[0])
	slices.Reverse(t.Shape)
	block, bytes := int64(t.Type.Elements), int64(t.Type.Bytes)
	switch {
	case columns%block != 0:
		p.fail("%s: rows of %d elements are no whole blocks of %s, which have %d", what, columns, t.Type.Name, block)
	case elements/block > math.MaxInt64/bytes:
		p.fail("%s: shape %v of %s has more bytes than can be counted", what, t.Shape, t.Type.Name)
	case begin%uint64(align) != 0:
		p.fail("%s: data begin at offset %d, which is no multiple of the alignment %d", what, begin, align)
	case begin > uint64(p.size) || elements/block*bytes > p.size-int64(begin):
		p.fail("%s: %d bytes of data at offset %d do not fit into the file's %d; it is cut short, download it again",
			what, elements/block*bytes, begin, p.size)
	default:
		t.Begin = int64(begin)
		t.End = t.Begin + elements/block*bytes
	}
	return t
}

// checkLayout sorts the tensors by offset and checks that they cover the data from its first byte to its last, but for
// the padding behind each.
func checkLayout(tensors []Tensor, dataLen, align int64) error {
	slices.SortFunc(tensors, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.End, b.End), cmp.Compare(a.Name, b.Name))
	})
	var at, end int64 // where the next tensor must begin; where the one before it ends
	for _, t := range tensors {
		switch {
		case t.Begin > at:
			return fmt.Errorf("tensor %q: data begin at offset %d, %d bytes after the place that follows the tensor before it", t.Name, t.Begin, t.Begin-at)
		case t.Begin < at:
			return fmt.Errorf("tensor %q: data begin at offset %d and overlap the tensor before it, which ends at %d",
				t.Name, t.Begin, end)
		case t.End > dataLen:
			return fmt.Errorf("tensor %q: data end at offset %d, but the file holds only %d bytes of data; it is cut short, download it again", t.Name, t.End, dataLen)
		}
		end = t.End
		at = aligned(end, align)
	}
	switch {
	case len(tensors) == 0 && dataLen > 0:
		return errors.New("the file has data, but no tensors")
	case dataLen > at:
		return fmt.Errorf("tensors cover %d bytes of data, but the file holds %d", at, dataLen)
	}
	return nil
}
