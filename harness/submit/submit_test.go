package submit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gsmeval/gsmeval/internal/config"
)

func job(t *testing.T, change ...string) Job {
	t.Helper()
	cfg, err := config.Parse("study.yaml",
		[]byte("name: A study\nmodel: {path: models/m}\ndataset: {path: data/d}\noutput: runs/a\nthreads: 4\n"),
		config.Options{Set: change})
	if err != nil {
		t.Fatal(err)
	}
	return Job{Config: cfg, Shards: 8, Calibrate: true}
}

// TestSlurmScripts lets bash read the scripts and submits them to an sbatch that only says what it was given.
func TestSlurmScripts(t *testing.T) {
	t.Parallel()
	for _, calibrate := range []bool{true, false} {
		j := job(t)
		j.Calibrate = calibrate
		dir := t.TempDir()
		files, err := Slurm(j, dir, dir, "/opt/gsmeval", `--partition=p --comment="two words"`, "--partition=q")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			path := filepath.Join(dir, f.Name)
			if err := os.WriteFile(path, f.Text, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), "bash", "-n", path).CombinedOutput(); err != nil &&
				f.Name != "config.yaml" {
				t.Errorf("%s: %v\n%s", f.Name, err, out)
			}
		}
		sbatch := "#!/bin/bash\nprintf '%s|' \"$@\" >> " + dir + "/calls\necho >> " + dir + "/calls\nwc -l < " + dir +
			"/calls\n"
		if err := os.WriteFile(filepath.Join(dir, "sbatch"), []byte(sbatch), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "bash", filepath.Join(dir, "submit.sh"))
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("submit.sh: %v\n%s", err, out)
		}
		calls, err := os.ReadFile(filepath.Join(dir, "calls"))
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"--parsable|--partition=p|--comment=two words|" + dir + "/calibrate.sbatch|",
			"--parsable|--dependency=afterok:1|--partition=p|--comment=two words|" + dir + "/shards.sbatch|",
			"--parsable|--dependency=afterany:2|--partition=q|" + dir + "/merge.sbatch|",
		}
		said := "submitted: calibrate 1, shards 2 (1-8), merge 3\n"
		if !calibrate {
			want = []string{
				"--parsable|--partition=p|--comment=two words|" + dir + "/shards.sbatch|",
				"--parsable|--dependency=afterany:1|--partition=q|" + dir + "/merge.sbatch|",
			}
			said = "submitted: shards 1 (1-8), merge 2\n"
		}
		if got := strings.TrimSpace(string(calls)); got != strings.Join(want, "\n") {
			t.Errorf("sbatch was given\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
		if string(out) != said {
			t.Errorf("submit.sh says %q, want %q", out, said)
		}
	}
}

// The config that the shards run is the one that was given, whatever happens to its file.
func TestConfigGoesAlong(t *testing.T) {
	t.Parallel()
	j := job(t, "prompt.system=\"a: b\"\n--- # c", "noise_seeds=3")
	files, err := Slurm(j, "/d", "/d/f", "/p", "", "")
	if err != nil {
		t.Fatal(err)
	}
	again, err := config.Parse("config.yaml", files[0].Text, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	j.Config.Progress = "plain"
	if diff := config.Diff(j.Config, again); diff != nil {
		t.Errorf("the config changes: %q", diff)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	k := Kubernetes{Image: "gsmeval:1", Memory: "8Gi", Storage: "20Gi", Inputs: "1Gi"}
	for _, tt := range []struct {
		name   string
		set    []string
		change func(j *Job, k *Kubernetes)
		want   string
	}{
		{"no threads", []string{"threads=0"}, nil, "threads is not set"},
		{"no shards", nil, func(j *Job, _ *Kubernetes) { j.Shards = 0 }, "--shards 0"},
		{"a model of this machine", []string{"model.path=/home/me/m"}, nil, "--set model.path=inputs/NAME"},
		{
			"data beside this folder",
			[]string{"dataset.path=../d"},
			nil,
			"dataset.path \"../d\" is a path of this machine",
		},
		{"an output that is not shared", []string{"output=out"}, nil, "--set output=runs/NAME"},
		{"the volume itself as output", []string{"output=runs"}, nil, "--set output=runs/NAME"},
		{"an odd output", []string{"output=runs/a b"}, nil, "characters"},
		{"memory", nil, func(_ *Job, k *Kubernetes) { k.Memory = "8 GB" }, `--memory "8 GB" is not a quantity`},
		{"storage", nil, func(_ *Job, k *Kubernetes) { k.Storage = "" }, "--storage"},
		{"namespace", nil, func(_ *Job, k *Kubernetes) { k.Namespace = "My Lab" }, "--namespace"},
		{"image", nil, func(_ *Job, k *Kubernetes) { k.Image = "a\nb" }, "--image"},
		{"gpus", nil, func(_ *Job, k *Kubernetes) { k.GPUs = -1 }, "--gpus -1"},
	} {
		j, k := job(t, tt.set...), k
		if tt.change != nil {
			tt.change(&j, &k)
		}
		if _, err := Manifest(j, k); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	for name, f := range map[string]func() ([]File, error){
		"characters": func() ([]File, error) { return Slurm(job(t), "/a b", "/f", "/p", "", "") },
		"one line":   func() ([]File, error) { return Slurm(job(t), "/a", "/f", "/p", "x\ny", "") },
		"threads":    func() ([]File, error) { return Slurm(job(t, "threads=0"), "/a", "/f", "/p", "", "") },
	} {
		if _, err := f(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a": "gsmeval-a", "Übung: «a»": "gsmeval-bung-a", "日本": "gsmeval", strings.Repeat("x", 60): "gsmeval-" +
			strings.Repeat("x", 40), "a_b.c-": "gsmeval-a-b-c",
	} {
		if got := (Job{Config: &config.Config{Name: name}}).name(); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}
