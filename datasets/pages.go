package datasets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

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
	file     []byte // up to the footer
	meta     *format.ColumnMetaData
	optional bool
	rows     int64
	budget   *int64 // uncompressed bytes still allowed in the file

	dictionary int // values in it, -1 before a dictionary page
}

// check checks the chunk's metadata and every page. The library takes the codec
// of a whole column from first, the chunk in the first row group.
func (c *chunkCheck) check(chunk, first *format.ColumnChunk, l leaf) error {
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
	case m.Type != l.element.Type.V || len(m.PathInSchema) != 1 || m.PathInSchema[0] != l.path:
		return errors.New("damaged metadata: it describes another column than the schema does")
	case m.NumValues != c.rows:
		return fmt.Errorf("damaged metadata: %d values for %d rows", m.NumValues, c.rows)
	case m.Codec != first.MetaData.Codec:
		return fmt.Errorf("it is compressed with %v, earlier row groups with %v: write the file with one codec", m.Codec, first.MetaData.Codec)
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
		if values > c.rows {
			return fmt.Errorf("page %d: damaged: more values than the %d rows", number, c.rows)
		}
		pages = pages[size:]
	}
	if values != c.rows {
		return fmt.Errorf("damaged: its pages hold %d values for %d rows", values, c.rows)
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
		return unsupportedEncoding(d.Encoding)
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
	present := int(d.NumValues)
	if c.optional {
		if d.DefinitionLevelEncoding != format.RLE {
			return unsupportedEncoding(d.DefinitionLevelEncoding)
		}
		if len(data) < 4 || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-4) {
			return errors.New("damaged: its levels are longer than the page")
		}
		n := 4 + int(binary.LittleEndian.Uint32(data))
		if present, err = countPresent(data[4:n], int(d.NumValues)); err != nil {
			return err
		}
		data = data[n:]
	}
	return c.values(d.Encoding, data, present)
}

func (c *chunkCheck) dataPageV2(h *format.PageHeader, body []byte) error {
	d := &h.DataPageHeaderV2.V
	if err := c.checkCount(d.NumValues); err != nil {
		return err
	}
	levels := int(d.DefinitionLevelsByteLength)
	if d.RepetitionLevelsByteLength != 0 || levels < 0 || levels > len(body) || levels > int(h.UncompressedPageSize) || (levels != 0) != (c.optional && d.NumValues > 0) {
		return errors.New("damaged header: wrong length of levels")
	}
	present := int(d.NumValues)
	if c.optional {
		var err error
		if present, err = countPresent(body[:levels], int(d.NumValues)); err != nil {
			return err
		}
	}
	if int(d.NumValues)-present != int(d.NumNulls) {
		return fmt.Errorf("damaged: %d nulls are claimed, there are %d", d.NumNulls, int(d.NumValues)-present)
	}
	codec := c.meta.Codec
	if d.IsCompressed.Valid && !d.IsCompressed.V {
		codec = format.Uncompressed
	}
	data, err := decompress(codec, body[levels:], int(h.UncompressedPageSize)-levels)
	if err != nil {
		return err
	}
	return c.values(d.Encoding, data, present)
}

func (c *chunkCheck) checkCount(n int32) error {
	if n < 0 || int64(n) > c.rows {
		return fmt.Errorf("damaged header: %d values for %d rows", n, c.rows)
	}
	return nil
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
			return unsupportedEncoding(encoding)
		}
		_, err := checkDeltaLengths(data, present)
		return err
	case format.DeltaByteArray:
		if c.meta.Type != format.ByteArray {
			return unsupportedEncoding(encoding)
		}
		return checkDeltaStrings(data, present)
	default:
		return unsupportedEncoding(encoding)
	}
}

func unsupportedEncoding(e format.Encoding) error {
	return fmt.Errorf("encoding %v is not supported: write the file with PLAIN, dictionary or DELTA_BYTE_ARRAY encoding", e)
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

// countPresent reads definition levels of 0 and 1 and counts the ones.
func countPresent(levels []byte, values int) (int, error) {
	present := 0
	err := runs(levels, 1, values, func(level uint32, n int) error {
		if level > 1 {
			return fmt.Errorf("damaged: a definition level of %d", level)
		}
		present += int(level) * n
		return nil
	})
	return present, err
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
