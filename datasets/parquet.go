package datasets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
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
		err := readColumn(ctx, f, columns[k], name, func(i int, v parquet.Value) (err error) {
			rows[i][k], err = columns[k].text(v, &budget)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// ReadNested returns the cells of the columns of a parquet file that begin with
// names, such as model_response.text: a list of texts for each row, which has
// none where the value is absent and at most one where the column is no list.
func ReadNested(ctx context.Context, file []byte, names ...string) ([][][]string, error) {
	columns, err := checkColumns(file, func(leaves []leaf) (columns []leaf, err error) {
		for _, name := range names {
			of := func(l leaf) bool { return strings.HasPrefix(l.path()+".", name+".") }
			i := slices.IndexFunc(leaves, of)
			if i < 0 || slices.ContainsFunc(leaves[i+1:], of) {
				return nil, fmt.Errorf("no column %q with one value or a list of them: the file has %s", name,
					describeLeaves(leaves))
			}
			if l := leaves[i]; !l.isText() || l.maxRepetition > 1 {
				return nil, l.notText()
			}
			columns = append(columns, leaves[i])
		}
		return columns, nil
	})
	if err != nil {
		return nil, err
	}
	f, err := openParquet(file)
	if err != nil {
		return nil, err
	}
	budget := maxTextBytes
	rows := make([][][]string, f.NumRows())
	for i := range rows {
		rows[i] = make([][]string, len(names))
	}
	for k, name := range names {
		err := readColumn(ctx, f, columns[k], name, func(i int, v parquet.Value) error {
			if v.IsNull() {
				return nil
			}
			text, err := columns[k].text(v, &budget)
			rows[i][k] = append(rows[i][k], text)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// TopColumns returns the names of a parquet file's outermost columns.
func TopColumns(file []byte) ([]string, error) {
	var names []string
	_, err := checkColumns(file, func(leaves []leaf) ([]leaf, error) {
		for _, l := range leaves {
			if name := l.names[0]; !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return nil, nil
	})
	return names, err
}

func openParquet(file []byte) (f *parquet.File, err error) {
	defer recoverTo(&err)
	return parquet.OpenFile(bytes.NewReader(file), int64(len(file)), parquet.SkipPageIndex(true),
		parquet.SkipBloomFilters(true))
}

// readColumn calls visit with the number of a row and a value of it: the value,
// or each of its list.
func readColumn(ctx context.Context, f *parquet.File, column leaf, name string,
	visit func(row int, v parquet.Value) error,
) (err error) {
	defer recoverTo(&err)
	// The library's assembly has bounds of its own; a fault there must be an
	// error like any other.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	n := 0 // rows that have begun
	for _, group := range f.RowGroups() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if group.NumRows() == 0 {
			continue // it may have no pages at all
		}
		first, end := n, n+int(group.NumRows())
		err := readChunk(group.ColumnChunks()[column.index], func(v parquet.Value) error {
			if v.RepetitionLevel() == 0 {
				n++
			}
			if n > end || n == first {
				return errors.New("more values than rows")
			}
			if err := visit(n-1, v); err != nil {
				return fmt.Errorf("row %d: %s %w", n-1, name, err)
			}
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

// text copies the text of a value of the column out of the library's page. budget is how
// many bytes of text may still be read: a dictionary makes a small file long.
func (l leaf) text(v parquet.Value, budget *int) (string, error) {
	switch kind := v.Kind(); {
	case kind == parquet.Int32 && l.unsigned():
		return strconv.FormatUint(uint64(v.Uint32()), 10), nil
	case kind == parquet.Int64 && l.unsigned():
		return strconv.FormatUint(v.Uint64(), 10), nil
	case kind == parquet.Int32:
		return strconv.Itoa(int(v.Int32())), nil
	case kind == parquet.Int64:
		return strconv.FormatInt(v.Int64(), 10), nil
	case kind == parquet.Float:
		return finite(float64(v.Float()), 32)
	case kind == parquet.Double:
		return finite(v.Double(), 64)
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

// finite is a number in decimals, as few as tell it from its neighbours.
func finite(x float64, bits int) (string, error) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "", fmt.Errorf("is %v, not a finite number", x)
	}
	return strconv.FormatFloat(x, 'f', -1, bits), nil
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
