package datasets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// plainDictionary is PLAIN_DICTIONARY, what older writers call PLAIN in a
// dictionary page and RLE_DICTIONARY in a data page.
const plainDictionary format.Encoding = 2

// chunkCheck checks the pages of one column of one row group.
type chunkCheck struct {
	file   []byte // up to the footer
	meta   *format.ColumnMetaData
	leaf   leaf
	rows   int64
	budget *int64 // uncompressed bytes still allowed in the file

	dictionary int   // values in it, -1 before a dictionary page
	begun      int64 // rows that have begun in the pages so far
}

// maxValues bounds the values of a column of lists: a few bytes may claim any
// number of absent ones.
const maxValues = 16 * maxRows

// check checks the chunk's metadata and every page. The library takes the codec
// of a whole column from first, the chunk in the first row group.
func (c *chunkCheck) check(chunk, first *format.ColumnChunk) error {
	m := c.meta
	start := m.DataPageOffset
	if m.DictionaryPageOffset != 0 {
		start = m.DictionaryPageOffset
	}
	switch {
	case chunk.FilePath != "":
		return fmt.Errorf("its data is in another file, %.100q", chunk.FilePath)
	case chunk.CryptoMetadata.Value != nil || len(chunk.EncryptedColumnMetadata) > 0:
		return errors.New("it is encrypted")
	case m.Type != c.leaf.element.Type.V || !slices.Equal(m.PathInSchema, c.leaf.names):
		return errors.New("damaged metadata: it describes another column than the schema does")
	case m.NumValues != c.rows && c.leaf.maxRepetition == 0, m.NumValues < c.rows, m.NumValues > maxValues:
		return fmt.Errorf("damaged metadata: %d values for %d rows", m.NumValues, c.rows)
	case m.Codec != first.MetaData.Codec:
		return fmt.Errorf("it is compressed with %v, earlier row groups with %v: write the file with one codec",
			m.Codec, first.MetaData.Codec)
	case start < int64(len(parquetMagic)) || start > m.DataPageOffset || start > int64(len(c.file)) ||
		m.TotalCompressedSize < 0 || m.TotalCompressedSize > int64(len(c.file))-start:
		return errors.New("damaged metadata: its pages lie outside the file")
	}
	c.dictionary = -1
	pages := c.file[start : start+m.TotalCompressedSize]
	var values int64
	for number := 0; len(pages) > 0; number++ {
		n, size, err := c.page(pages)
		if err != nil {
			return fmt.Errorf("page %d: %w", number, err)
		}
		values += n
		if values > m.NumValues {
			return fmt.Errorf("page %d: damaged: more values than the %d of the column", number, m.NumValues)
		}
		pages = pages[size:]
	}
	if values != m.NumValues || c.begun != c.rows {
		return fmt.Errorf("damaged: its pages hold %d values of %d rows, its metadata say %d of %d", values, c.begun,
			m.NumValues, c.rows)
	}
	return nil
}

// page checks the page at the start of b and returns how many values it adds
// and how many bytes it takes.
func (c *chunkCheck) page(b []byte) (values int64, size int, err error) {
	n, err := thriftLen(b)
	if err != nil {
		return 0, 0, fmt.Errorf("damaged header: %w", err)
	}
	var h format.PageHeader
	if err := decodeThrift(b[:n], &h); err != nil {
		return 0, 0, fmt.Errorf("damaged header: %w", err)
	}
	if h.CompressedPageSize < 0 || int(h.CompressedPageSize) > len(b)-n {
		return 0, 0, fmt.Errorf("damaged header: %d bytes are claimed, %d are left", h.CompressedPageSize, len(b)-n)
	}
	if h.UncompressedPageSize < 0 || h.UncompressedPageSize > maxPageBytes {
		return 0, 0, fmt.Errorf("%d bytes when uncompressed, at most %d are read", h.UncompressedPageSize, maxPageBytes)
	}
	if *c.budget -= int64(h.UncompressedPageSize); *c.budget < 0 {
		return 0, 0, errTooMuchText
	}
	body := b[n : n+int(h.CompressedPageSize)]
	switch {
	case h.Type == format.DictionaryPage && h.DictionaryPageHeader.Valid:
		err = c.dictionaryPage(&h, body)
	case h.Type == format.DataPage && h.DataPageHeader.Valid:
		values = int64(h.DataPageHeader.V.NumValues)
		err = c.dataPageV1(&h, body)
	case h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid:
		values = int64(h.DataPageHeaderV2.V.NumValues)
		err = c.dataPageV2(&h, body)
	default:
		err = fmt.Errorf("damaged header: page type %v", h.Type)
	}
	return values, n + len(body), err
}

func (c *chunkCheck) dictionaryPage(h *format.PageHeader, body []byte) error {
	d := &h.DictionaryPageHeader.V
	if c.dictionary >= 0 {
		return errors.New("damaged: a second dictionary")
	}
	if d.Encoding != format.Plain && d.Encoding != plainDictionary {
		return c.unsupported(d.Encoding)
	}
	data, err := decompress(c.meta.Codec, body, int(h.UncompressedPageSize))
	if err != nil {
		return err
	}
	if err := c.plain(data, int(d.NumValues)); err != nil {
		return err
	}
	c.dictionary = int(d.NumValues)
	return nil
}

func (c *chunkCheck) dataPageV1(h *format.PageHeader, body []byte) error {
	d := &h.DataPageHeader.V
	if err := c.checkCount(d.NumValues); err != nil {
		return err
	}
	data, err := decompress(c.meta.Codec, body, int(h.UncompressedPageSize))
	if err != nil {
		return err
	}
	var levels [2][]byte // of repetition and of definition
	for i, encoding := range []format.Encoding{d.RepetitionLevelEncoding, d.DefinitionLevelEncoding} {
		if c.most(i) == 0 {
			continue
		}
		if encoding != format.RLE {
			return c.unsupported(encoding)
		}
		if len(data) < 4 || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-4) {
			return errors.New("damaged: its levels are longer than the page")
		}
		n := 4 + int(binary.LittleEndian.Uint32(data))
		levels[i], data = data[4:n], data[n:]
	}
	present, err := c.levels(levels, int(d.NumValues))
	if err != nil {
		return err
	}
	return c.values(d.Encoding, data, present)
}

func (c *chunkCheck) dataPageV2(h *format.PageHeader, body []byte) error {
	d := &h.DataPageHeaderV2.V
	if err := c.checkCount(d.NumValues); err != nil {
		return err
	}
	if d.NumValues == 0 && c.most(0)+c.most(1) > 0 {
		return errors.New("it has no values, which cannot be read: write the file with data pages of version 1")
	}
	var levels [2][]byte // of repetition and of definition
	rest := body
	for i, n := range []int{int(d.RepetitionLevelsByteLength), int(d.DefinitionLevelsByteLength)} {
		if n < 0 || n > len(rest) || len(body)-len(rest)+n > int(h.UncompressedPageSize) ||
			(n != 0) != (c.most(i) > 0) {
			return errors.New("damaged header: wrong length of levels")
		}
		levels[i], rest = rest[:n], rest[n:]
	}
	present, err := c.levels(levels, int(d.NumValues))
	if err != nil {
		return err
	}
	if int(d.NumValues)-present != int(d.NumNulls) {
		return fmt.Errorf("damaged: %d nulls are claimed, there are %d", d.NumNulls, int(d.NumValues)-present)
	}
	codec := c.meta.Codec
	if d.IsCompressed.Valid && !d.IsCompressed.V {
		codec = format.Uncompressed
	}
	data, err := decompress(codec, rest, int(h.UncompressedPageSize)-(len(body)-len(rest)))
	if err != nil {
		return err
	}
	return c.values(d.Encoding, data, present)
}

func (c *chunkCheck) checkCount(n int32) error {
	if n < 0 || int64(n) > c.meta.NumValues {
		return fmt.Errorf("damaged header: %d values in a column of %d", n, c.meta.NumValues)
	}
	return nil
}

// most is the largest level of repetition, 0, or of definition, 1.
func (c *chunkCheck) most(kind int) int {
	return []int{c.leaf.maxRepetition, c.leaf.maxDefinition}[kind]
}

// levels checks the levels of a page's values, counts the rows that begin in it
// and returns how many values are not absent.
func (c *chunkCheck) levels(levels [2][]byte, values int) (present int, err error) {
	present, begun := values, values
	for kind, count := range []func(level uint32, n int){
		func(level uint32, n int) {
			if level > 0 {
				begun -= n
			}
		},
		func(level uint32, n int) {
			if int(level) < c.leaf.maxDefinition {
				present -= n
			}
		},
	} {
		most := c.most(kind)
		if most == 0 {
			continue
		}
		first := true
		err := runs(levels[kind], bits.Len(uint(most)), values, func(level uint32, n int) error {
			switch {
			case level > uint32(most):
				return fmt.Errorf("damaged: a level of %d", level)
			case first && kind == 0 && level > 0 && c.begun == 0:
				return errors.New("damaged: it begins in the middle of a row")
			}
			first = false
			count(level, n)
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	c.begun += int64(begun)
	return present, nil
}

// values checks the encoded values of a data page, of which present are not
// null.
func (c *chunkCheck) values(encoding format.Encoding, data []byte, present int) error {
	switch encoding {
	case format.Plain:
		return c.plain(data, present)
	case plainDictionary, format.RLEDictionary:
		if c.dictionary < 0 {
			return errors.New("damaged: no dictionary before it")
		}
		if present == 0 && len(data) == 0 {
			return nil
		}
		if len(data) == 0 || data[0] > 32 {
			return errors.New("damaged: wrong width of dictionary indexes")
		}
		return runs(data[1:], int(data[0]), present, func(index uint32, _ int) error {
			if uint64(index) >= uint64(c.dictionary) {
				return fmt.Errorf("damaged: index %d into a dictionary of %d", index, c.dictionary)
			}
			return nil
		})
	case format.DeltaLengthByteArray:
		if c.meta.Type != format.ByteArray {
			return c.unsupported(encoding)
		}
		_, err := checkDeltaLengths(data, present)
		return err
	case format.DeltaByteArray:
		if c.meta.Type != format.ByteArray {
			return c.unsupported(encoding)
		}
		return checkDeltaStrings(data, present)
	default:
		return c.unsupported(encoding)
	}
}

func (c *chunkCheck) unsupported(e format.Encoding) error {
	good := "PLAIN or dictionary"
	if c.meta.Type == format.ByteArray {
		good = "PLAIN, dictionary or DELTA_BYTE_ARRAY"
	}
	return fmt.Errorf("encoding %v is not supported: write the file with %s encoding", e, good)
}

// plain checks n values that are written one after another.
func (c *chunkCheck) plain(data []byte, n int) error {
	width := widths[c.meta.Type]
	if width == 0 {
		return checkPlain(data, n)
	}
	if n < 0 || len(data) != n*width {
		return fmt.Errorf("damaged: %d bytes for %d numbers", len(data), n)
	}
	return nil
}

// checkPlain checks that data is n strings, each after its length.
func checkPlain(data []byte, n int) error {
	for range n {
		if len(data) < 4 {
			return errors.New("damaged: fewer strings than its header claims")
		}
		size := uint64(binary.LittleEndian.Uint32(data))
		if size > uint64(len(data)-4) {
			return errors.New("damaged: a string is longer than the page")
		}
		if size > maxCellBytes {
			return fmt.Errorf("a text of %d bytes, at most %d are read", size, maxCellBytes)
		}
		data = data[4+size:]
	}
	if len(data) > 0 || n < 0 {
		return errors.New("damaged: more strings than its header claims")
	}
	return nil
}

// runs reads n values of width bits in the RLE and bit-packing hybrid encoding,
// calling visit with each value and how often it is repeated. data must hold
// these values and nothing else but the padding of the last bit-packed group.
// https://parquet.apache.org/docs/file-format/data-pages/encodings/
func runs(data []byte, width, n int, visit func(value uint32, n int) error) error {
	for len(data) > 0 {
		header, size := binary.Uvarint(data)
		if size <= 0 {
			return errors.New("damaged: a run without a length")
		}
		data = data[size:]
		count := header >> 1
		if header&1 == 0 {
			size = (width + 7) / 8
			if count > uint64(n) || size > len(data) {
				return errors.New("damaged: a run longer than the page")
			}
			var word [4]byte
			copy(word[:], data[:size])
			if count > 0 {
				if err := visit(binary.LittleEndian.Uint32(word[:]), int(count)); err != nil {
					return err
				}
			}
			n -= int(count)
			data = data[size:]
			continue
		}
		if count > uint64(n+7)/8 || count*uint64(width) > uint64(len(data)) {
			return errors.New("damaged: a run longer than the page")
		}
		packed := int(count) * 8
		for i := range min(packed, n) {
			if err := visit(unpack(data, i*width, width), 1); err != nil {
				return err
			}
		}
		n -= min(packed, n)
		data = data[int(count)*width:]
	}
	if n > 0 {
		return fmt.Errorf("damaged: %d values are missing", n)
	}
	return nil
}

// unpack returns the width bits of data from the given bit on, least
// significant first.
func unpack(data []byte, bit, width int) uint32 {
	var v uint64
	first, last := bit/8, (bit+width+7)/8
	for i := last - 1; i >= first; i-- {
		v = v<<8 | uint64(data[i])
	}
	return uint32(v >> (bit % 8) & (1<<width - 1))
}

// decompress returns the size bytes that body holds, and never makes much more
// of it than maxPageBytes.
func decompress(codec format.CompressionCodec, body []byte, size int) (data []byte, err error) {
	switch codec {
	case format.Uncompressed:
		data = body
	case format.Snappy:
		var n int
		if n, err = snappy.DecodedLen(body); err == nil && n == size {
			data, err = snappy.Decode(nil, body)
		} else if err == nil {
			err = errors.New("another length than its header claims")
		}
	case format.Gzip:
		var r *gzip.Reader
		if r, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
			data, err = io.ReadAll(io.LimitReader(r, int64(size)+1))
		}
	case format.Brotli:
		data, err = io.ReadAll(io.LimitReader(brotli.NewReader(bytes.NewReader(body)), int64(size)+1))
	case format.Lz4Raw:
		var n int
		data = make([]byte, size)
		n, err = lz4.UncompressBlock(body, data)
		data = data[:max(n, 0)]
	case format.Zstd:
		// The decoder refuses a frame whose window or content is larger than its
		// memory; a window may be much larger than the page.
		var r *zstd.Decoder
		r, err = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxPageBytes), zstd.WithDecoderConcurrency(1))
		if err == nil {
			defer r.Close()
			data, err = r.DecodeAll(body, nil)
		}
	default:
		return nil, fmt.Errorf("compression %v is not supported: write the file with snappy, gzip, zstd, brotli or LZ4_RAW", codec)
	}
	if err == nil && len(data) != size {
		err = fmt.Errorf("%d bytes, its header claims %d", len(data), size)
	}
	if err != nil {
		return nil, fmt.Errorf("damaged: uncompressing %v: %w", codec, err)
	}
	return data, nil
}
