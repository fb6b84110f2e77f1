package jinja

import (
	"errors"
	"fmt"
)

// item evaluates a subscript: as in jinja2 the attribute of that name is tried where there is no such item.
func (r *run) item(e *itemExpr, s *scope) (Value, error) {
	object, err := r.eval(e.object, s)
	if err != nil {
		return nil, err
	}
	if sl, ok := e.key.(*sliceExpr); ok {
		return r.sliceOf(object, sl, s)
	}
	key, err := r.eval(e.key, s)
	if err != nil {
		return nil, err
	}
	return r.getItem(object, key)
}

func (r *run) getItem(object, key Value) (Value, error) {
	if err := defined(object); err != nil {
		return nil, err
	}
	if err := r.chargeItem(object); err != nil {
		return nil, err
	}
	if v, ok := subscript(object, key); ok {
		return v, nil
	}
	name, ok := key.(string)
	if !ok {
		repr, err := r.keyName(key)
		return undefined{fmt.Sprintf("%s has no element %s", objectName(object), repr)}, err
	}
	if _, ok := object.(*Dict); ok && !dictMethods[name].known() {
		return missing(object, name), nil
	}
	return r.attribute(object, name)
}

// keyName shows a key that was not found.
func (r *run) keyName(key Value) (string, error) {
	if _, ok := index(key); ok {
		return r.str(key)
	}
	return "of type " + typeName(key), nil
}

// chargeItem pays for finding a character by its position.
func (r *run) chargeItem(object Value) error {
	if text, ok := object.(string); ok {
		return r.charge(len(text))
	}
	return nil
}

func subscript(object, key Value) (Value, bool) {
	if d, ok := object.(*Dict); ok {
		return d.get(key)
	}
	i, ok := index(key)
	if !ok {
		return nil, false
	}
	switch o := object.(type) {
	case string:
		runes := []rune(o)
		if i < 0 {
			i += int64(len(runes))
		}
		if i >= 0 && i < int64(len(runes)) {
			return string(runes[i]), true
		}
	case *seq:
		if i < 0 {
			i += int64(len(o.items))
		}
		if o.kind <= rangeKind && i >= 0 && i < int64(len(o.items)) {
			return o.items[i], true
		}
	}
	return nil, false
}

func (r *run) sliceOf(object Value, e *sliceExpr, s *scope) (Value, error) {
	if err := defined(object); err != nil {
		return nil, err
	}
	var bounds [3]*int64
	for i, part := range []expr{e.start, e.stop, e.step} {
		if part == nil {
			continue
		}
		v, err := r.eval(part, s)
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue
		}
		n, ok := index(v)
		if !ok {
			return nil, fmt.Errorf("slice bound is %s, not an integer", typeName(v))
		}
		bounds[i] = &n
	}
	switch o := object.(type) {
	case string:
		if err := r.charge(4 * len(o)); err != nil {
			return nil, err
		}
		runes := []rune(o)
		positions, err := slicePositions(len(runes), bounds)
		picked := make([]rune, len(positions))
		for i, p := range positions {
			picked[i] = runes[p]
		}
		return string(picked), err
	case *seq:
		if o.kind > rangeKind {
			break
		}
		if err := r.charge(itemCost * len(o.items)); err != nil {
			return nil, err
		}
		positions, err := slicePositions(len(o.items), bounds)
		picked := make([]Value, len(positions))
		for i, p := range positions {
			picked[i] = o.items[p]
		}
		return &seq{kind: o.kind, items: picked}, err
	}
	return nil, fmt.Errorf("%s cannot be sliced", objectName(object))
}

// slicePositions lists the positions Python's start:stop:step picks from n elements.
func slicePositions(n int, bounds [3]*int64) ([]int, error) {
	step := int64(1)
	if bounds[2] != nil {
		step = *bounds[2]
	}
	if step == 0 {
		return nil, errors.New("slice step cannot be zero")
	}
	size := int64(n)
	low, high := int64(0), size
	start, stop := low, high
	if step < 0 {
		low, high = -1, size-1
		start, stop = high, low
	}
	clamp := func(p *int64, otherwise int64) int64 {
		if p == nil {
			return otherwise
		}
		i := *p
		if i < 0 {
			i = max(i, -size-1) + size
		}
		return max(low, min(i, high))
	}
	start, stop = clamp(bounds[0], start), clamp(bounds[1], stop)
	var positions []int
	for i := start; step > 0 && i < stop || step < 0 && i > stop; {
		positions = append(positions, int(i))
		if step > size || step < -size {
			break
		}
		i += step
	}
	return positions, nil
}
