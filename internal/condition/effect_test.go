package condition

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/noise/operation"
)

func TestEffect(t *testing.T) {
	t.Parallel()
	e := Effect{
		{Name: "a", Elements: 100, Spread2: 400, Noise2: 4},
		{Name: "zero", Elements: 50},
		{Name: "b", Elements: 50, Spread2: 50, Noise2: 0.5},
	}
	if err := e.Check(); err != nil {
		t.Errorf("a norm that stayed as it was is an error: %v", err)
	}
	a := e[0]
	if a.Spread() != 2 || a.RMS() != 0.2 || math.Abs(a.Ratio()-0.1) > 1e-15 || math.Abs(a.SNR()-20) > 1e-12 {
		t.Errorf("spread %v, RMS %v, ratio %v, SNR %v dB, want 2, 0.2, 0.1, 20", a.Spread(), a.RMS(), a.Ratio(),
			a.SNR())
	}
	if z := e[1]; z.Spread() != 0 || z.RMS() != 0 || !math.IsNaN(z.Ratio()) {
		t.Errorf("a tensor without spread: spread %v, RMS %v, ratio %v, want 0, 0, NaN", z.Spread(), z.RMS(), z.Ratio())
	}
	if diff := cmp.Diff(SiteEffect{Name: "total", Elements: 200, Spread2: 450, Noise2: 4.5}, e.Total()); diff != "" {
		t.Errorf("total (-want +got):\n%s", diff)
	}
	if s := (SiteEffect{}); s.RMS() != 0 || s.Spread() != 0 {
		t.Error("no elements have a root mean square")
	}
	for _, none := range []Effect{nil, {}, {{Name: "zero", Elements: 50}}} {
		if err := none.Check(); !errors.Is(err, ErrNoEffect) {
			t.Errorf("%v: error %v, want ErrNoEffect", none, err)
		}
	}
}

// TestASinkLeavesFewIndependentElements gives one row of a hundred nearly all of the squared spread: the ratio is then
// known as well as from that row alone.
func TestASinkLeavesFewIndependentElements(t *testing.T) {
	t.Parallel()
	const d = 64
	var e SiteEffect
	for range 99 {
		e.Add(d, operation.Tally{Spread2: d})
	}
	if n := e.Independent(); math.Abs(n-99*d) > 1e-6 {
		t.Errorf("rows alike: %g independent elements, want %d", n, 99*d)
	}
	e.Add(d, operation.Tally{Spread2: 1e6 * d})
	if n := e.Independent(); n < d || n > 1.001*d {
		t.Errorf("a sink: %g independent elements, want %d", n, d)
	}
}
