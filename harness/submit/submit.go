// Package submit writes what a batch system needs to do a run in shards: Slurm scripts, or Kubernetes manifests. It
// starts nothing.
package submit

import (
	"bytes"
	"embed"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/results"
)

// Job is a run that is cut into shards.
type Job struct {
	Config    *config.Config
	Shards    int
	Calibrate bool // a temperature needs a calibration
}

// File is a file to write.
type File struct {
	Name string
	Text []byte
	Exec bool
}

//go:embed templates
var templates embed.FS

// check refuses what no batch system could run.
func (j Job) check() error {
	if j.Shards < 1 || j.Shards > results.MaxShards {
		return fmt.Errorf("--shards %d is not 1 to %d", j.Shards, results.MaxShards)
	}
	if j.Config.Threads == 0 {
		return fmt.Errorf("threads is not set: nodes with different numbers of cores would do different runs, which do not merge; " +
			"say how many cores a shard gets, as in --set threads=8")
	}
	return nil
}

// name is the config's name as part of a name of a Slurm or Kubernetes object.
func (j Job) name() string {
	const most = 40
	s := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(j.Config.Name), "-")
	return strings.TrimRight("gsmeval-"+strings.TrimLeft(s[:min(len(s), most)], "-"), "-")
}

// effective is the config that the shards run, from where they find their files.
func (j Job) effective() ([]byte, error) {
	c := *j.Config
	c.Progress = "plain" // into a log
	return c.YAML()
}

// plain are the characters that need no quotes in a shell, nor in an option line of Slurm.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./+=@:-]+$`)

// Slurm writes the scripts of a run into folder: a job that calibrates, where a temperature needs it, an array that
// does the shards and a job that merges them, and submit.sh, which submits them. dir is where relative paths of the
// config begin, and program this program; both are absolute. Options go to sbatch as they are, for all jobs, or for the
// merge job alone.
func Slurm(j Job, dir, folder, program, options, mergeOptions string) ([]File, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	output := j.Config.Output
	for what, s := range map[string]string{"the working directory": dir, "the output": output, "the program": program} {
		if !plain.MatchString(s) {
			return nil, fmt.Errorf("%s, %q, has characters that the option lines of a Slurm script cannot carry", what, s)
		}
	}
	for what, s := range map[string]string{"--sbatch": options, "--merge-sbatch": mergeOptions} {
		if strings.ContainsAny(s, "\n\r\x00") {
			return nil, fmt.Errorf("%s is more than one line", what)
		}
	}
	text, err := j.effective()
	if err != nil {
		return nil, err
	}
	values := map[string]any{
		"Name": j.name(), "Shards": j.Shards, "Threads": j.Config.Threads, "Calibrate": j.Calibrate, "Dir": dir,
		"Folder":  folder,
		"Program": program, "Output": output, "Config": filepath.Join(folder, "config.yaml"), "Options": options,
		"MergeOptions": mergeOptions,
	}
	files := []File{{Name: "config.yaml", Text: text}}
	names := []string{"shards.sbatch", "merge.sbatch", "submit.sh"}
	if j.Calibrate {
		names = append([]string{"calibrate.sbatch"}, names...)
	}
	for _, name := range names {
		text, err := fill(name, values)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Name: name, Text: text, Exec: name == "submit.sh"})
	}
	return files, nil
}

// Kubernetes says what the objects of a run in a cluster get.
type Kubernetes struct {
	Image        string
	Namespace    string // "" for that of the context
	Memory       string // of a shard
	GPUs         int    // of a shard
	Parallelism  int    // shards at once, 0 for all
	Storage      string // of the claim for runs
	Inputs       string // size of the claim for models and data
	StorageClass string // "" for the cluster's default
}

// The folders of the image, and of its volumes, that a config may name.
const (
	runsDir   = "runs"
	inputsDir = "inputs"
)

var (
	quantity = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?(m|[kKMGTP]i?)?$`)
	dns      = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
)

// Manifest writes the objects of a run in a cluster as a stream of YAML documents.
func Manifest(j Job, k Kubernetes) ([]byte, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	if k.Parallelism == 0 {
		k.Parallelism = j.Shards
	}
	for what, s := range map[string]string{"--memory": k.Memory, "--storage": k.Storage, "--inputs": k.Inputs} {
		if !quantity.MatchString(s) {
			return nil, fmt.Errorf("%s %q is not a quantity such as 8Gi", what, s)
		}
	}
	for what, s := range map[string]string{"--namespace": k.Namespace, "--storage-class": k.StorageClass} {
		if s != "" && !dns.MatchString(s) {
			return nil, fmt.Errorf("%s %q is not a name of Kubernetes", what, s)
		}
	}
	if !plain.MatchString(k.Image) {
		return nil, fmt.Errorf("--image %q is not the name of an image", k.Image)
	}
	if k.GPUs < 0 || k.Parallelism < 1 {
		return nil, fmt.Errorf("--gpus %d and --parallelism %d cannot be below 0", k.GPUs, k.Parallelism)
	}
	c := j.Config
	if first, _, _ := strings.Cut(filepath.Clean(c.Output), "/"); first != runsDir ||
		filepath.Clean(c.Output) == runsDir {
		return nil, fmt.Errorf("output %q is not in %s/, which is the volume that the pods share; set it with --set output=%s/NAME", c.Output, runsDir, runsDir)
	}
	for key, path := range map[string]string{
		"model.path": c.Model.Path, "dataset.path": c.Dataset.Path,
		"calibration.data": c.Calibration.Data,
	} {
		if filepath.IsAbs(path) || strings.HasPrefix(filepath.Clean(path), "..") {
			return nil, fmt.Errorf("%s %q is a path of this machine; pods have models/ and data/ of the image and %s/, a volume: "+
				"copy it there and set --set %s=%s/NAME", key, path, inputsDir, key, inputsDir)
		}
	}
	if !plain.MatchString(c.Output) {
		return nil, fmt.Errorf("output %q has characters that do not stand in a path of a pod", c.Output)
	}
	text, err := j.effective()
	if err != nil {
		return nil, err
	}
	return fill("kubernetes.yaml", map[string]any{
		"Name": j.name(), "Shards": j.Shards, "Threads": c.Threads, "Output": c.Output, "Config": string(text), "K": k,
		"Runs": runsDir, "Inputs": inputsDir,
	})
}

// fill executes a template.
func fill(name string, values any) ([]byte, error) {
	t, err := template.New(name+".tmpl").Funcs(template.FuncMap{"indent": indent}).ParseFS(templates,
		"templates/"+name+".tmpl")
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, values); err != nil {
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// indent puts a text into a block of YAML.
func indent(n int, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			b.WriteString(strings.Repeat(" ", n))
		}
		b.WriteString(line)
	}
	return strings.TrimRight(b.String(), "\n")
}
