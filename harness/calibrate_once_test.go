package harness

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gsmeval/gsmeval/noise/alpha"
)

// TestFirstCalibrationStays publishes different measurements of one calibration at once: all processes go on with one.
func TestFirstCalibrationStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "calibrations", "f.json")
	got := make([]*Calibration, 8)
	errs := make([]error, len(got))
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			own := &Calibration{Schema: calibrationSchema, Fingerprint: "f", MeanAlpha: float64(i), Curve: alpha.Curve{Points: []alpha.Point{{Alpha: float64(i)}}}}
			got[i], errs[i] = own.publish(path)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var stays Calibration
	if err := json.Unmarshal(data, &stays); err != nil {
		t.Fatal(err)
	}
	for i, cal := range got {
		if cal.MeanAlpha != stays.MeanAlpha || cal.Curve.Points[0].Alpha != stays.MeanAlpha {
			t.Errorf("process %d goes on with %v, the file says %v", i, cal.MeanAlpha, stays.MeanAlpha)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("files are left over: %v, %v", entries, err)
	}
}
