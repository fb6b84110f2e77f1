package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/harness/runner"
	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/harness/submit"
	"github.com/gsmeval/gsmeval/internal/config"
)

func submitCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "submit",
		Short: "Write what Slurm or Kubernetes needs to do a run in shards",
		Long: `Submit cuts a run into shards and writes what a batch system needs to do them and to merge them: scripts for Slurm, YAML for
Kubernetes. docs/scaling-out.md has the whole way.`,
		Example: `  gsmeval submit slurm configs/dyn_tstar.yaml --shards 64 --set threads=8
  gsmeval submit kubernetes configs/dyn_tstar.yaml --shards 64 --set threads=8 > run.yaml`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("say to what: gsmeval submit slurm CONFIG, or gsmeval submit kubernetes CONFIG")}
		},
	}
	for _, build := range []func(*app) *cobra.Command{submitSlurmCommand, submitKubernetesCommand} {
		sub := build(a)
		sub.Args = usageArgs(sub.Args)
		c.AddCommand(sub)
	}
	return c
}

func submitSlurmCommand(a *app) *cobra.Command {
	var set []string
	var shards int
	var options, mergeOptions string
	var yes bool
	c := &cobra.Command{
		Use:   "slurm CONFIG",
		Short: "Write, or submit, a job array and a merge job",
		Long: `Slurm writes scripts to OUTPUT/slurm: a job that calibrates (where a temperature needs it), a job array with a task for each shard
and a job that merges them, each after the one before, and submit.sh, which submits them. Nothing is submitted without --yes.
docs/scaling-out.md has the whole way.`,
		Example: `  gsmeval submit slurm configs/dyn_tstar.yaml --shards 64 --set threads=8 --sbatch "--partition=cpu --time=12:00:00 --mem=8G"
  gsmeval submit slurm configs/dyn_tstar.yaml --shards 64 --set threads=8 --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := shardedJob(args[0], set, shards)
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("merge-sbatch") {
				mergeOptions = options
			}
			dir, err := os.Getwd()
			if err != nil {
				return fmt.Errorf("finding the working directory: %w", err)
			}
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding the program file: %w", err)
			}
			folder, err := filepath.Abs(filepath.Join(job.Config.Output, "slurm"))
			if err != nil {
				return err
			}
			files, err := submit.Slurm(job, dir, folder, program, options, mergeOptions)
			if err != nil {
				return usageError{err}
			}
			if err := a.sayShares(cmd, job); err != nil {
				return err
			}
			if err := writeFiles(folder, files); err != nil {
				return err
			}
			script := filepath.Join(folder, "submit.sh")
			if !yes {
				return a.println("written, not submitted; to submit: " + script)
			}
			run := exec.CommandContext(cmd.Context(), script)
			run.Stdout, run.Stderr = a.stdout, a.stderr
			if err := run.Run(); err != nil {
				return fmt.Errorf("submitting with %s: %w", script, err)
			}
			return nil
		},
	}
	setFlag(c, &set)
	c.Flags().IntVar(&shards, "shards", 0, "number of shards")
	c.Flags().StringVar(&options, "sbatch", "", "`options` of sbatch for all jobs, as in a shell")
	c.Flags().StringVar(&mergeOptions, "merge-sbatch", "",
		"`options` of sbatch for the merge job, instead of those of --sbatch")
	c.Flags().BoolVar(&yes, "yes", false, "submit")
	_ = c.MarkFlagRequired("shards")
	return c
}

func submitKubernetesCommand(a *app) *cobra.Command {
	var set []string
	var shards int
	var out string
	k := submit.Kubernetes{}
	c := &cobra.Command{
		Use:   "kubernetes CONFIG",
		Short: "Write an indexed Job, a merge Job and volume claims",
		Long: `Kubernetes writes plain YAML: the config, claims for runs and for models and data, an indexed Job with a pod for each shard and a
Job that waits for them and merges. Nothing is applied. The Containerfile in the repository builds the image; docs/scaling-out.md
has the whole way.`,
		Example: `  gsmeval submit kubernetes configs/dyn_tstar.yaml --shards 64 --set threads=8 --image registry.example/gsmeval:0.2.0 | kubectl apply -f -
  gsmeval submit kubernetes configs/dyn_tstar.yaml --shards 64 --set threads=8 --memory 16Gi --parallelism 16 --out run.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := shardedJob(args[0], set, shards)
			if err != nil {
				return err
			}
			text, err := submit.Manifest(job, k)
			if err != nil {
				return usageError{err}
			}
			if err := a.sayShares(cmd, job); err != nil {
				return err
			}
			if out == "" {
				return a.println(string(text))
			}
			return writeFiles(filepath.Dir(out), []submit.File{{Name: filepath.Base(out), Text: text}})
		},
	}
	setFlag(c, &set)
	f := c.Flags()
	f.IntVar(&shards, "shards", 0, "number of shards")
	f.StringVar(&out, "out", "", "write to `FILE` instead of stdout")
	f.StringVar(&k.Image, "image", "gsmeval:"+session.Version, "image of the pods")
	f.StringVar(&k.Namespace, "namespace", "", "namespace, if not that of the context")
	f.StringVar(&k.Memory, "memory", "8Gi", "memory of a shard")
	f.IntVar(&k.GPUs, "gpus", 0, "GPUs of a shard (nvidia.com/gpu)")
	f.IntVar(&k.Parallelism, "parallelism", 0, "shards at once (0: all)")
	f.StringVar(&k.Storage, "storage", "20Gi", "size of the claim for runs")
	f.StringVar(&k.Inputs, "inputs", "20Gi", "size of the claim for models and data")
	f.StringVar(&k.StorageClass, "storage-class", "",
		"storage class that several nodes can write to, if not the default")
	_ = c.MarkFlagRequired("shards")
	return c
}

// shardedJob loads the config of a run that is cut into shards.
func shardedJob(path string, set []string, shards int) (submit.Job, error) {
	cfg, err := config.Load(path, config.Options{Set: set, Env: os.Environ()})
	if err != nil {
		return submit.Job{}, usageError{err}
	}
	return submit.Job{Config: cfg, Shards: shards, Calibrate: runner.NeedsCalibration(cfg)}, nil
}

// sayShares says on stderr how a run is cut, where its data are here to be counted.
func (a *app) sayShares(cmd *cobra.Command, job submit.Job) error {
	meta, err := runner.Layout(cmd.Context(), job.Config, a.stderr)
	if err != nil {
		_, err = fmt.Fprintf(a.stderr,
			"the data cannot be counted here, so the sizes of the shards are not known: %v\n", err)
		return err
	}
	shares := runner.Shares(meta, job.Shards)
	least, most := slices.MinFunc(shares, bySamples), slices.MaxFunc(shares, bySamples)
	if least.Samples == 0 {
		return usageError{fmt.Errorf("--shards %d: some would have nothing to do; a shard takes whole questions, take fewer", job.Shards)}
	}
	draws := slices.MaxFunc(shares, func(x, y runner.Share) int { return x.Draws - y.Draws }).Draws
	_, err = fmt.Fprintf(a.stderr, "%s of %d to %d samples; a shard draws the weights at most %s\n",
		plural(job.Shards, "shard"), least.Samples, most.Samples, plural(draws, "time"))
	return err
}

func bySamples(x, y runner.Share) int { return x.Samples - y.Samples }

// writeFiles writes files into a folder, which it makes.
func writeFiles(folder string, files []submit.File) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", folder, err)
	}
	for _, f := range files {
		mode := os.FileMode(0o644)
		if f.Exec {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(folder, f.Name), f.Text, mode); err != nil {
			return fmt.Errorf("writing %s: %w", filepath.Join(folder, f.Name), err)
		}
	}
	return nil
}
