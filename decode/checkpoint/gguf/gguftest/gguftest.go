// Package gguftest writes GGUF files for tests, right and wrong ones.
package gguftest

import (
	"encoding/binary"
	"math"
)

// Writer appends to a file's bytes. What it writes is as right as its caller makes it.
type Writer struct{ B []byte }

// Header begins a file of so many tensors and keys.
func Header(version uint32, tensors, keys uint64) *Writer {
	w := &Writer{B: []byte("GGUF")}
	w.U32(version)
	w.U64(tensors)
	w.U64(keys)
	return w
}

// U32 appends a number of 32 bits.
func (w *Writer) U32(v uint32) { w.B = binary.LittleEndian.AppendUint32(w.B, v) }

// U64 appends a number of 64 bits.
func (w *Writer) U64(v uint64) { w.B = binary.LittleEndian.AppendUint64(w.B, v) }

// Text appends a text with its length.
func (w *Writer) Text(s string) {
	w.U64(uint64(len(s)))
	w.B = append(w.B, s...)
}

// Key appends a key with its value: an int (as 32 bits), a float64 (as 32 bits), a bool, a string, or a list of int,
// float64 or string.
func (w *Writer) Key(name string, value any) {
	w.Text(name)
	switch v := value.(type) {
	case []int:
		w.list(5, len(v))
		for _, x := range v {
			w.U32(uint32(x))
		}
	case []float64:
		w.list(6, len(v))
		for _, x := range v {
			w.U32(math.Float32bits(float32(x)))
		}
	case []string:
		w.list(8, len(v))
		for _, x := range v {
			w.Text(x)
		}
	case int:
		w.U32(4)
		w.U32(uint32(v))
	case float64:
		w.U32(6)
		w.U32(math.Float32bits(float32(v)))
	case bool:
		w.U32(7)
		w.B = append(w.B, map[bool]byte{true: 1}[v])
	case string:
		w.U32(8)
		w.Text(v)
	}
}

func (w *Writer) list(kind uint32, n int) {
	w.U32(9)
	w.U32(kind)
	w.U64(uint64(n))
}

// Tensor appends the description of a tensor: its dimensions with the fastest first.
func (w *Writer) Tensor(name string, kind uint32, offset uint64, dims ...uint64) {
	w.Text(name)
	w.U32(uint32(len(dims)))
	for _, d := range dims {
		w.U64(d)
	}
	w.U32(kind)
	w.U64(offset)
}

// Pad fills up to a multiple of n bytes.
func (w *Writer) Pad(n int) {
	for len(w.B)%n != 0 {
		w.B = append(w.B, 0)
	}
}

// Keys is a file of metadata alone.
func Keys(values map[string]any) []byte {
	w := Header(3, 0, uint64(len(values)))
	for k, v := range values {
		w.Key(k, v)
	}
	w.Pad(32)
	return w.B
}
