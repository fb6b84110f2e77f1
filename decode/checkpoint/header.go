package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The limits of the safetensors format and ours.
const (
	lengthBytes    = 8           // the header's length, a little-endian uint64, opens the file
	maxHeaderBytes = 100_000_000 // the reference implementation's cap
	maxRank        = 64          // libtorch's cap on dimensions
)

// entry is one tensor of a safetensors header. begin and end are offsets into
// the data that follows the header.
type entry struct {
	name       string
	dtype      DType
	shape      []int
	begin, end int64
}

// parseHeader parses and checks the JSON header of a safetensors file whose data
// part has dataLen bytes. It returns the tensors in the order of their data.
func parseHeader(header []byte, dataLen int64) ([]entry, error) {
	if len(header) == 0 || header[0] != '{' {
		return nil, errors.New("header does not start with '{'; this is not a safetensors file")
	}
	if !utf8.Valid(header) {
		return nil, errors.New("header is not valid UTF-8")
	}
	p := &headerParser{dec: json.NewDecoder(bytes.NewReader(header))}
	p.dec.UseNumber()
	entries, err := p.parse()
	if err != nil {
		return nil, err
	}
	if rest := bytes.TrimLeft(header[p.dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, fmt.Errorf("header goes on after its closing brace (byte %d)", len(header)-len(rest))
	}
	if err := checkLayout(entries, dataLen); err != nil {
		return nil, err
	}
	return entries, nil
}

// checkLayout sorts the entries by offset and checks that they cover the data
// part from its first byte to its last, each byte once.
func checkLayout(entries []entry, dataLen int64) error {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), cmp.Compare(a.name, b.name))
	})
	var at int64
	for _, e := range entries {
		switch {
		case e.begin > at:
			return fmt.Errorf("tensor %s: data begins at offset %d, %d bytes after the end of the tensor before it",
				quote(e.name), e.begin, e.begin-at)
		case e.begin < at:
			return fmt.Errorf("tensor %s: data begins at offset %d and overlaps the tensor before it, which ends at %d",
				quote(e.name), e.begin, at)
		case e.end > dataLen:
			return fmt.Errorf("tensor %s: data ends at offset %d, but the file holds only %d bytes of data; it is cut short, download it again", quote(e.name), e.end, dataLen)
		}
		at = e.end
	}
	if at != dataLen {
		return fmt.Errorf("tensors cover %d bytes of data, but the file holds %d", at, dataLen)
	}
	return nil
}

// headerParser walks over the tokens of a header. The grammar is fixed and flat,
// so a value in the wrong place is refused at its first token and nesting cannot grow.
type headerParser struct {
	dec *json.Decoder
}

func (p *headerParser) token() (json.Token, error) {
	tok, err := p.dec.Token()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("header is not valid JSON: it ends too early")
	}
	if err != nil {
		return nil, fmt.Errorf("header is not valid JSON at byte %d: %w", p.dec.InputOffset(), err)
	}
	return tok, nil
}

// expect reads one delimiter.
func (p *headerParser) expect(want json.Delim, what string) error {
	tok, err := p.token()
	if err != nil {
		return err
	}
	if tok != want {
		return fmt.Errorf("%s: expected '%s', found %s", what, want, describe(tok))
	}
	return nil
}

func (p *headerParser) parse() ([]entry, error) {
	if err := p.expect('{', "header"); err != nil {
		return nil, err
	}
	var entries []entry
	seen := map[string]struct{}{}
	for p.dec.More() {
		tok, err := p.token()
		if err != nil {
			return nil, err
		}
		name, ok := tok.(string)
		if !ok {
			return nil, fmt.Errorf("header: expected a tensor's name, found %s", describe(tok))
		}
		if _, dup := seen[name]; dup {
			return nil, fmt.Errorf("tensor %s: its name stands twice in the header", quote(name))
		}
		seen[name] = struct{}{}
		if name == "__metadata__" {
			if err := p.metadata(); err != nil {
				return nil, err
			}
			continue
		}
		e, err := p.tensor(name)
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", quote(name), err)
		}
		entries = append(entries, e)
	}
	if err := p.expect('}', "header"); err != nil {
		return nil, err
	}
	return entries, nil
}

// metadata checks the one object that is no tensor: strings only.
func (p *headerParser) metadata() error {
	if err := p.expect('{', "__metadata__"); err != nil {
		return err
	}
	seen := map[string]struct{}{}
	for p.dec.More() {
		tok, err := p.token()
		if err != nil {
			return err
		}
		key, ok := tok.(string)
		if !ok {
			return fmt.Errorf("__metadata__: expected a key, found %s", describe(tok))
		}
		if _, dup := seen[key]; dup {
			return fmt.Errorf("__metadata__: key %s stands twice", quote(key))
		}
		seen[key] = struct{}{}
		tok, err = p.token()
		if err != nil {
			return err
		}
		if _, ok := tok.(string); !ok {
			return fmt.Errorf("__metadata__: key %s: expected a string, found %s", quote(key), describe(tok))
		}
	}
	return p.expect('}', "__metadata__")
}

func (p *headerParser) tensor(name string) (entry, error) {
	e := entry{name: name}
	if err := p.expect('{', "description"); err != nil {
		return e, err
	}
	var hasType, hasShape, hasOffsets bool
	for p.dec.More() {
		tok, err := p.token()
		if err != nil {
			return e, err
		}
		key, ok := tok.(string)
		if !ok {
			return e, fmt.Errorf("expected a key, found %s", describe(tok))
		}
		switch {
		case key == "dtype" && !hasType:
			hasType = true
			e.dtype, err = p.dtype()
		case key == "shape" && !hasShape:
			hasShape = true
			e.shape, err = p.shape()
		case key == "data_offsets" && !hasOffsets:
			hasOffsets = true
			e.begin, e.end, err = p.offsets()
		case key == "dtype", key == "shape", key == "data_offsets":
			err = fmt.Errorf("key %q stands twice", key)
		default:
			err = fmt.Errorf("unknown key %s; expected dtype, shape and data_offsets", quote(key))
		}
		if err != nil {
			return e, err
		}
	}
	if err := p.expect('}', "description"); err != nil {
		return e, err
	}
	switch {
	case !hasType:
		return e, errors.New("dtype is missing")
	case !hasShape:
		return e, errors.New("shape is missing")
	case !hasOffsets:
		return e, errors.New("data_offsets are missing")
	}
	return e, e.checkLength()
}

// checkLength compares the length of the data with shape and dtype.
func (e entry) checkLength() error {
	// An empty tensor is legal whatever its other dimensions are, so zero is
	// looked for before the product can overflow.
	elements := int64(1)
	if slices.Contains(e.shape, 0) {
		elements = 0
	}
	for _, d := range e.shape {
		if elements != 0 && int64(d) > math.MaxInt64/elements {
			return fmt.Errorf("shape %v has more elements than can be counted", e.shape)
		}
		elements *= int64(d)
	}
	size := int64(e.dtype.Size())
	if elements > math.MaxInt64/size {
		return fmt.Errorf("shape %v of %s has more bytes than can be counted", e.shape, e.dtype)
	}
	if want := elements * size; want != e.end-e.begin {
		return fmt.Errorf("shape %v of %s needs %d bytes, but data_offsets [%d, %d] hold %d", e.shape, e.dtype, want,
			e.begin, e.end, e.end-e.begin)
	}
	return nil
}

func (p *headerParser) dtype() (DType, error) {
	tok, err := p.token()
	if err != nil {
		return "", err
	}
	s, ok := tok.(string)
	if !ok {
		return "", fmt.Errorf("dtype: expected a string, found %s", describe(tok))
	}
	if DType(s).Size() == 0 {
		return "", fmt.Errorf("dtype %s is not supported; known are %s", quote(s), knownDTypes())
	}
	return DType(s), nil
}

func (p *headerParser) shape() ([]int, error) {
	if err := p.expect('[', "shape"); err != nil {
		return nil, err
	}
	shape := []int{}
	for p.dec.More() {
		d, err := p.natural("shape")
		if err != nil {
			return nil, err
		}
		if len(shape) == maxRank {
			return nil, fmt.Errorf("shape has more than %d dimensions", maxRank)
		}
		shape = append(shape, int(d))
	}
	return shape, p.expect(']', "shape")
}

func (p *headerParser) offsets() (begin, end int64, err error) {
	if err := p.expect('[', "data_offsets"); err != nil {
		return 0, 0, err
	}
	if begin, err = p.natural("data_offsets"); err != nil {
		return 0, 0, err
	}
	if end, err = p.natural("data_offsets"); err != nil {
		return 0, 0, err
	}
	if begin > end {
		return 0, 0, fmt.Errorf("data_offsets [%d, %d] end before they begin", begin, end)
	}
	return begin, end, p.expect(']', "data_offsets")
}

// natural reads a whole number from 0 to 2^63 - 1, written with digits alone.
func (p *headerParser) natural(what string) (int64, error) {
	tok, err := p.token()
	if err != nil {
		return 0, err
	}
	num, ok := tok.(json.Number)
	if !ok {
		return 0, fmt.Errorf("%s: expected a whole number, found %s", what, describe(tok))
	}
	n, err := strconv.ParseUint(num.String(), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%s: expected a whole number from 0 to 2^63 - 1, found %s", what, clip(num.String()))
	}
	return int64(n), nil
}

// describe names a token for a message.
func describe(tok json.Token) string {
	switch t := tok.(type) {
	case json.Delim:
		return "'" + t.String() + "'"
	case string:
		return "the string " + quote(t)
	case json.Number:
		return "the number " + clip(t.String())
	case bool:
		return strconv.FormatBool(t)
	default:
		return "null"
	}
}
