package report

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/noise/alpha"
	"github.com/gsmeval/gsmeval/noise/fidelity"
	"github.com/gsmeval/gsmeval/results"
)

// Run is a run directory as a report needs it.
type Run struct {
	Name   string // in the report
	Info   *results.RunInfo
	Config *config.Config // nil where this version cannot read it
	Set    *results.Set
	Table  *results.Table

	dir          string
	calibrations []calibration
	fidelity     *fidelity.Report         // nil where it was not measured
	examples     map[int]datasets.Example // by row number; empty where the data set is not there
	count        int                      // records that were read
	textBytes    []int64                  // of all texts, by order
	tokens       map[[2]int][]int         // of counted samples, by noise and temperature
	notes        []string                 // what the report has to do without
}

// maxCalibration bounds a file in calibration/.
const maxCalibration = 256 << 20

// calibration is what is drawn of a file in calibration/.
type calibration struct {
	Noise string      `json:"noise"`
	Curve alpha.Curve `json:"curve"`
}

// Source says where a run had its data set from: files of this machine, or a revision on the hub.
type Source struct {
	datasets.Spec
	Hub      bool
	Revision string
}

// Find reads the data set of a run.
type Find func(ctx context.Context, from Source) (*datasets.Set, error)

// Load reads a run directory, finished or not. The journal has no questions in it: they are those of the data set that
// find finds, as long as it is the one of the run.
func Load(ctx context.Context, dir string, find Find) (*Run, error) {
	info, err := results.ReadRun(dir)
	if err != nil {
		return nil, err
	}
	r := &Run{Name: info.Name, Info: info, dir: dir, tokens: map[[2]int][]int{}}
	if r.Config, err = config.Parse(filepath.Join(dir, results.RunFile), info.Config, config.Options{}); err != nil {
		r.note("The run's config is not one of this version, so dose response and the matched answers are not "+
			"shown: %v.", err)
	}
	if r.Set, err = results.Collect(info.Meta, r.counting(results.Read(r.journal(), info.Fingerprint))); err != nil {
		return nil, fmt.Errorf("reading the samples of %s: %w", dir, err)
	}
	r.Table = r.Set.Table()
	if err := r.readCalibrations(); err != nil {
		return nil, err
	}
	if r.fidelity, err = fidelity.Read(filepath.Join(r.output(), results.FidelityDir)); err != nil {
		r.fidelity = nil
		if !errors.Is(err, fs.ErrNotExist) {
			r.note("The fidelity is not shown: %v.", err)
		}
	}
	r.readQuestions(ctx, find)
	return r, nil
}

// note adds, once, what the report has to do without.
func (r *Run) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(r.notes, n) {
		r.notes = append(r.notes, n)
	}
}

func (r *Run) journal() string { return filepath.Join(r.dir, results.JournalFile) }

// counting passes records on and counts them. A journal that is not there has no records: the run has just begun.
func (r *Run) counting(records iter.Seq2[results.Record, error]) iter.Seq2[results.Record, error] {
	return func(yield func(results.Record, error) bool) {
		for rec, err := range records {
			if errors.Is(err, fs.ErrNotExist) {
				return
			}
			if err == nil {
				r.count++
				for len(r.textBytes) <= rec.Order {
					r.textBytes = append(r.textBytes, 0)
				}
				r.textBytes[rec.Order] += int64(len(rec.Text))
				if rec.Status.Counted() {
					at := [2]int{rec.NoiseIndex, rec.TempIndex}
					r.tokens[at] = append(r.tokens[at], rec.Tokens)
				}
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// output is the directory of the whole run, which a shard is a part of.
func (r *Run) output() string {
	if r.Info.Shard != "" {
		return filepath.Dir(filepath.Dir(filepath.Clean(r.dir)))
	}
	return r.dir
}

// readCalibrations reads the curves that the run's temperatures came from.
func (r *Run) readCalibrations() error {
	paths, err := filepath.Glob(filepath.Join(r.output(), "calibration", "*.json"))
	if err != nil {
		return fmt.Errorf("looking for calibrations in %s: %w", r.output(), err)
	}
	for _, path := range paths {
		data, err := files.Read(path, maxCalibration)
		if err != nil {
			return fmt.Errorf("reading a calibration: %w", err)
		}
		var c calibration
		if err := json.Unmarshal(data, &c); err != nil || len(c.Curve.Points) == 0 {
			r.note("%s is not a calibration and is left out.", filepath.Base(path))
			continue
		}
		r.calibrations = append(r.calibrations, c)
	}
	return nil
}

// readQuestions finds the text of the questions, or says why there is none.
func (r *Run) readQuestions(ctx context.Context, find Find) {
	r.examples = map[int]datasets.Example{}
	if r.Config == nil {
		return
	}
	d := r.Config.Dataset
	from := Source{Spec: d.Spec(), Revision: d.Revision}
	for name := range r.Info.Sources {
		from.Hub = from.Hub || strings.HasPrefix(name, "data set ")
	}
	set, err := find(ctx, from)
	if err != nil {
		r.note("The questions are not shown: %v.", err)
		return
	}
	if want := r.Info.Hashes["data"]; want != set.SHA256 {
		r.note("The questions are not shown: the data set is not that of the run any more (sha256 %.12s, "+
			"the run's is %.12s).", set.SHA256, want)
		return
	}
	for _, e := range set.Examples {
		r.examples[e.ID] = e
	}
}

// shortSHA is how records identify a question.
func shortSHA(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// planned is how many samples there are to be, those that conditions share once.
func (r *Run) planned() int {
	n := 0
	for i := range r.Table.Rows {
		if r.Table.Rows[i].SamplesOf == "" {
			n += r.Table.Rows[i].Planned
		}
	}
	return n
}

// subject names the run's model and data for a person.
func (r *Run) subject() string {
	s := r.Info.Meta.Settings
	model, _, _ := strings.Cut(s["model"], " ")
	parts := []string{}
	if model != "" {
		parts = append(parts, model)
	}
	if r.Config != nil {
		parts = append(parts, "on "+filepath.Base(r.Config.Dataset.Path)+" "+r.Config.Dataset.Split)
	}
	return strings.Join(parts, " ")
}
