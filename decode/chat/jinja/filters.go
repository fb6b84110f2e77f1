package jinja

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// filterSpec describes a filter: the parameters after the filtered value.
type filterSpec struct {
	params   []string
	required int
	call     func(r *run, v Value, args []Value) (Value, error)
}

// filters are those with fixed parameters; applyFilter knows the others.
var filters = map[string]filterSpec{
	"abs":        {nil, 0, filterAbs},
	"capitalize": {nil, 0, onString(capitalize)},
	"count":      {nil, 0, filterLength},
	"d":          {[]string{"default_value", "boolean"}, 0, filterDefault},
	"default":    {[]string{"default_value", "boolean"}, 0, filterDefault},
	"dictsort":   {[]string{"case_sensitive", "by", "reverse"}, 0, filterDictSort},
	"first":      {nil, 0, filterFirst},
	"float":      {[]string{"default"}, 0, filterFloat},
	"indent":     {[]string{"width", "first", "blank"}, 0, filterIndent},
	"int":        {[]string{"default"}, 0, filterInt},
	"items":      {nil, 0, filterItems},
	"join":       {[]string{"d", "attribute"}, 0, filterJoin},
	"last":       {nil, 0, filterLast},
	"length":     {nil, 0, filterLength},
	"list":       {nil, 0, filterList},
	"lower":      {nil, 0, onString(lower)},
	"max":        {[]string{"case_sensitive", "attribute"}, 0, minOrMax(1)},
	"min":        {[]string{"case_sensitive", "attribute"}, 0, minOrMax(-1)},
	"replace":    {[]string{"old", "new", "count"}, 2, filterReplace},
	"reverse":    {nil, 0, filterReverse},
	"round":      {[]string{"precision", "method"}, 0, filterRound},
	"sort":       {[]string{"reverse", "case_sensitive", "attribute"}, 0, filterSort},
	"string":     {nil, 0, func(r *run, v Value, _ []Value) (Value, error) { return r.str(v) }},
	"sum":        {[]string{"attribute", "start"}, 0, filterSum},
	"title":      {nil, 0, onString(filterTitle)},
	"tojson":     {[]string{"ensure_ascii", "indent", "separators", "sort_keys"}, 0, filterJSON},
	"trim":       {[]string{"chars"}, 0, filterTrim},
	"unique":     {[]string{"case_sensitive", "attribute"}, 0, filterUnique},
	"upper":      {nil, 0, onString(upper)},
}

// filter applies a filter by name.
func (r *run) filter(name string, v Value, args arguments) (Value, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.leave()
	if err := r.charge(callCost); err != nil {
		return nil, err
	}
	result, err := r.applyFilter(name, v, args)
	if err != nil {
		return nil, fmt.Errorf("filter %s: %w", name, err)
	}
	return result, nil
}

func (r *run) applyFilter(name string, v Value, args arguments) (Value, error) {
	switch name {
	case "map":
		return r.filterMap(v, args)
	case "select":
		return r.filterSelect(v, args, false, true)
	case "reject":
		return r.filterSelect(v, args, false, false)
	case "selectattr":
		return r.filterSelect(v, args, true, true)
	case "rejectattr":
		return r.filterSelect(v, args, true, false)
	case "format":
		format, err := r.str(v)
		if err != nil {
			return nil, err
		}
		if len(args.keywords) > 0 {
			return nil, errors.New("keyword arguments are not supported")
		}
		return r.percent(format, tupleOf(args.positional...))
	}
	spec, ok := filters[name]
	if !ok {
		return nil, errors.New("there is no such filter, or it is not supported in chat templates")
	}
	bound, err := args.bind("the filter", spec.params, spec.required)
	if err != nil {
		return nil, err
	}
	return spec.call(r, v, bound)
}

func onString(f func(string) string) func(*run, Value, []Value) (Value, error) {
	return func(r *run, v Value, _ []Value) (Value, error) {
		s, err := r.str(v)
		if err != nil {
			return nil, err
		}
		return f(s), r.charge(8 * len(s))
	}
}

// filterTitle is jinja2's own title, which starts words after fewer characters than Python's.
func filterTitle(s string) string {
	isBreak := func(c rune) bool { return isSpace(c) || strings.ContainsRune("-({[<", c) }
	var b strings.Builder
	for s != "" {
		n := strings.IndexFunc(s, func(c rune) bool { return !isBreak(c) })
		if n < 0 {
			break
		}
		b.WriteString(s[:n])
		s = s[n:]
		if n = strings.IndexFunc(s, isBreak); n < 0 {
			n = len(s)
		}
		_, first := utf8.DecodeRuneInString(s)
		b.WriteString(upper(s[:first]) + lower(s[first:n]))
		s = s[n:]
	}
	b.WriteString(s)
	return b.String()
}

func filterTrim(r *run, v Value, args []Value) (Value, error) {
	s, err := r.str(v)
	if err != nil {
		return nil, err
	}
	if err := r.charge(len(s)); err != nil {
		return nil, err
	}
	return trimChars(s, args[0], true, true)
}

func filterReplace(r *run, v Value, args []Value) (Value, error) {
	var texts [3]string
	for i, arg := range []Value{v, args[0], args[1]} {
		var err error
		if texts[i], err = r.str(arg); err != nil {
			return nil, err
		}
	}
	if args[2] == nil {
		args[2] = absent{}
	}
	limit, err := intArg(args[2], -1)
	if err != nil {
		return nil, err
	}
	return r.replaceString(texts[0], texts[1], texts[2], limit)
}

func filterDefault(_ *run, v Value, args []Value) (Value, error) {
	if _, ok := v.(undefined); !ok && (!boolArg(args[1]) || truth(v)) {
		return v, nil
	}
	if _, ok := args[0].(absent); ok {
		return "", nil
	}
	return args[0], nil
}

func filterLength(r *run, v Value, _ []Value) (Value, error) {
	n, err := r.length(v)
	return int64(n), err
}

// copyItems returns what iterating over a value gives, paid for as a new list.
func (r *run) copyItems(v Value) ([]Value, error) {
	items, err := r.items(v)
	if err != nil {
		return nil, err
	}
	return slices.Clone(items), r.charge(itemCost * len(items))
}

func filterList(r *run, v Value, _ []Value) (Value, error) {
	items, err := r.copyItems(v)
	return List(items...), err
}

func filterFirst(r *run, v Value, _ []Value) (Value, error) {
	none := undefined{"No first item, sequence was empty."}
	if s, ok := v.(string); ok && s != "" {
		c, _ := utf8.DecodeRuneInString(s)
		return string(c), nil
	}
	it, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	if first, ok, err := r.next(it); err != nil || ok {
		return first, err
	}
	return none, nil
}

func filterLast(r *run, v Value, _ []Value) (Value, error) {
	if s, ok := v.(*seq); ok && s.kind == iterKind {
		return nil, errors.New("an iterator has no last item; make it a list first")
	}
	items, err := r.items(v)
	if err != nil || len(items) == 0 {
		return undefined{"No last item, sequence was empty."}, err
	}
	return items[len(items)-1], nil
}

func filterReverse(r *run, v Value, _ []Value) (Value, error) {
	if s, ok := v.(string); ok {
		runes := []rune(s)
		slices.Reverse(runes)
		return string(runes), r.charge(8 * len(s))
	}
	items, err := r.copyItems(v)
	if err != nil {
		return nil, err
	}
	slices.Reverse(items)
	if s, ok := v.(*seq); ok && s.kind == iterKind {
		return List(items...), nil
	}
	return iterOf(items), nil
}

func filterItems(r *run, v Value, _ []Value) (Value, error) {
	switch v := v.(type) {
	case undefined:
		return iterOf(nil), nil
	case *Dict:
		if err := r.charge(3 * itemCost * len(v.keys)); err != nil {
			return nil, err
		}
		return iterOf(v.pairs()), nil
	}
	return nil, fmt.Errorf("can only get item pairs from a mapping, got %s", typeName(v))
}

func filterJoin(r *run, v Value, args []Value) (Value, error) {
	sep := ""
	if _, ok := args[0].(absent); !ok {
		var err error
		if sep, err = r.str(args[0]); err != nil {
			return nil, err
		}
	}
	items, err := r.copyItems(v)
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(items))
	for i, item := range items {
		if item, err = r.path(item, args[1]); err != nil {
			return nil, err
		}
		if parts[i], err = r.str(item); err != nil {
			return nil, err
		}
	}
	return r.joinParts(parts, sep)
}

// path follows an attribute argument such as "function.name" or 0. Without one the value itself is meant.
func (r *run) path(v, attribute Value) (Value, error) {
	switch a := attribute.(type) {
	case absent, nil:
		return v, nil
	case int64:
		return r.getItem(v, a)
	case string:
		for part := range strings.SplitSeq(a, ".") {
			var key Value = part
			if n, err := strconv.ParseInt(part, 10, 64); err == nil && n >= 0 {
				key = n
			}
			var err error
			if v, err = r.getItem(v, key); err != nil {
				return nil, err
			}
			if err := r.charge(nodeCost); err != nil {
				return nil, err
			}
		}
		return v, nil
	}
	return nil, fmt.Errorf("attribute is %s, not a name", typeName(attribute))
}

// sortKey is what sort, min, max and unique compare: an attribute, and strings in lower case unless case matters.
func (r *run) sortKey(v, caseSensitive, attribute Value) (Value, error) {
	if s, ok := attribute.(string); ok && strings.Contains(s, ",") {
		return nil, errors.New("several attributes are not supported")
	}
	key, err := r.path(v, attribute)
	if err != nil {
		return nil, err
	}
	if s, ok := key.(string); ok && !boolArg(caseSensitive) {
		return lower(s), r.charge(4 * len(s))
	}
	return key, nil
}

type keyedValue struct{ key, value Value }

func (r *run) withSortKeys(v, caseSensitive, attribute Value) ([]keyedValue, error) {
	items, err := r.copyItems(v)
	if err != nil {
		return nil, err
	}
	pairs := make([]keyedValue, len(items))
	for i, item := range items {
		key, err := r.sortKey(item, caseSensitive, attribute)
		if err != nil {
			return nil, err
		}
		pairs[i] = keyedValue{key, item}
	}
	return pairs, nil
}

// sorted sorts by key, keeping the order of equal ones also in reverse.
func (r *run) sorted(pairs []keyedValue, reverse bool) (Value, error) {
	var failed error
	slices.SortStableFunc(pairs, func(a, b keyedValue) int {
		if failed != nil {
			return 0
		}
		c, _, err := r.compare("<", a.key, b.key, 0)
		if err != nil {
			failed = err
		}
		if reverse {
			return -c
		}
		return c
	})
	items := make([]Value, len(pairs))
	for i, p := range pairs {
		items[i] = p.value
	}
	return List(items...), failed
}

func filterSort(r *run, v Value, args []Value) (Value, error) {
	pairs, err := r.withSortKeys(v, args[1], args[2])
	if err != nil {
		return nil, err
	}
	return r.sorted(pairs, boolArg(args[0]))
}

func filterDictSort(r *run, v Value, args []Value) (Value, error) {
	d, ok := v.(*Dict)
	if !ok {
		return nil, fmt.Errorf("expected a dict, got %s", typeName(v))
	}
	position := int64(0)
	switch args[1] {
	case absent{}, "key":
	case "value":
		position = 1
	default:
		return nil, errors.New(`can only sort by either "key" or "value"`)
	}
	pairs, err := r.withSortKeys(&seq{items: d.pairs()}, args[0], position)
	if err != nil {
		return nil, err
	}
	return r.sorted(pairs, boolArg(args[2]))
}

func minOrMax(sign int) func(*run, Value, []Value) (Value, error) {
	return func(r *run, v Value, args []Value) (Value, error) {
		pairs, err := r.withSortKeys(v, args[0], args[1])
		if err != nil {
			return nil, err
		}
		if len(pairs) == 0 {
			return undefined{"No aggregated item, sequence was empty."}, nil
		}
		best := pairs[0]
		for _, p := range pairs[1:] {
			c, _, err := r.compare("<", p.key, best.key, 0)
			if err != nil {
				return nil, err
			}
			if c == sign {
				best = p
			}
		}
		return best.value, nil
	}
}

func filterUnique(r *run, v Value, args []Value) (Value, error) {
	pairs, err := r.withSortKeys(v, args[0], args[1])
	if err != nil {
		return nil, err
	}
	seen := map[Value]bool{}
	var items []Value
	for _, p := range pairs {
		hash, err := hashable(p.key)
		if err != nil {
			return nil, err
		}
		if !seen[hash] {
			seen[hash] = true
			items = append(items, p.value)
		}
	}
	return iterOf(items), nil
}

func filterSum(r *run, v Value, args []Value) (Value, error) {
	items, err := r.copyItems(v)
	if err != nil {
		return nil, err
	}
	var total Value = int64(0)
	if _, ok := args[1].(absent); !ok {
		total = args[1]
	}
	for _, item := range items {
		if item, err = r.path(item, args[0]); err != nil {
			return nil, err
		}
		if total, err = r.binary("+", total, item); err != nil {
			return nil, err
		}
	}
	return total, nil
}

func filterAbs(_ *run, v Value, _ []Value) (Value, error) {
	if n, ok := index(v); ok {
		if n == math.MinInt64 {
			return nil, errIntRange
		}
		return abs(n), nil
	}
	if f, ok := v.(float64); ok {
		return math.Abs(f), nil
	}
	return nil, fmt.Errorf("expected a number, got %s", typeName(v))
}

func filterInt(_ *run, v Value, args []Value) (Value, error) {
	switch v := v.(type) {
	case undefined:
		return nil, errors.New(v.message)
	case string:
		s := strings.TrimFunc(v, isSpace)
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil && !strings.ContainsAny(s, "xXpP_") {
			return truncated(f, args[0])
		}
	case float64:
		return truncated(v, args[0])
	default:
		if n, ok := index(v); ok {
			return n, nil
		}
	}
	return intDefault(args[0]), nil
}

func truncated(f float64, otherwise Value) (Value, error) {
	switch {
	case math.IsNaN(f), math.IsInf(f, 0):
		return intDefault(otherwise), nil
	case math.Abs(f) >= 1<<63:
		return nil, errIntRange
	}
	return int64(f), nil
}

func intDefault(v Value) Value {
	if _, ok := v.(absent); ok {
		return int64(0)
	}
	return v
}

func filterFloat(_ *run, v Value, args []Value) (Value, error) {
	if err := defined(v); err != nil {
		return nil, err
	}
	if f, ok := number(v); ok {
		return f, nil
	}
	if s, ok := v.(string); ok {
		f, err := strconv.ParseFloat(strings.TrimFunc(s, isSpace), 64)
		if err == nil && !strings.ContainsAny(s, "xXpP_") {
			return f, nil
		}
	}
	if _, ok := args[0].(absent); ok {
		return 0.0, nil
	}
	return args[0], nil
}

func filterRound(_ *run, v Value, args []Value) (Value, error) {
	digits, err := intArg(args[0], 0)
	if err != nil {
		return nil, err
	}
	if digits < 0 || digits > 20 {
		return nil, fmt.Errorf("precision %d is not supported", digits)
	}
	x, ok := number(v)
	if !ok {
		return nil, fmt.Errorf("expected a number, got %s", typeName(v))
	}
	scale := math.Pow10(int(digits))
	switch args[1] {
	case absent{}, "common":
		if n, ok := index(v); ok {
			return n, nil
		}
		// Decimal formatting rounds the exact value, as Python's round does.
		return strconv.ParseFloat(strconv.FormatFloat(x, 'f', int(digits), 64), 64)
	case "ceil":
		return math.Ceil(x*scale) / scale, nil
	case "floor":
		return math.Floor(x*scale) / scale, nil
	}
	return nil, errors.New("method must be common, ceil or floor")
}

func filterIndent(r *run, v Value, args []Value) (Value, error) {
	s, err := stringArg(v)
	if err != nil {
		return nil, err
	}
	indention, ok := args[0].(string)
	if !ok {
		width, err := intArg(args[0], 4)
		if err != nil {
			return nil, err
		}
		if width > MaxOutput {
			return nil, r.charge(maxWork)
		}
		indention = strings.Repeat(" ", max(0, int(width)))
	}
	if err := r.chargeParts(s, isLineBreak); err != nil {
		return nil, err
	}
	parts := lines(s+"\n", false)
	if len(parts)*len(indention) > maxWork {
		return nil, r.charge(maxWork)
	}
	for i, p := range parts {
		if i > 0 && (p != "" || boolArg(args[2])) || i == 0 && boolArg(args[1]) {
			parts[i] = indention + p
		}
	}
	return r.joinParts(parts, "\n")
}

// filterMap is map: over an attribute, or through another filter.
func (r *run) filterMap(v Value, args arguments) (Value, error) {
	attribute, byAttribute := args.take("attribute")
	var name string
	var otherwise Value = absent{}
	if byAttribute && len(args.positional) == 0 {
		if d, ok := args.take("default"); ok {
			otherwise = d
		}
		if len(args.keywords) > 0 {
			return nil, fmt.Errorf("argument %q is not supported", args.keywords[0].name)
		}
	} else {
		var err error
		if len(args.positional) == 0 {
			return nil, errors.New("it needs a filter or an attribute")
		}
		if name, err = stringArg(args.positional[0]); err != nil {
			return nil, err
		}
		args.positional = args.positional[1:]
	}
	return r.mapLazily(v, func(item Value) (Value, bool, error) {
		if name != "" {
			mapped, err := r.filter(name, item, args)
			return mapped, true, err
		}
		mapped, err := r.path(item, attribute)
		if _, ok := mapped.(undefined); ok && otherwise != (absent{}) {
			mapped = otherwise
		}
		return mapped, true, err
	})
}

// filterSelect is select, reject, selectattr and rejectattr.
func (r *run) filterSelect(v Value, args arguments, byAttribute, keep bool) (Value, error) {
	var attribute Value = absent{}
	if byAttribute {
		if len(args.positional) == 0 {
			return nil, errors.New("it needs an attribute")
		}
		attribute = args.positional[0]
		args.positional = args.positional[1:]
	}
	test := ""
	if len(args.positional) > 0 {
		var err error
		if test, err = stringArg(args.positional[0]); err != nil {
			return nil, err
		}
		args.positional = args.positional[1:]
	}
	return r.mapLazily(v, func(item Value) (Value, bool, error) {
		value, err := r.path(item, attribute)
		if err != nil {
			return nil, false, err
		}
		holds := truth(value)
		if test != "" {
			result, err := r.test(test, value, args)
			if err != nil {
				return nil, false, err
			}
			holds = result == true
		}
		return item, holds == keep, nil
	})
}
