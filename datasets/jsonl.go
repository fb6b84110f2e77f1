package datasets

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxLineBytes bounds a line of JSON.
const maxLineBytes = 10 << 20

// eachLine calls visit with the number, from 1, and the keys of every line, each
// of which must hold one JSON object. Blank lines are skipped. Errors name the line.
func eachLine(ctx context.Context, r io.Reader,
	visit func(number int, line []byte, keys map[string]json.RawMessage) error,
) error {
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 0, 64<<10), maxLineBytes)
	number := 0
	for scan.Scan() {
		number++
		if number%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line := scan.Bytes()
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\uFEFF"))
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		keys, err := object(line)
		if err == nil {
			err = visit(number, line, keys)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	if errors.Is(scan.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d: more than %d bytes", number+1, maxLineBytes)
	}
	return scan.Err()
}

// object decodes a line as one JSON object. Unlike json.Unmarshal it takes keys
// as they are written and refuses one that is there twice.
func object(line []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(line) {
		return nil, errors.New("not UTF-8")
	}
	if line[0] != '{' {
		return nil, errors.New("not a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(line))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	keys := make(map[string]json.RawMessage)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, notJSON(err)
		}
		key, ok := t.(string)
		if !ok {
			return nil, errors.New("not a JSON object")
		}
		if _, ok := keys[key]; ok {
			return nil, fmt.Errorf("key %.60q is there twice", key)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, notJSON(err)
		}
		keys[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, notJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON object")
	}
	return keys, nil
}

// notJSON names an error of the decoder, for which a line that ends early is
// the end of its input.
func notJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not JSON: the object is not closed")
	}
	return fmt.Errorf("not JSON: %w", err)
}

// stringKey decodes keys[name], which must be a string.
func stringKey(keys map[string]json.RawMessage, name string) (string, error) {
	raw, ok := keys[name]
	if !ok {
		return "", fmt.Errorf("no key %q", name)
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", fmt.Errorf("key %q is not a string", name)
	}
	return *s, nil
}

// readJSONL returns the cells of the named columns of a file with one object a
// line, and the number of each row's line. Other keys are ignored.
func readJSONL(ctx context.Context, file []byte, columns []string) (cells [][]string, lines []int, err error) {
	rows := newRows(columns)
	err = eachLine(ctx, bytes.NewReader(file), func(number int, _ []byte, keys map[string]json.RawMessage) error {
		lines = append(lines, number)
		return rows.add(keys)
	})
	return rows.cells, lines, err
}

// readJSON returns the cells of the named columns of a file with a list of
// objects, or with one object a line as in JSONL, then with their lines.
func readJSON(ctx context.Context, file []byte, columns []string) (cells [][]string, lines []int, err error) {
	list := bytes.TrimSpace(bytes.TrimPrefix(file, []byte("\uFEFF")))
	if !bytes.HasPrefix(list, []byte("[")) {
		return readJSONL(ctx, file, columns)
	}
	cells, err = readList(ctx, list, columns)
	return cells, nil, err
}

func readList(ctx context.Context, file []byte, columns []string) ([][]string, error) {
	rows := newRows(columns)
	d := json.NewDecoder(bytes.NewReader(file))
	if _, err := d.Token(); err != nil {
		return nil, notJSON(err)
	}
	for d.More() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, fmt.Errorf("record %d: %w", len(rows.cells), notJSON(err))
		}
		keys, err := object(raw)
		if err == nil {
			err = rows.add(keys)
		}
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", len(rows.cells), err)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("not JSON: the list is not closed")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not JSON: something follows the list of records")
	}
	return rows.cells, nil
}

// rows collects the cells of objects.
type rows struct {
	columns []string
	budget  int // bytes of text that may still be read
	cells   [][]string
}

func newRows(columns []string) *rows { return &rows{columns: columns, budget: maxTextBytes} }

func (r *rows) add(keys map[string]json.RawMessage) error {
	cells := make([]string, len(r.columns))
	for i, name := range r.columns {
		var err error
		if cells[i], err = cellKey(keys, name); err != nil {
			return err
		}
		if r.budget -= len(cells[i]); r.budget < 0 {
			return errTooMuchText
		}
	}
	r.cells = append(r.cells, cells)
	return nil
}

// cellKey is keys[name] as text: a string, or a number or truth value as it is
// written.
func cellKey(keys map[string]json.RawMessage, name string) (string, error) {
	raw, ok := keys[name]
	if !ok {
		names := slices.Sorted(maps.Keys(keys))
		const most = 20
		return "", fmt.Errorf("no key %q: it has %.400q; %w", name, names[:min(len(names), most)], errNoColumn)
	}
	switch raw[0] {
	case '"':
		if loneSurrogate(raw) {
			return "", fmt.Errorf(`key %q has half of a surrogate pair (\ud800 to \udfff), which is no character`, name)
		}
		return stringKey(keys, name)
	case 'n', '{', '[':
		return "", fmt.Errorf("key %q is not a string or a number", name)
	default:
		return string(raw), nil
	}
}

// loneSurrogate reports whether a JSON string escapes half of a surrogate pair, in whose place the decoder would put
// another character.
func loneSurrogate(s []byte) bool {
	unit := func(at int) rune { // the escaped UTF-16 unit, 0 where there is none
		if len(s) < at+6 || s[at] != '\\' || s[at+1] != 'u' {
			return 0
		}
		n, _ := strconv.ParseUint(string(s[at+2:at+6]), 16, 16) // the decoder has read it as JSON
		return rune(n)
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		if utf16.IsSurrogate(unit(i)) {
			if utf16.DecodeRune(unit(i), unit(i+6)) == utf8.RuneError {
				return true
			}
			i += 6
		}
		i++ // what is escaped
	}
	return false
}
