package calibrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/config"
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
			own := &Calibration{
				Schema: calibrationSchema, Fingerprint: "f", MeanAlpha: float64(i),
				Curve: alpha.Curve{Points: []alpha.Point{{Alpha: float64(i)}}},
			}
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

// A calibration that was edited, or damaged, is refused: its temperatures would be others without a word.
func TestEditedCalibrationIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "00-activation-0.1.json")
	own := &Calibration{
		Schema: calibrationSchema, Fingerprint: "f", MeanAlpha: 0.25,
		Curve: alpha.Curve{Points: []alpha.Point{{Alpha: 0.25, Beta: 0.1}}},
	}
	if err := own.write(path); err != nil {
		t.Fatal(err)
	}
	if _, err := readCalibration(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(data, []byte("0.25"), []byte("2.25")), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readCalibration(path); err == nil || !strings.Contains(err.Error(), "its checksum does not match; remove it") {
		t.Errorf("error %v", err)
	}
}

// Calibration prompts are the first rows that are no worked examples, whose answers the model would only have to copy.
func TestCalibrationQuestionsAreNoShots(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "data", "gsm-synth")
	set, err := datasets.Load(t.Context(), datasets.Spec{Path: path, Split: "train", Limit: 5})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("c.yaml", []byte("model: {path: m}\ndataset: {path: "+path+"}\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Calibration.Prompts = 3
	c := &Calibrator{
		cfg: cfg, locator: session.NewLocator(&bytes.Buffer{}),
		prompter: &session.Prompter{Shots: []datasets.Example{set.Examples[0], set.Examples[2]}},
	}
	got, err := c.questions(t.Context())
	want := []string{set.Examples[1].Question, set.Examples[3].Question, set.Examples[4].Question}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, questions (-want +got):\n%s", err, diff)
	}
}
