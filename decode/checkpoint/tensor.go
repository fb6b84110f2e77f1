package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"unsafe"

	"github.com/gsmeval/gsmeval/decode/checkpoint/half"
)

// DType is an element type as safetensors spells it: "F32", "BF16", "I64".
type DType string

// The element types that the weights of a language model come in.
const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
)

// dtypeNames lists the known types by the size of an element in bytes. The packed
// types of less than a byte (F4, F6_E2M3, F6_E3M2) are left out: nothing here
// could compute with them.
var dtypeNames = [...]struct {
	size  int
	names []DType
}{
	{1, []DType{"BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}},
	{2, []DType{"I16", "U16", F16, BF16}},
	{4, []DType{"I32", "U32", F32}},
	{8, []DType{"I64", "U64", F64, "C64"}},
}

// Size is the number of bytes of one element, 0 for an unknown type.
func (d DType) Size() int {
	for _, row := range dtypeNames {
		for _, name := range row.names {
			if name == d {
				return row.size
			}
		}
	}
	return 0
}

func knownDTypes() string {
	var names []string
	for _, row := range dtypeNames {
		for _, name := range row.names {
			names = append(names, string(name))
		}
	}
	return strings.Join(names, ", ")
}

// Tensor is one tensor of a checkpoint, row-major and little-endian.
type Tensor struct {
	Name  string
	DType DType // of the elements; those of a packed tensor as Stream hands them over
	Shape []int // empty for a scalar

	// Data is a view into the read-only mapping of the file, valid until
	// Weights.Close. Writing to it faults. Reading it faults too if another
	// process shortens the file meanwhile: Go code should go through CopyTo and
	// CopyAt, which turn that into an error; C code that reads Data dies of it.
	// A packed tensor has none.
	Data []byte

	shard  *shard
	packed packing // nil where the elements are stored as they are
}

// packing is how the elements of a quantised tensor come about.
type packing interface {
	// format names it for people: "Q4_1", "GPTQ 4 bit".
	format() string

	// parts are the stored tensors that it reads.
	parts() []Tensor

	// unit is the number of elements that are decoded together: a piece of the tensor begins at a multiple of it, and
	// ends at one or with the tensor.
	unit() int

	// decode fills dst with elements from first on, in the tensor's DType. It reads the mappings of the parts and
	// nothing else.
	decode(dst []byte, first int)
}

// Elements is the number of elements, 1 for a scalar.
func (t Tensor) Elements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Size is the number of bytes that Stream hands over in all.
func (t Tensor) Size() int { return t.Elements() * t.DType.Size() }

// Stored is the number of bytes of the tensor in the files, and the name of their format.
func (t Tensor) Stored() (bytes int, format string) {
	if t.packed == nil {
		return len(t.Data), string(t.DType)
	}
	for _, p := range t.packed.parts() {
		bytes += len(p.Data)
	}
	return bytes, t.packed.format()
}

// AlignedTo reports whether the data starts at an address that is a multiple of
// n bytes. The format promises no alignment at all.
func (t Tensor) AlignedTo(n int) bool {
	return len(t.Data) == 0 || uintptr(unsafe.Pointer(unsafe.SliceData(t.Data)))%uintptr(n) == 0
}

// CopyTo copies the whole tensor into dst, which must have exactly its length.
// It is an error if the file has changed since it was opened.
func (t Tensor) CopyTo(dst []byte) error {
	if len(dst) != len(t.Data) {
		return fmt.Errorf("copying tensor %s: destination has %d bytes, the tensor %d", quote(t.Name), len(dst),
			len(t.Data))
	}
	return t.CopyAt(dst, 0)
}

// CopyAt fills dst with the tensor's bytes from byte offset off on. It serves
// callers that convert piece by piece and must not hold a second copy.
func (t Tensor) CopyAt(dst []byte, off int) error {
	if off < 0 || off > len(t.Data) || len(dst) > len(t.Data)-off {
		return fmt.Errorf("copying tensor %s: bytes %d to %d of %d do not exist", quote(t.Name), off, off+len(dst),
			len(t.Data))
	}
	err := t.shard.use(func() { copy(dst, t.Data[off:]) })
	if err != nil {
		return fmt.Errorf("copying tensor %s: %w", quote(t.Name), err)
	}
	return nil
}

// CheckFinite reports the first NaN or infinity of a floating-point tensor, by
// index. Tensors of whole numbers pass. It reads gigabytes a second.
func (t Tensor) CheckFinite() error {
	l, err := t.lanes()
	if err != nil || l.size == 0 {
		return err
	}
	bad := -1
	if err := t.shard.use(func() { bad = l.firstBad(t.Data) }); err != nil {
		return fmt.Errorf("checking tensor %s: %w", quote(t.Name), err)
	}
	return t.finite(bad)
}

// Stream copies the tensor to buf piece by piece and hands each piece over with the
// index of its first element. Every piece is checked as CheckFinite does, so that a
// loader reads the file once and never holds a second copy of a tensor.
func (t Tensor) Stream(buf []byte, use func(first int, piece []byte) error) error {
	l, err := t.lanes()
	if err != nil {
		return err
	}
	size, total := t.DType.Size(), t.Size()
	unit := size
	if t.packed != nil {
		unit *= t.packed.unit()
	}
	whole := len(buf) / unit * unit
	if whole == 0 && len(buf) < total {
		return fmt.Errorf("reading tensor %s: a buffer of %d bytes is too small", quote(t.Name), len(buf))
	}
	whole = max(whole, unit)
	for off := 0; off < total; off += whole {
		piece := buf[:min(whole, total-off)]
		if err := t.read(piece, off); err != nil {
			return err
		}
		if l.size != 0 {
			if bad := l.firstBad(piece); bad >= 0 {
				return t.finite(off/size + bad)
			}
		}
		if err := use(off/size, piece); err != nil {
			return err
		}
	}
	return nil
}

// compareElements is how many elements Equal and Zero read at once; every packing's unit divides it.
const compareElements = 1 << 16

// Equal tells whether two floating-point tensors have the same shape and values, in whatever types they are stored.
func Equal(a, b Tensor) (bool, error) {
	if !slices.Equal(a.Shape, b.Shape) {
		return false, nil
	}
	x, y := make([]float32, compareElements), make([]float32, compareElements)
	for first := 0; first < a.Elements(); first += len(x) {
		n := min(len(x), a.Elements()-first)
		if err := errors.Join(a.floats(x[:n], first), b.floats(y[:n], first)); err != nil {
			return false, err
		}
		if !slices.Equal(x[:n], y[:n]) {
			return false, nil
		}
	}
	return true, nil
}

// Zero tells whether all elements of a floating-point tensor are 0.
func Zero(t Tensor) (bool, error) {
	x := make([]float32, compareElements)
	for first := 0; first < t.Elements(); first += len(x) {
		n := min(len(x), t.Elements()-first)
		if err := t.floats(x[:n], first); err != nil {
			return false, err
		}
		if slices.ContainsFunc(x[:n], func(v float32) bool { return v != 0 }) {
			return false, nil
		}
	}
	return true, nil
}

// floats reads elements from first on as float32.
func (t Tensor) floats(dst []float32, first int) error {
	size := t.DType.Size()
	data := make([]byte, len(dst)*size)
	if err := t.read(data, first*size); err != nil {
		return err
	}
	for i := range dst {
		switch e := data[i*size:]; t.DType {
		case F16:
			dst[i] = half.Float16(binary.LittleEndian.Uint16(e))
		case BF16:
			dst[i] = half.BFloat16(binary.LittleEndian.Uint16(e))
		case F32:
			dst[i] = half.Float32(e)
		case F64:
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(e)))
		default:
			return fmt.Errorf("%s: tensor %s: %s is no floating-point type that can be computed with", t.shard.path,
				quote(t.Name), t.DType)
		}
	}
	return nil
}

// read fills dst with the tensor's bytes from byte offset off on.
func (t Tensor) read(dst []byte, off int) error {
	if t.packed == nil {
		return t.CopyAt(dst, off)
	}
	decode := func() error {
		t.packed.decode(dst, off/t.DType.Size())
		return nil
	}
	var held []*shard // a mapping is held for as long as it is read
	for _, p := range t.packed.parts() {
		if !slices.Contains(held, p.shard) {
			held = append(held, p.shard)
			inner, holder := decode, p.shard
			decode = func() (err error) {
				if use := holder.use(func() { err = inner() }); use != nil {
					return use
				}
				return err
			}
		}
	}
	if err := decode(); err != nil {
		return fmt.Errorf("reading tensor %s: %w", quote(t.Name), err)
	}
	return nil
}

// lanes chooses how to look for NaN and infinity; the zero lanes is for types that have none.
func (t Tensor) lanes() (lanes, error) {
	switch t.DType {
	case F64:
		return lanesF64, nil
	case F32:
		return lanesF32, nil
	case BF16:
		return lanesBF16, nil
	case F16:
		return lanesF16, nil
	case "BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "I64", "U64":
		return lanes{}, nil
	}
	return lanes{},
		fmt.Errorf("%s: tensor %s: dtype %s cannot be checked for NaN and infinity; convert the checkpoint to F32, F16 or BF16", t.shard.path, quote(t.Name), t.DType)
}

// finite is the error of a bad element, nil for -1.
func (t Tensor) finite(bad int) error {
	if bad < 0 {
		return nil
	}
	return fmt.Errorf("%s: tensor %s: element %d of %d is NaN or infinite; download the file again, or the checkpoint itself is broken",
		t.shard.path, quote(t.Name), bad, t.Elements())
}

// lanes finds elements whose exponent bits are all ones, several in each 64-bit
// word: with the sign cleared, adding one to the exponent's lowest bit carries into the
// sign's place for exactly those, and never beyond.
type lanes struct {
	size                  int
	clear, add, signPlace uint64
}

var (
	lanesF64  = lanes{8, 0x7fffffffffffffff, 0x0010000000000000, 0x8000000000000000}
	lanesF32  = lanes{4, 0x7fffffff7fffffff, 0x0080000000800000, 0x8000000080000000}
	lanesBF16 = lanes{2, 0x7fff7fff7fff7fff, 0x0080008000800080, 0x8000800080008000}
	lanesF16  = lanes{2, 0x7fff7fff7fff7fff, 0x0400040004000400, 0x8000800080008000}
)

// firstBad returns the index of the first element that is not finite, or -1.
func (l lanes) firstBad(data []byte) int {
	const block = 4096
	for base := 0; base < len(data); base += block {
		b := data[base:min(base+block, len(data))]
		var acc uint64
		words := b
		for ; len(words) >= 32; words = words[32:] {
			w := words[:32:32] // one bounds check for four loads
			acc |= binary.LittleEndian.Uint64(w)&l.clear + l.add
			acc |= binary.LittleEndian.Uint64(w[8:])&l.clear + l.add
			acc |= binary.LittleEndian.Uint64(w[16:])&l.clear + l.add
			acc |= binary.LittleEndian.Uint64(w[24:])&l.clear + l.add
		}
		for ; len(words) >= 8; words = words[8:] {
			acc |= binary.LittleEndian.Uint64(words)&l.clear + l.add
		}
		if len(words) > 0 {
			var last [8]byte
			copy(last[:], words)
			acc |= binary.LittleEndian.Uint64(last[:])&l.clear + l.add
		}
		if acc&l.signPlace != 0 {
			return base/l.size + l.firstBadOf(b)
		}
	}
	return -1
}

// firstBadOf looks at one element at a time.
func (l lanes) firstBadOf(b []byte) int {
	for i := 0; i < len(b); i += l.size {
		var word [8]byte
		copy(word[:], b[i:i+l.size])
		if (binary.LittleEndian.Uint64(word[:])&l.clear+l.add)&l.signPlace != 0 {
			return i / l.size
		}
	}
	return -1
}

// guarded runs f, which reads a mapping, and turns a memory fault (the file was
// shortened, the disk failed) into an error instead of the end of the process.
func guarded(f func()) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			err = fmt.Errorf("reading its mapping failed: the file was shortened or the disk has an error (%v)", r)
		}
	}()
	f()
	return nil
}
