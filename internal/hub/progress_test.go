package hub

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// The bar survives files that turn out larger, and parts that are thrown away; plain progress is lines.
func TestProgress(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"bar", "plain", "auto", "none"} {
		var bar, lines bytes.Buffer
		p := newProgress(Output{Progress: mode, Bar: &bar, Logf: func(format string,
			args ...any,
		) {
			fmt.Fprintf(&lines, format+"\n", args...)
		}}, "org/tiny", 5_000_000)
		p.skip(1_000_000)
		p.skip(-1) // a size that is not known
		p.last = time.Now().Add(-time.Minute)
		p.add(3_000_000)
		p.add(-3_000_000)
		p.expect(2_000_000)
		p.add(6_000_000)
		p.finish()
		if p.done != p.total || p.total != 7_000_000 {
			t.Errorf("%s: %d of %d", mode, p.done, p.total)
		}
		shown, said := bar.String(), lines.String()
		switch mode {
		case "bar":
			if !strings.Contains(shown, "org/tiny") || !strings.HasSuffix(shown, "\n") || said != "" {
				t.Errorf("%s shows %q, says %q", mode, shown, said)
			}
		case "none":
			if shown+said != "" {
				t.Errorf("%s shows %q, says %q", mode, shown, said)
			}
		default: // a buffer is no terminal
			if !strings.Contains(said, "hub: org/tiny: 4 MB of 5 MB") ||
				!strings.Contains(said, "hub: org/tiny: 7 MB of 7 MB") || shown != "" {
				t.Errorf("%s shows %q, says %q", mode, shown, said)
			}
		}
	}
}
