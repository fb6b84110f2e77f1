package datasets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// The parquet library trusts what a file says of itself: it allocates a footer,
// a page, a list or a run of any size that is claimed, and panics on much else.
// So nothing reaches it before the checks of this file: the footer and every
// page of the wanted columns, down to run lengths and dictionary indexes.

// Bounds on a parquet file.
const (
	maxFooterBytes    = 16 << 20
	maxPageBytes      = 128 << 20 // of a page, uncompressed
	maxSchemaElements = 1024
	parquetMagic      = "PAR1"
)

var errTruncatedParquet = errors.New("not a whole parquet file: it does not end in a footer; download or write it again")

// checkParquet makes sure that the named columns of the file can be read
// safely, and returns them in the order of names.
func checkParquet(file []byte, names ...string) ([]leaf, error) {
	return checkColumns(file, func(leaves []leaf) (columns []leaf, err error) {
		for _, name := range names {
			of := func(l leaf) bool { return l.path() == name }
			i := slices.IndexFunc(leaves, of)
			if i < 0 {
				return nil, fmt.Errorf("no column %q: the file has %s; %w", name, describeLeaves(leaves), errNoColumn)
			}
			if slices.ContainsFunc(leaves[i+1:], of) {
				return nil, fmt.Errorf("column %q is there twice: rename or leave out one of the two", name)
			}
			if l := leaves[i]; !l.isText() || l.maxRepetition > 0 || len(l.names) > 1 {
				return nil, l.notText()
			}
			columns = append(columns, leaves[i])
		}
		return columns, nil
	})
}

// checkColumns makes sure that the columns that pick chooses can be read safely.
func checkColumns(file []byte, pick func(leaves []leaf) ([]leaf, error)) ([]leaf, error) {
	meta, footerStart, err := readFooter(file)
	if err != nil {
		return nil, err
	}
	leaves, err := schemaLeaves(meta.Schema)
	if err != nil {
		return nil, err
	}
	columns, err := pick(leaves)
	if err != nil {
		return nil, err
	}
	if err := checkRowCounts(meta, len(leaves)); err != nil {
		return nil, err
	}
	budget := int64(maxTextBytes)
	for g, group := range meta.RowGroups {
		if group.NumRows == 0 {
			continue // never read
		}
		for _, l := range columns {
			c := chunkCheck{
				file: file[:footerStart], meta: &group.Columns[l.index].MetaData, leaf: l,
				rows: group.NumRows, budget: &budget,
			}
			if err := c.check(&group.Columns[l.index], &meta.RowGroups[0].Columns[l.index]); err != nil {
				return nil, fmt.Errorf("row group %d, column %q: %w", g, l.path(), err)
			}
		}
	}
	return columns, nil
}

// readFooter checks and decodes the footer. Page data ends at footerStart.
func readFooter(file []byte) (meta *format.FileMetaData, footerStart int, err error) {
	const tail = 8 // the footer's length and the magic
	switch {
	case len(file) == 0:
		return nil, 0, errors.New("the file is empty")
	case len(file) < len(parquetMagic)+tail || string(file[:4]) != parquetMagic:
		return nil, 0, errors.New("not a parquet file: it does not begin with PAR1")
	case string(file[len(file)-4:]) != parquetMagic:
		return nil, 0, errTruncatedParquet
	}
	n := uint64(binary.LittleEndian.Uint32(file[len(file)-tail:]))
	room := uint64(len(file) - len(parquetMagic) - tail)
	if n > room {
		return nil, 0, fmt.Errorf("damaged parquet file: a footer of %d bytes is claimed, there is room for %d", n,
			room)
	}
	if n > maxFooterBytes {
		return nil, 0, fmt.Errorf("a parquet footer of %d bytes is more than the %d that are read", n, maxFooterBytes)
	}
	footerStart = len(file) - tail - int(n)
	footer := file[footerStart : len(file)-tail]
	size, err := thriftLen(footer)
	if err != nil {
		return nil, 0, fmt.Errorf("damaged parquet footer: %w", err)
	}
	if size != len(footer) {
		return nil, 0, fmt.Errorf("damaged or signed parquet footer: %d bytes follow its metadata", len(footer)-size)
	}
	meta = new(format.FileMetaData)
	if err := decodeThrift(footer, meta); err != nil {
		return nil, 0, fmt.Errorf("damaged parquet footer: %w", err)
	}
	return meta, footerStart, nil
}

// decodeThrift decodes a struct that thriftLen has measured.
func decodeThrift(b []byte, v any) (err error) {
	defer recoverTo(&err)
	var protocol thrift.CompactProtocol
	return thrift.NewDecoder(protocol.NewReaderFromBytes(bytes.Clone(b))).Decode(v)
}

// leaf is a column that holds values.
type leaf struct {
	index   int      // among the leaves of the file
	names   []string // its own behind those of the groups that it is in
	element *format.SchemaElement
	// maxDefinition counts what may be absent on the way to a value, the value included, maxRepetition the lists it is
	// in.
	maxDefinition, maxRepetition int
}

func (l leaf) path() string { return strings.Join(l.names, ".") }

// schemaLeaves lists the leaf columns in the file's order.
func schemaLeaves(schema []format.SchemaElement) ([]leaf, error) {
	if len(schema) == 0 || schema[0].Type.Valid {
		return nil, errors.New("damaged parquet schema: no root")
	}
	if len(schema) > maxSchemaElements {
		return nil, fmt.Errorf("a parquet schema of %d elements is more than the %d that are read", len(schema),
			maxSchemaElements)
	}
	var leaves []leaf
	next := 1
	var walk func(children int32, parent leaf) error
	walk = func(children int32, parent leaf) error {
		for range children {
			if next >= len(schema) || len(parent.names) > maxThriftDepth {
				return errors.New("damaged parquet schema: groups claim more columns than there are")
			}
			e := &schema[next]
			next++
			l := parent
			l.names, l.element = append(slices.Clone(parent.names), e.Name), e
			if e.RepetitionType.Valid && e.RepetitionType.V != format.Required {
				l.maxDefinition++
				if e.RepetitionType.V == format.Repeated {
					l.maxRepetition++
				}
			}
			if e.Type.Valid {
				l.index = len(leaves)
				leaves = append(leaves, l)
			} else if err := walk(e.NumChildren.V, l); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(schema[0].NumChildren.V, leaf{}); err != nil {
		return nil, err
	}
	if next != len(schema) {
		return nil, errors.New("damaged parquet schema: there are more columns than its groups claim")
	}
	return leaves, nil
}

func describeLeaves(leaves []leaf) string {
	const most = 20
	var names []string
	for i, l := range leaves {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(leaves)-most))
			break
		}
		names = append(names, fmt.Sprintf("%.60q", l.path()))
	}
	if len(names) == 0 {
		return "no columns"
	}
	return strings.Join(names, ", ")
}

// widths are the sizes of values that are numbers.
var widths = map[format.Type]int{format.Int32: 4, format.Int64: 8, format.Float: 4, format.Double: 8}

// isText reports whether the column holds text, or numbers that stand for
// themselves.
func (l leaf) isText() bool {
	kind := l.element.Type.V
	good := kind == format.ByteArray || widths[kind] > 0
	if lt := l.element.LogicalType.Value; lt != nil {
		_, isString := lt.(*format.StringType)
		_, isInt := lt.(*format.IntType)
		return good && (isString && kind == format.ByteArray || isInt && kind != format.ByteArray)
	}
	if ct := l.element.ConvertedType; ct.Valid {
		return good && (ct.V == deprecated.UTF8 || ct.V >= deprecated.Uint8 && ct.V <= deprecated.Int64)
	}
	return good
}

// unsigned reports whether the column holds integers without a sign.
func (l leaf) unsigned() bool {
	if it, ok := l.element.LogicalType.Value.(*format.IntType); ok {
		return !it.IsSigned
	}
	ct := l.element.ConvertedType
	return ct.Valid && ct.V >= deprecated.Uint8 && ct.V <= deprecated.Uint64
}

func (l leaf) notText() error {
	kind := l.element.Type.V.String()
	if lt := l.element.LogicalType.Value; lt != nil {
		kind += fmt.Sprintf(", %v", lt)
	}
	return fmt.Errorf("column %q holds neither a text nor a number for each row (its type is %s)", l.path(), kind)
}

// checkRowCounts checks that row groups agree with the file and the schema.
func checkRowCounts(meta *format.FileMetaData, leaves int) error {
	var total int64
	for i, g := range meta.RowGroups {
		if len(g.Columns) != leaves {
			return fmt.Errorf("damaged parquet file: row group %d has %d columns, the schema has %d", i, len(g.Columns),
				leaves)
		}
		if g.NumRows < 0 || g.NumRows > maxRows-total {
			return fmt.Errorf("row group %d brings the file to more than the %d rows that are read", i, maxRows)
		}
		total += g.NumRows
	}
	if total != meta.NumRows {
		return fmt.Errorf("damaged parquet file: its row groups hold %d rows, its footer says %d", total, meta.NumRows)
	}
	return nil
}
