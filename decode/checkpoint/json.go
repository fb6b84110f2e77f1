package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds the nesting of every JSON file read here; real ones need fewer
// than ten levels.
const maxDepth = 64

// maxConfigBytes bounds the small JSON files (config.json and its like). Real
// ones have a few kilobytes, tokenizer_config.json with all its added tokens a few
// hundred.
const maxConfigBytes = 16 << 20

// object parses data as one JSON object and returns its values undecoded. It is
// stricter than encoding/json, which keeps the last of two equal keys, replaces
// invalid UTF-8 and allows ten thousand levels: all three are errors here.
func object(data []byte) (map[string]json.RawMessage, error) {
	if err := checkJSON(data); err != nil {
		return nil, err
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(data, &m); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) {
			return nil, fmt.Errorf("expected a JSON object, found %s", te.Value)
		}
		return nil, err
	}
	if m == nil {
		return nil, errors.New("expected a JSON object, found null")
	}
	return m, nil
}

// checkJSON walks over one JSON document and reports what object forbids.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var open []*level
	for {
		tok, err := dec.Token()
		switch {
		case errors.Is(err, io.EOF) && len(open) == 0:
			return errors.New("not valid JSON: the file is empty")
		case errors.Is(err, io.EOF):
			return errors.New("not valid JSON: the file ends too early")
		case err != nil:
			return fmt.Errorf("not valid JSON at %s: %w", place(data, dec.InputOffset()), err)
		}
		delim, isDelim := tok.(json.Delim)
		if n := len(open); n > 0 && open[n-1].wantsKey() && delim != '}' {
			// The decoder hands out nothing but strings where a key must stand.
			key, _ := tok.(string)
			if !open[n-1].add(key) {
				return fmt.Errorf("key %s stands twice in one object (the second at %s)", quote(key),
					place(data, dec.InputOffset()))
			}
			continue
		}
		switch {
		case isDelim && (delim == '{' || delim == '['):
			if len(open) == maxDepth {
				return fmt.Errorf("nested more than %d levels deep at %s", maxDepth, place(data, dec.InputOffset()))
			}
			l := &level{}
			if delim == '{' {
				l.keys = map[string]struct{}{}
			}
			open = append(open, l)
			continue
		case isDelim:
			open = open[:len(open)-1]
		}
		if n := len(open); n > 0 {
			open[n-1].valueDone()
			continue
		}
		break
	}
	if rest := bytes.TrimLeft(data[dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return fmt.Errorf("not valid JSON: something follows the end at %s", place(data, int64(len(data)-len(rest))))
	}
	return nil
}

// level is an object or array that is still open.
type level struct {
	keys    map[string]struct{} // nil for an array
	inValue bool
}

func (l *level) wantsKey() bool { return l.keys != nil && !l.inValue }

func (l *level) valueDone() { l.inValue = false }

// add records a key and reports whether it is new.
func (l *level) add(key string) bool {
	if _, dup := l.keys[key]; dup {
		return false
	}
	l.keys[key] = struct{}{}
	l.inValue = true
	return true
}

// place turns an offset into "line L, column C", as editors count.
func place(data []byte, offset int64) string {
	offset = min(offset, int64(len(data)))
	before := data[:offset]
	line := 1 + bytes.Count(before, []byte("\n"))
	col := 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return fmt.Sprintf("line %d, column %d", line, col)
}

// quote quotes a name from a file for a message and cuts a very long one.
func quote(s string) string {
	const most = 120
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		return strconv.Quote(s[:cut]) + "..."
	}
	return strconv.Quote(s)
}

// kindOf names the JSON type of a value for a message.
func kindOf(raw json.RawMessage) string {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "the string " + clip(string(raw))
	case 'n':
		return "null"
	default:
		return clip(string(raw))
	}
}

// clip shortens a value for a message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

func isNull(raw json.RawMessage) bool {
	return string(bytes.TrimSpace(raw)) == "null"
}
