package results

import (
	"encoding/csv"
	"io"
)

// writeCSV writes the records as RFC 4180 CSV with newlines alone.
func writeCSV(w io.Writer, d *document) error { return csv.NewWriter(w).WriteAll(d.records) }
