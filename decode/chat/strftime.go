package chat

import (
	"fmt"
	"strings"
	"time"
)

// layouts are Go's layouts for the directives of strftime.
var layouts = map[string]string{
	"a": "Mon", "A": "Monday", "b": "Jan", "h": "Jan", "B": "January", "d": "02", "e": "_2", "m": "01", "y": "06",
	"Y": "2006", "H": "15", "I": "03", "M": "04", "S": "05", "p": "PM", "j": "002", "F": "2006-01-02", "T": "15:04:05",
	"D": "01/02/06", "R": "15:04", "c": "Mon Jan _2 15:04:05 2006", "x": "01/02/06", "X": "15:04:05",
	"-d": "2", "-m": "1", "-I": "3",
}

// strftime formats a time as Python's strftime does in the C locale on Linux.
func strftime(t time.Time, format string) (string, error) {
	var b strings.Builder
	for format != "" {
		i := strings.IndexByte(format, '%')
		if i < 0 {
			i = len(format)
		}
		b.WriteString(format[:i])
		if i == len(format) {
			break
		}
		format = format[i+1:]
		n := 1
		if strings.HasPrefix(format, "-") {
			n = 2
		}
		if len(format) < n {
			return "", fmt.Errorf("date format ends in an incomplete %%")
		}
		directive := format[:n]
		format = format[n:]
		layout, ok := layouts[directive]
		switch {
		case directive == "%":
			b.WriteByte('%')
		case directive == "n":
			b.WriteByte('\n')
		case directive == "-H":
			fmt.Fprint(&b, t.Hour())
		case directive == "-y":
			fmt.Fprint(&b, t.Year()%100)
		case directive == "-M":
			fmt.Fprint(&b, t.Minute())
		case ok:
			b.WriteString(t.Format(layout))
		default:
			return "", fmt.Errorf("date directive %%%s is not supported", directive)
		}
	}
	return b.String(), nil
}
