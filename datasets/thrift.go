package datasets

import (
	"encoding/binary"
	"errors"
)

// Bounds on one Thrift value. A parquet footer nests seven deep and has a few
// hundred list elements for each thousand column chunks.
const (
	maxThriftDepth    = 24
	maxThriftElements = 1 << 16
)

var (
	errThriftShort = errors.New("the metadata ends in the middle of a value")
	errThriftType  = errors.New("the metadata holds a value of an unknown type")
	errThriftDepth = errors.New("the metadata is nested too deeply")
	errThriftCount = errors.New("the metadata claims more list elements than it can hold")
)

// thriftLen returns how many bytes the struct at the start of b takes in
// Thrift's compact protocol. It decodes nothing: it makes sure that a decoder
// will neither run past b, nor recurse without bound, nor allocate for a list
// longer than b can hold.
// https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
func thriftLen(b []byte) (int, error) {
	w := thriftWalk{b: b}
	if err := w.structure(0); err != nil {
		return 0, err
	}
	return w.pos, nil
}

type thriftWalk struct {
	b        []byte
	pos      int
	elements int
}

// The compact protocol's types.
const (
	thriftStop   = 0
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
	thriftUUID   = 13
)

func (w *thriftWalk) structure(depth int) error {
	if depth > maxThriftDepth {
		return errThriftDepth
	}
	for {
		b, err := w.byte()
		if err != nil {
			return err
		}
		if b == thriftStop {
			return nil
		}
		kind := b & 0x0f
		if b>>4 == 0 { // the field's number follows
			if _, err := w.varint(); err != nil {
				return err
			}
		}
		if kind == thriftTrue || kind == thriftFalse {
			continue // a field's truth is its type
		}
		if err := w.value(kind, depth); err != nil {
			return err
		}
	}
}

// value skips a value other than a boolean field.
func (w *thriftWalk) value(kind byte, depth int) error {
	switch kind {
	case thriftTrue, thriftFalse, thriftByte:
		return w.skip(1)
	case thriftI16, thriftI32, thriftI64:
		_, err := w.varint()
		return err
	case thriftDouble:
		return w.skip(8)
	case thriftUUID:
		return w.skip(16)
	case thriftBinary:
		n, err := w.varint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case thriftList, thriftSet:
		return w.list(depth)
	case thriftMap:
		return w.mapping(depth)
	case thriftStruct:
		return w.structure(depth + 1)
	default:
		return errThriftType
	}
}

func (w *thriftWalk) list(depth int) error {
	b, err := w.byte()
	if err != nil {
		return err
	}
	n := uint64(b >> 4)
	if n == 15 {
		if n, err = w.varint(); err != nil {
			return err
		}
	}
	return w.items(n, depth, b&0x0f)
}

func (w *thriftWalk) mapping(depth int) error {
	n, err := w.varint()
	if err != nil || n == 0 {
		return err
	}
	b, err := w.byte()
	if err != nil {
		return err
	}
	return w.items(n, depth, b>>4, b&0x0f)
}

// items skips n times a value of each of kinds.
func (w *thriftWalk) items(n uint64, depth int, kinds ...byte) error {
	if depth >= maxThriftDepth {
		return errThriftDepth
	}
	if n > uint64(maxThriftElements-w.elements) || n > uint64(len(w.b)-w.pos) {
		return errThriftCount
	}
	w.elements += int(n)
	for range n {
		for _, kind := range kinds {
			if err := w.value(kind, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *thriftWalk) byte() (byte, error) {
	if w.pos >= len(w.b) {
		return 0, errThriftShort
	}
	w.pos++
	return w.b[w.pos-1], nil
}

func (w *thriftWalk) varint() (uint64, error) {
	v, n := binary.Uvarint(w.b[w.pos:])
	if n <= 0 {
		return 0, errThriftShort
	}
	w.pos += n
	return v, nil
}

func (w *thriftWalk) skip(n uint64) error {
	if n > uint64(len(w.b)-w.pos) {
		return errThriftShort
	}
	w.pos += int(n)
	return nil
}
