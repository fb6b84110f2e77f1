package datasets

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

var errDelta = errors.New("damaged: a delta encoding that does not add up")

// checkDeltaLengths checks n strings as their lengths, in deltas, and then their
// bytes (DELTA_LENGTH_BYTE_ARRAY).
// https://parquet.apache.org/docs/file-format/data-pages/encodings/
func checkDeltaLengths(data []byte, n int) ([]int32, error) {
	lengths, rest, err := deltas(data, n)
	if err != nil {
		return nil, err
	}
	total := 0
	for _, l := range lengths {
		if total += int(l); l < 0 || total > len(rest) {
			return nil, errDelta
		}
	}
	if total != len(rest) {
		return nil, errDelta
	}
	return lengths, nil
}

// checkDeltaStrings checks n strings, each as how much it has in common with the
// one before it, and the rest (DELTA_BYTE_ARRAY). A small page may stand for much
// text.
func checkDeltaStrings(data []byte, n int) error {
	prefixes, rest, err := deltas(data, n)
	if err != nil {
		return err
	}
	suffixes, err := checkDeltaLengths(rest, n)
	if err != nil {
		return err
	}
	before, total := 0, 0
	for i, p := range prefixes {
		if p < 0 || int(p) > before {
			return errDelta
		}
		before = int(p) + int(suffixes[i])
		if total += before; total > maxPageBytes {
			return errTooMuchText
		}
	}
	return nil
}

// deltas decodes n numbers in DELTA_BINARY_PACKED and returns what follows them.
func deltas(data []byte, n int) (values []int32, rest []byte, err error) {
	const mostBlock = 1 << 16
	number := func() uint64 {
		v, size := binary.Uvarint(data)
		if size <= 0 {
			err = errDelta
			return 0
		}
		data = data[size:]
		return v
	}
	signed := func() int64 {
		v := number()
		return int64(v>>1) ^ -int64(v&1)
	}
	block, miniblocks, count, value := number(), number(), number(), signed()
	if err != nil || count != uint64(n) || block == 0 || block > mostBlock || block%128 != 0 || miniblocks == 0 ||
		block%miniblocks != 0 || (block/miniblocks)%32 != 0 {
		return nil, nil, errDelta
	}
	values = make([]int32, 0, n)
	if n > 0 {
		values = append(values, int32(value))
	}
	each := int(block / miniblocks)
	for len(values) < n {
		least := signed()
		if err != nil || len(data) < int(miniblocks) {
			return nil, nil, errDelta
		}
		widths := data[:miniblocks]
		data = data[miniblocks:]
		for _, w := range widths {
			if len(values) == n {
				break // the last miniblocks are not there
			}
			size := each / 8 * int(w)
			if w > 32 || size > len(data) {
				return nil, nil, errDelta
			}
			for i := 0; i < each && len(values) < n; i++ {
				delta := uint32(0)
				if w > 0 {
					delta = unpack(data, i*int(w), int(w))
				}
				value += least + int64(delta)
				if value < 0 || bits.Len64(uint64(value)) > 31 {
					return nil, nil, errDelta
				}
				values = append(values, int32(value))
			}
			data = data[size:]
		}
	}
	return values, data, nil
}
