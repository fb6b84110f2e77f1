// Package kubernetes checks the manifests of `gsmeval submit kubernetes` against Kubernetes' own Go types. It is a
// module of its own, so that the program does not depend on them.
package kubernetes

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// objects are the documents of a manifest, decoded: a key that the types lack is an error.
type objects struct {
	configs []corev1.ConfigMap
	claims  []corev1.PersistentVolumeClaim
	jobs    []batchv1.Job
}

func decode(t *testing.T, manifest []byte) (o objects) {
	t.Helper()
	for i, doc := range bytes.Split(manifest, []byte("\n---\n")) {
		var kind struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			t.Fatalf("document %d: %v", i, err)
		}
		var err error
		switch kind.APIVersion + " " + kind.Kind {
		case "v1 ConfigMap":
			o.configs = append(o.configs, corev1.ConfigMap{})
			err = yaml.UnmarshalStrict(doc, &o.configs[len(o.configs)-1])
		case "v1 PersistentVolumeClaim":
			o.claims = append(o.claims, corev1.PersistentVolumeClaim{})
			err = yaml.UnmarshalStrict(doc, &o.claims[len(o.claims)-1])
		case "batch/v1 Job":
			o.jobs = append(o.jobs, batchv1.Job{})
			err = yaml.UnmarshalStrict(doc, &o.jobs[len(o.jobs)-1])
		default:
			err = fmt.Errorf("an unexpected %s", kind)
		}
		if err != nil {
			t.Fatalf("document %d: %v", i, err)
		}
	}
	return o
}

// submit runs the program; GSMEVAL is its path.
func submit(t *testing.T, args ...string) []byte {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(root, "bin", "gsmeval"), append([]string{"submit", "kubernetes"}, args...)...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, &stderr)
	}
	return out
}

func TestStrictDecoding(t *testing.T) {
	for _, args := range [][]string{
		{"configs/study.yaml", "--shards", "64", "--set", "threads=8"},
		{
			"configs/dyn_tstar.yaml", "--shards", "3", "--set", "threads=2", "--set", "name=Übung: «a»", "--set",
			"prompt.system=a: \"b\"\n---\n# c", "--namespace", "lab",
			"--storage-class", "nfs-client", "--gpus", "1", "--memory", "16Gi", "--parallelism", "2", "--storage",
			"1Ti", "--inputs", "50Gi", "--image", "registry.example:5000/x/gsmeval:1",
		},
		{"configs/gsm8k.yaml", "--shards", "1", "--set", "threads=1", "--set", "dataset.path=data/gsm-synth"},
	} {
		t.Run(args[0], func(t *testing.T) { check(t, submit(t, args...), args) })
	}
}

func check(t *testing.T, manifest []byte, args []string) {
	o := decode(t, manifest)
	if len(o.configs) != 1 || len(o.claims) != 2 || len(o.jobs) != 2 {
		t.Fatalf("%d configs, %d claims and %d jobs, want 1, 2 and 2", len(o.configs), len(o.claims), len(o.jobs))
	}
	claims := map[string]bool{}
	for _, c := range o.claims {
		claims[c.Name] = true
		if !slices.Equal(c.Spec.AccessModes, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}) ||
			c.Spec.Resources.Requests.Storage().IsZero() {
			t.Errorf("claim %s: %+v", c.Name, c.Spec)
		}
	}
	shards, merge := o.jobs[0], o.jobs[1]
	for _, name := range []string{shards.Name + "-99999", merge.Name, o.configs[0].Name} { // a pod's host name has the index at its end
		if problems := validation.IsDNS1123Label(name); problems != nil {
			t.Errorf("name %q: %v", name, problems)
		}
	}
	n := args[2]
	s := shards.Spec
	if s.CompletionMode == nil || *s.CompletionMode != batchv1.IndexedCompletion || fmt.Sprint(*s.Completions) != n ||
		s.BackoffLimitPerIndex == nil || *s.Parallelism > *s.Completions {
		t.Errorf("the shards are no indexed Job of %s: %+v", n, s)
	}
	for _, j := range o.jobs {
		pod := j.Spec.Template.Spec
		// What the API server demands beyond the types.
		if pod.RestartPolicy != corev1.RestartPolicyNever || j.Spec.PodFailurePolicy == nil {
			t.Errorf("job %s: podFailurePolicy with restartPolicy %s", j.Name, pod.RestartPolicy)
		}
		main := pod.Containers[0]
		for _, r := range j.Spec.PodFailurePolicy.Rules {
			if (r.OnExitCodes == nil) == (r.OnPodConditions == nil) {
				t.Errorf("job %s: a rule of %+v", j.Name, r)
			}
			if c := r.OnExitCodes; c != nil && (*c.ContainerName != main.Name || !slices.IsSorted(c.Values) ||
				len(c.Values) == 0) {
				t.Errorf("job %s: exit codes %+v", j.Name, c)
			}
		}
		volumes := map[string]bool{}
		for _, v := range pod.Volumes {
			volumes[v.Name] = true
			if c := v.PersistentVolumeClaim; c != nil && !claims[c.ClaimName] {
				t.Errorf("job %s: there is no claim %s", j.Name, c.ClaimName)
			}
			if c := v.ConfigMap; c != nil && c.Name != o.configs[0].Name {
				t.Errorf("job %s: there is no config %s", j.Name, c.Name)
			}
		}
		for _, m := range main.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("job %s: there is no volume %s", j.Name, m.Name)
			}
		}
		if main.Resources.Requests.Cpu().IsZero() ||
			main.Resources.Requests.Memory().Cmp(resource.MustParse("100Mi")) < 0 {
			t.Errorf("job %s asks for %v", j.Name, main.Resources)
		}
	}
	rules := fmt.Sprintf("%+v", actions(s.PodFailurePolicy))
	if want := "map[130:Ignore 143:Ignore 2:FailJob DisruptionTarget:Ignore]"; rules != want {
		t.Errorf("the shards' failure policy is %s, want %s", rules, want)
	}
	if args := shards.Spec.Template.Spec.Containers[0].Args; !slices.Equal(args[2:], []string{"--shard", "auto/" + n}) {
		t.Errorf("the shards run %q", args)
	}
	// The config must come out of the YAML as it went in.
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(o.configs[0].Data["config.yaml"]), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := submit(t, append([]string{file}, after(args)...)...); !bytes.Equal(again, manifest) {
		t.Error("the config of the manifest makes another manifest")
	}
}

// after leaves out the config and what was set.
func after(args []string) (out []string) {
	for i := 1; i < len(args); i++ {
		if args[i] == "--set" {
			i++
			continue
		}
		out = append(out, args[i])
	}
	return out
}

func actions(p *batchv1.PodFailurePolicy) map[string]batchv1.PodFailurePolicyAction {
	out := map[string]batchv1.PodFailurePolicyAction{}
	for _, r := range p.Rules {
		if r.OnExitCodes != nil {
			for _, v := range r.OnExitCodes.Values {
				out[fmt.Sprint(v)] = r.Action
			}
		}
		for _, c := range r.OnPodConditions {
			out[string(c.Type)] = r.Action
		}
	}
	return out
}

// TestMistakesAreSeen makes sure that the decoding is strict.
func TestMistakesAreSeen(t *testing.T) {
	good := string(submit(t, "configs/study.yaml", "--shards", "4", "--set", "threads=1"))
	for _, change := range [][2]string{
		{"backoffLimitPerIndex: 6", "backoffLimitPerIndexes: 6"},
		{"completions: 4", "completions: four"},
		{"accessModes: [ReadWriteMany]", "accessMode: [ReadWriteMany]"},
		{"restartPolicy: Never", "restartPolicy: Never\n      restartpolicies: Never"},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Fatalf("the manifest has no %q", change[0])
		}
		seen := false
		for _, doc := range strings.Split(bad, "\n---\n") {
			for _, into := range []any{&corev1.ConfigMap{}, &corev1.PersistentVolumeClaim{}, &batchv1.Job{}} {
				if strings.Contains(doc, "\nkind: "+strings.TrimPrefix(fmt.Sprintf("%T", into), "*v1.")) {
					seen = seen || yaml.UnmarshalStrict([]byte(doc), into) != nil
				}
			}
		}
		if !seen {
			t.Errorf("%q passes", change[1])
		}
	}
}
