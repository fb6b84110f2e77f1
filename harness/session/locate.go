package session

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/internal/builtin"
	"github.com/gsmeval/gsmeval/internal/hub"
	"github.com/gsmeval/gsmeval/results/report"
)

// Locator finds on this machine what a config or a flag names: a local path stands for itself, a builtin name for what
// came with the program, a hub id for the hub's cache, into which what is missing is downloaded.
type Locator struct {
	Logger
	progress string
	client   *hub.Client // made when first needed
	sources  map[string]string
}

// NewLocator returns a locator that says on out how far downloads are.
func NewLocator(out io.Writer) *Locator { return LocatorFor(Logger{out: out, least: 1}, "auto") }

// LocatorFor returns a locator that says how far downloads are as a config asks.
func LocatorFor(l Logger, progress string) *Locator {
	if progress == "json" {
		progress = "plain" // in the logger's events
	}
	return &Locator{Logger: l, progress: progress, sources: map[string]string{}}
}

// Sources are the commits of what came from the hub, by "model org/name" or "data set org/name".
func (l *Locator) Sources() map[string]string { return maps.Clone(l.sources) }

// Model is where a model lies, a directory or a GGUF file: a path, or a hub id, in which case revision or the id's own
// @revision may say which.
func (l *Locator) Model(ctx context.Context, name, revision string) (string, error) {
	name, err := builtin.Path(builtin.Model, name)
	if err != nil {
		return "", err
	}
	ref, fromHub, err := locate(hub.Model, name, revision)
	if err != nil || !fromHub {
		return name, err
	}
	return l.fetch(ctx, ref, hub.ModelFiles)
}

// Peek is Model without its weights: of a hub id that is not in the cache as a whole, only the small files are
// downloaded.
func (l *Locator) Peek(ctx context.Context, name, revision string) (dir string, whole bool, err error) {
	name, err = builtin.Path(builtin.Model, name)
	if err != nil {
		return "", false, err
	}
	ref, fromHub, err := locate(hub.Model, name, revision)
	if err != nil || !fromHub {
		return name, true, err
	}
	settings, err := hub.FromEnv(os.Getenv)
	if err != nil {
		return "", false, err
	}
	settings.Offline = true
	if s, err := hub.New(settings, hub.Output{Logf: l.Debugf}).Snapshot(ctx, ref, hub.ModelFiles); err == nil {
		return s.Dir, true, nil
	}
	dir, err = l.fetch(ctx, ref, func(names []string, read func(string) ([]byte, error)) ([]string, error) {
		wanted, err := hub.ModelFiles(names, read)
		return slices.DeleteFunc(wanted, func(n string) bool { return strings.HasSuffix(n, ".safetensors") }), err
	})
	return dir, false, err
}

// Load reads a data set that is a path, or a hub id, in which case revision or the id's own @revision may say which.
func (l *Locator) Load(ctx context.Context, spec datasets.Spec, revision string) (*datasets.Set, error) {
	var err error
	if spec.Path, err = builtin.Path(builtin.Data, spec.Path); err != nil {
		return nil, err
	}
	ref, fromHub, err := locate(hub.Dataset, spec.Path, revision)
	if err != nil {
		return nil, err
	}
	if fromHub {
		preset, _ := datasets.PresetOf(ref.ID)
		spec = spec.Preset(preset)
		spec.Path, err = l.fetch(ctx, ref, func(names []string, _ func(string) ([]byte, error)) ([]string, error) {
			spec.Split, spec.Config = preset.Where(names, spec.Split, spec.Config)
			return datasets.SplitFiles(names, spec.Split, spec.Config)
		})
		if err != nil {
			return nil, err
		}
	}
	return datasets.Load(ctx, spec)
}

// FindData finds a run's data set again for its report. Only what came from the hub is looked for there: a path that is
// not there any more must not become a question to the hub because it looks like an id.
func FindData(out io.Writer) report.Find {
	l := NewLocator(out)
	return func(ctx context.Context, from report.Source) (*datasets.Set, error) {
		if from.Hub {
			return l.Load(ctx, from.Spec, from.Revision)
		}
		var err error
		if from.Path, err = builtin.Path(builtin.Data, from.Path); err != nil {
			return nil, err
		}
		return datasets.Load(ctx, from.Spec)
	}
}

func (l *Locator) fetch(ctx context.Context, ref hub.Ref, sel hub.Selection) (string, error) {
	if l.client == nil {
		settings, err := hub.FromEnv(os.Getenv)
		if err != nil {
			return "", err
		}
		l.client = hub.New(settings, hub.Output{Logf: l.Logf, Bar: l.out, Progress: l.progress})
	}
	snapshot, err := l.client.Snapshot(ctx, ref, sel)
	if err != nil {
		return "", fmt.Errorf("%s is not on this machine; from the hub: %w", ref.ID, err)
	}
	l.sources[ref.Kind.String()+" "+ref.ID] = snapshot.Commit
	return snapshot.Dir, nil
}

// locate decides whether a name is meant to be a path or a hub id. What is there is a path; so is what could be one in
// a directory that is there, because a mistyped path must not turn into a download.
func locate(kind hub.Kind, name, revision string) (ref hub.Ref, fromHub bool, err error) {
	ref, isID := hub.ParseRef(kind, name)
	_, statErr := os.Stat(name)
	named := strings.Contains(name, "@") || revision != ""
	switch {
	case statErr == nil && revision != "":
		return ref, false,
			fmt.Errorf("the revision %s is for an id on the hub, but %s is a local path; remove one of the two",
				revision, name)
	case statErr == nil:
		return ref, false, nil
	case !isID && revision != "":
		return ref, false, fmt.Errorf("the revision %s is for an id on the hub, but %s is none; expected org/name",
			revision, name)
	case !isID, slices.Contains(datasets.Extensions(), filepath.Ext(name)),
		strings.EqualFold(filepath.Ext(name), ".gguf"):
		return ref, false, nil
	case !named:
		org, _, _ := strings.Cut(name, "/")
		if info, err := os.Stat(org); err == nil && info.IsDir() {
			return ref, false,
				fmt.Errorf("%s: no such file or directory in %s/ (if the %s of this name on the hub is meant, write %s@%s)", name, org, kind, name, hub.DefaultRevision)
		}
	case revision != "" && strings.Contains(name, "@") && revision != ref.Revision:
		return ref, false, fmt.Errorf("%s names the revision %s, the config %s; keep one", name, ref.Revision, revision)
	case revision != "":
		ref.Revision = revision
	}
	return ref, true, nil
}
