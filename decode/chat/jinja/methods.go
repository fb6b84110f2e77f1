package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// otherStrMethods are Python's string methods that are not here.
const otherStrMethods = " casefold center encode expandtabs format format_map isascii isdecimal isidentifier" +
	" isnumeric isprintable istitle ljust maketrans rindex rjust swapcase translate zfill "

var strMethods = map[string]methodSpec{
	"strip":        {[]string{"chars"}, 0, strip(true, true)},
	"lstrip":       {[]string{"chars"}, 0, strip(true, false)},
	"rstrip":       {[]string{"chars"}, 0, strip(false, true)},
	"split":        {[]string{"sep", "maxsplit"}, 0, split(false)},
	"rsplit":       {[]string{"sep", "maxsplit"}, 0, split(true)},
	"splitlines":   {[]string{"keepends"}, 0, splitLines},
	"partition":    {[]string{"sep"}, 1, partition(false)},
	"rpartition":   {[]string{"sep"}, 1, partition(true)},
	"startswith":   {[]string{"prefix"}, 1, hasAffix(strings.HasPrefix)},
	"endswith":     {[]string{"suffix"}, 1, hasAffix(strings.HasSuffix)},
	"removeprefix": {[]string{"prefix"}, 1, remove(strings.TrimPrefix)},
	"removesuffix": {[]string{"suffix"}, 1, remove(strings.TrimSuffix)},
	"replace":      {[]string{"old", "new", "count"}, 2, replace},
	"find":         {[]string{"sub"}, 1, find(strings.Index)},
	"rfind":        {[]string{"sub"}, 1, find(strings.LastIndex)},
	"index":        {[]string{"sub"}, 1, findOrFail},
	"count":        {[]string{"sub"}, 1, count},
	"join":         {[]string{"iterable"}, 1, joinStrings},
	"upper":        {nil, 0, mapString(upper)},
	"lower":        {nil, 0, mapString(lower)},
	"title":        {nil, 0, mapString(title)},
	"capitalize":   {nil, 0, mapString(capitalize)},
	"isdigit":      {nil, 0, everyRune(func(c rune) bool { return unicode.Is(unicode.Nd, c) || isSuperscript(c) })},
	"isalpha":      {nil, 0, everyRune(unicode.IsLetter)},
	"isalnum":      {nil, 0, everyRune(func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) })},
	"isspace":      {nil, 0, everyRune(isSpace)},
	"isupper":      {nil, 0, oneCase(unicode.IsUpper, unicode.IsLower)},
	"islower":      {nil, 0, oneCase(unicode.IsLower, unicode.IsUpper)},
}

var dictMethods = map[string]methodSpec{
	"get": {[]string{"key", "default"}, 1, func(_ *run, d Value, args []Value) (Value, error) {
		if err := unhashable(args[0]); err != nil {
			return nil, err
		}
		if v, ok := subscript(d, args[0]); ok {
			return v, nil
		}
		if _, ok := args[1].(absent); ok {
			return nil, nil
		}
		return args[1], nil
	}},
	"keys":   {nil, 0, dictView(func(d *Dict) []Value { return d.keys })},
	"values": {nil, 0, dictView(func(d *Dict) []Value { return d.values })},
	"items":  {nil, 0, dictView((*Dict).pairs)},
}

var seqMethods = map[string]methodSpec{
	"index": {[]string{"value"}, 1, func(r *run, s Value, args []Value) (Value, error) {
		for i, item := range elements(s) {
			if same, err := r.equal(item, args[0], 0); err != nil || same {
				return int64(i), err
			}
		}
		return nil, errors.New("value is not in the list")
	}},
	"count": {[]string{"value"}, 1, func(r *run, s Value, args []Value) (Value, error) {
		n := int64(0)
		for _, item := range elements(s) {
			same, err := r.equal(item, args[0], 0)
			if err != nil {
				return nil, err
			}
			n += asInt(same)
		}
		return n, nil
	}},
}

func elements(v Value) []Value {
	if s, ok := v.(*seq); ok {
		return s.items
	}
	return nil
}

func dictView(of func(*Dict) []Value) func(*run, Value, []Value) (Value, error) {
	return func(r *run, v Value, _ []Value) (Value, error) {
		d, ok := v.(*Dict)
		if !ok {
			return nil, fmt.Errorf("expected a dict, got %s", typeName(v))
		}
		if err := r.charge(3 * itemCost * len(d.keys)); err != nil {
			return nil, err
		}
		return &seq{kind: viewKind, items: of(d)}, nil
	}
}

// text is the string a method is called on.
func text(v Value) string {
	s, _ := v.(string)
	return s
}

func strip(left, right bool) func(*run, Value, []Value) (Value, error) {
	return func(_ *run, v Value, args []Value) (Value, error) {
		return trimChars(text(v), args[0], left, right)
	}
}

func trimChars(s string, chars Value, left, right bool) (Value, error) {
	drop := isSpace
	switch chars.(type) {
	case absent, nil:
	default:
		set, err := stringArg(chars)
		if err != nil {
			return nil, err
		}
		members := map[rune]bool{}
		for _, c := range set {
			members[c] = true
		}
		drop = func(c rune) bool { return members[c] }
	}
	if left {
		s = strings.TrimLeftFunc(s, drop)
	}
	if right {
		s = strings.TrimRightFunc(s, drop)
	}
	return s, nil
}

// split is str.split, or str.rsplit where fromRight is set.
func split(fromRight bool) func(*run, Value, []Value) (Value, error) {
	return func(r *run, v Value, args []Value) (Value, error) {
		limit, err := intArg(args[1], -1)
		if err != nil {
			return nil, err
		}
		if limit < 0 {
			limit = int64(len(text(v))) + 1
		}
		var parts []string
		switch args[0].(type) {
		case absent, nil:
			if err := r.chargeParts(text(v), isSpace); err != nil {
				return nil, err
			}
			parts = splitSpace(text(v), limit, fromRight)
		default:
			sep, err := stringArg(args[0])
			if err != nil {
				return nil, err
			}
			if sep == "" {
				return nil, errors.New("empty separator")
			}
			if err := r.charge(itemCost * strings.Count(text(v), sep)); err != nil {
				return nil, err
			}
			parts = splitBy(text(v), sep, limit, fromRight)
		}
		return stringList(parts), nil
	}
}

// chargeParts pays for splitting a string at certain characters, before that takes the memory.
func (r *run) chargeParts(s string, isSeparator func(rune) bool) error {
	n := 0
	for _, c := range s {
		if isSeparator(c) {
			n++
		}
	}
	return r.charge(itemCost * (n + 1))
}

func splitBy(s, sep string, limit int64, fromRight bool) []string {
	if !fromRight {
		return strings.SplitN(s, sep, int(limit)+1)
	}
	var parts []string
	for ; limit > 0; limit-- {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		parts = append(parts, s[i+len(sep):])
		s = s[:i]
	}
	parts = append(parts, s)
	slices.Reverse(parts)
	return parts
}

func splitSpace(s string, limit int64, fromRight bool) []string {
	if int64(len(s)) < limit {
		return strings.FieldsFunc(s, isSpace)
	}
	trim, find := strings.TrimLeftFunc, strings.IndexFunc
	if fromRight {
		trim, find = strings.TrimRightFunc, strings.LastIndexFunc
	}
	var parts []string
	for s = trim(s, isSpace); s != ""; s = trim(s, isSpace) {
		i := find(s, isSpace)
		switch {
		case limit == 0:
			// What is left keeps its inner whitespace, not that at the end the splitting began from.
			parts = append(parts, s)
			s = ""
		case i < 0:
			parts = append(parts, s)
			s = ""
		case fromRight:
			_, n := utf8.DecodeRuneInString(s[i:])
			parts = append(parts, s[i+n:])
			s = s[:i]
		default:
			parts = append(parts, s[:i])
			s = s[i:]
		}
		limit--
	}
	if fromRight {
		slices.Reverse(parts)
	}
	return parts
}

func stringList(parts []string) Value {
	items := make([]Value, len(parts))
	for i, p := range parts {
		items[i] = p
	}
	return List(items...)
}

func isLineBreak(c rune) bool {
	switch c {
	case '\n', '\r', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
		return true
	}
	return false
}

func splitLines(r *run, v Value, args []Value) (Value, error) {
	if err := r.chargeParts(text(v), isLineBreak); err != nil {
		return nil, err
	}
	return stringList(lines(text(v), boolArg(args[0]))), nil
}

func lines(s string, keepEnds bool) []string {
	var parts []string
	for s != "" {
		i := strings.IndexFunc(s, isLineBreak)
		if i < 0 {
			return append(parts, s)
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			n = 2
		}
		if keepEnds {
			parts = append(parts, s[:i+n])
		} else {
			parts = append(parts, s[:i])
		}
		s = s[i+n:]
	}
	return parts
}

// partition is str.partition, or str.rpartition where last is set.
func partition(last bool) func(*run, Value, []Value) (Value, error) {
	return func(_ *run, v Value, args []Value) (Value, error) {
		s := text(v)
		sep, err := stringArg(args[0])
		if err != nil {
			return nil, err
		}
		if sep == "" {
			return nil, errors.New("empty separator")
		}
		i := strings.Index(s, sep)
		if last {
			i = strings.LastIndex(s, sep)
		}
		switch {
		case i >= 0:
			return tupleOf(s[:i], sep, s[i+len(sep):]), nil
		case last:
			return tupleOf("", "", s), nil
		default:
			return tupleOf(s, "", ""), nil
		}
	}
}

// hasAffix is startswith or endswith, with a string or a tuple of strings.
func hasAffix(has func(s, affix string) bool) func(*run, Value, []Value) (Value, error) {
	return func(_ *run, v Value, args []Value) (Value, error) {
		candidates := []Value{args[0]}
		if t, ok := args[0].(*seq); ok && t.kind == tupleKind {
			candidates = t.items
		}
		for _, c := range candidates {
			s, err := stringArg(c)
			if err != nil {
				return nil, err
			}
			if has(text(v), s) {
				return true, nil
			}
		}
		return false, nil
	}
}

func remove(trim func(s, affix string) string) func(*run, Value, []Value) (Value, error) {
	return func(_ *run, v Value, args []Value) (Value, error) {
		affix, err := stringArg(args[0])
		return trim(text(v), affix), err
	}
}

func replace(r *run, v Value, args []Value) (Value, error) {
	old, err := stringArg(args[0])
	if err != nil {
		return nil, err
	}
	with, err := stringArg(args[1])
	if err != nil {
		return nil, err
	}
	limit, err := intArg(args[2], -1)
	if err != nil {
		return nil, err
	}
	return r.replaceString(text(v), old, with, limit)
}

func (r *run) replaceString(s, old, with string, limit int64) (Value, error) {
	n := strings.Count(s, old)
	if limit >= 0 && int64(n) > limit {
		n = int(limit)
	}
	if len(with) > 0 && n > maxWork/len(with) {
		return nil, r.charge(maxWork)
	}
	if err := r.charge(len(s) + n*len(with)); err != nil {
		return nil, err
	}
	return strings.Replace(s, old, with, n), nil
}

func find(in func(s, sub string) int) func(*run, Value, []Value) (Value, error) {
	return func(_ *run, v Value, args []Value) (Value, error) {
		s := text(v)
		sub, err := stringArg(args[0])
		if err != nil {
			return nil, err
		}
		i := in(s, sub)
		if i < 0 {
			return int64(-1), nil
		}
		return int64(utf8.RuneCountInString(s[:i])), nil
	}
}

func findOrFail(r *run, v Value, args []Value) (Value, error) {
	i, err := find(strings.Index)(r, v, args)
	if i == int64(-1) {
		return nil, errors.New("substring not found")
	}
	return i, err
}

func count(_ *run, v Value, args []Value) (Value, error) {
	sub, err := stringArg(args[0])
	return int64(strings.Count(text(v), sub)), err
}

func joinStrings(r *run, v Value, args []Value) (Value, error) {
	items, err := r.items(args[0])
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(items))
	for i, item := range items {
		if parts[i], err = stringArg(item); err != nil {
			return nil, err
		}
	}
	return r.joinParts(parts, text(v))
}

func (r *run) joinParts(parts []string, sep string) (Value, error) {
	size := len(sep) * max(0, len(parts)-1)
	if sep != "" && len(parts) > maxWork/len(sep) {
		size = maxWork
	}
	for _, p := range parts {
		size += len(p)
	}
	if err := r.charge(size); err != nil {
		return nil, err
	}
	return strings.Join(parts, sep), nil
}

func mapString(f func(string) string) func(*run, Value, []Value) (Value, error) {
	return func(r *run, v Value, _ []Value) (Value, error) {
		return f(text(v)), r.charge(4 * len(text(v)))
	}
}

// upper and lower map characters in context (a final sigma) and to several (a sharp s), as Python does; strings.ToUpper
// and ToLower do not.
func upper(s string) string {
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	return cases.Upper(language.Und).String(s)
}

func lower(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return cases.Lower(language.Und).String(s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// title is Python's str.title: it capitalizes every run of cased characters.
func title(s string) string {
	var b strings.Builder
	for s != "" {
		n := strings.IndexFunc(s, isCased)
		if n < 0 {
			break
		}
		b.WriteString(s[:n])
		s = s[n:]
		if n = strings.IndexFunc(s, func(c rune) bool { return !isCased(c) }); n < 0 {
			n = len(s)
		}
		b.WriteString(capitalize(s[:n]))
		s = s[n:]
	}
	b.WriteString(s)
	return b.String()
}

func capitalize(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return cases.Title(language.Und).String(s[:n]) + lower(s[n:])
}

func isCased(c rune) bool { return unicode.IsUpper(c) || unicode.IsLower(c) || unicode.IsTitle(c) }

// isSuperscript tells the digits outside of Nd that Python's isdigit accepts and that occur in text: superscripts and
// subscripts.
func isSuperscript(c rune) bool {
	return c == '²' || c == '³' || c == '¹' || c >= 0x2070 && c <= 0x2089 && unicode.Is(unicode.No, c)
}

func everyRune(is func(rune) bool) func(*run, Value, []Value) (Value, error) {
	return func(_ *run, v Value, _ []Value) (Value, error) {
		s := text(v)
		return s != "" && strings.IndexFunc(s, func(c rune) bool { return !is(c) }) < 0, nil
	}
}

func oneCase(want, other func(rune) bool) func(*run, Value, []Value) (Value, error) {
	return func(_ *run, v Value, _ []Value) (Value, error) {
		return hasOneCase(text(v), want, other), nil
	}
}

func hasOneCase(s string, want, other func(rune) bool) bool {
	bad := func(c rune) bool { return other(c) || unicode.IsTitle(c) }
	return strings.IndexFunc(s, want) >= 0 && strings.IndexFunc(s, bad) < 0
}
