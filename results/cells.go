package results

// Cells are a table as people read it: every cell is text, rounded, and not escaped for any format. What stands in them is
// what the Markdown and TeX forms show.
type Cells struct {
	Head []string
	// Left is how many columns are names; the others hold numbers.
	Left int
	Rows [][]string
}

func (g grid) cells() Cells { return Cells{Head: g.head, Left: g.left, Rows: g.rows} }

// Cells returns the table's cells; Notes and Warnings are not among them.
func (t *Table) Cells() Cells { return t.grid().cells() }

// Cells returns the comparison's cells, a row for each pair.
func (c *Comparison) Cells() Cells { return c.grid().cells() }
