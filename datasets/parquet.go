package datasets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
)

// readParquet returns the cells of the named columns of a parquet file. Other
// columns are not read.
func readParquet(ctx context.Context, file []byte, names []string) ([][]string, error) {
	columns, err := checkParquet(file, names...)
	if err != nil {
		return nil, err
	}
	f, err := openParquet(file)
	if err != nil {
		return nil, err
	}
	budget := maxTextBytes
	cells := make([]string, int(f.NumRows())*len(names))
	rows := make([][]string, f.NumRows())
	for i := range rows {
		rows[i] = cells[i*len(names) : (i+1)*len(names)]
	}
	for k, name := range names {
		if err := readColumn(ctx, f, columns[k], name, &budget, func(i int, s string) { rows[i][k] = s }); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func openParquet(file []byte) (f *parquet.File, err error) {
	defer recoverTo(&err)
	return parquet.OpenFile(bytes.NewReader(file), int64(len(file)), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
}

// readColumn calls set with the number and text of each row. budget is how many
// bytes of text may still be read: a dictionary makes a small file long.
func readColumn(ctx context.Context, f *parquet.File, column int, name string, budget *int, set func(row int, text string)) (err error) {
	defer recoverTo(&err)
	// The library's assembly has bounds of its own; a fault there must be an
	// error like any other.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	n := 0
	for _, group := range f.RowGroups() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if group.NumRows() == 0 {
			continue // it may have no pages at all
		}
		end := n + int(group.NumRows())
		err := readChunk(group.ColumnChunks()[column], func(v parquet.Value) error {
			if n >= end {
				return errors.New("more values than rows")
			}
			text, err := cellText(v, budget)
			if err != nil {
				return fmt.Errorf("row %d: %s %w", n, name, err)
			}
			set(n, text)
			n++
			return nil
		})
		if err != nil {
			return err
		}
		if n != end {
			return fmt.Errorf("row %d: no %s", n, name)
		}
	}
	return nil
}

// cellText copies the text of a value out of the library's page.
func cellText(v parquet.Value, budget *int) (string, error) {
	switch v.Kind() {
	case parquet.Int32:
		return strconv.Itoa(int(v.Int32())), nil
	case parquet.Int64:
		return strconv.FormatInt(v.Int64(), 10), nil
	case parquet.Double:
		return strconv.FormatFloat(v.Double(), 'f', -1, 64), nil
	default: // bytes; the guard lets no other kind through
	}
	b := v.ByteArray()
	if *budget -= len(b); *budget < 0 {
		return "", errTooMuchText
	}
	switch {
	case v.IsNull():
		return "", errors.New("is null")
	case len(b) > maxCellBytes:
		return "", fmt.Errorf("has %d bytes, at most %d are read", len(b), maxCellBytes)
	case !utf8.Valid(b):
		return "", errors.New("is not UTF-8")
	}
	return string(b), nil
}

// readChunk calls visit with every value of a column chunk.
func readChunk(chunk parquet.ColumnChunk, visit func(parquet.Value) error) (err error) {
	pages := chunk.Pages()
	defer func() { err = errors.Join(err, pages.Close()) }()
	values := make([]parquet.Value, 256)
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := readPage(page.Values(), values, visit); err != nil {
			return err
		}
		parquet.Release(page)
	}
}

func readPage(r parquet.ValueReader, buf []parquet.Value, visit func(parquet.Value) error) error {
	for {
		n, err := r.ReadValues(buf)
		for _, v := range buf[:n] {
			if err := visit(v); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrNoProgress
		}
	}
}

// recoverTo turns a panic of the parquet library into an error.
func recoverTo(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("damaged parquet file: %v", p)
	}
}
