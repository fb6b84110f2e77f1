package runner

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/gsmeval/gsmeval/harness/session"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/results"
)

// WorkerCalibrates is what a worker gets in place of a shard where it measures the calibrations.
const WorkerCalibrates = "calibrate"

// RunDevices does a run on several devices: a worker process for each does its shard, and the shards are merged.
// program is the command line of a worker without its shard. A worker reads its config from stdin, and takes the end of
// stdin for that of this process.
func RunDevices(ctx context.Context, cfg *config.Config, o Options, program []string) (*results.Table, error) {
	d := &devices{
		cfg: cfg, log: session.NewLogger(o.Stderr, cfg), program: program,
		state: make([]progressEvent, len(cfg.Devices)),
	}
	n, err := results.ShardCount(cfg.Output)
	if err != nil {
		return nil, err
	}
	if n != 0 && n != len(cfg.Devices) {
		return nil, fmt.Errorf("%s is cut into %s, and there are %d devices; name as many, or choose another output",
			cfg.Output, session.Count(n, "shard"), len(cfg.Devices))
	}
	if err := writeDevicesConfig(cfg); err != nil {
		return nil, err
	}
	if NeedsCalibration(cfg) {
		if err := d.work(ctx, 0, WorkerCalibrates); err != nil {
			return nil, d.ended(ctx, err)
		}
	}
	d.progress = newProgress(o.Stderr, cfg.Output, cfg.Progress, 0, 0)
	err = d.all(ctx)
	d.progress.finish()
	if err != nil {
		return nil, d.ended(ctx, err)
	}
	return Merge(ctx, cfg.Output, o.NoReport)
}

// devices are the workers of a run.
type devices struct {
	cfg     *config.Config
	log     session.Logger
	program []string

	mu       sync.Mutex // guards what follows, and the log's writer
	state    []progressEvent
	progress *progress
}

// ended is how a run ends whose workers did not.
func (d *devices) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: what was decoded is kept; go on with: gsmeval resume %s", ErrInterrupted, d.cfg.Output)
	}
	return fmt.Errorf("%w; the other devices were stopped, what was decoded is kept; go on with: gsmeval resume %s",
		err, d.cfg.Output)
}

// all runs a worker on each device. The first that fails stops the others.
func (d *devices) all(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var group sync.WaitGroup
	for i := range d.cfg.Devices {
		group.Go(func() {
			if err := d.work(ctx, i, Shard{i + 1, len(d.cfg.Devices)}.String()); err != nil {
				stop(err)
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// work runs the worker of device i until it ends.
func (d *devices) work(ctx context.Context, i int, shard string) error {
	own := *d.cfg
	own.Model.Device = string(d.cfg.Devices[i])
	text, err := own.JSON()
	if err != nil {
		return err
	}
	// Not SIGINT: a terminal gives that to all of a group, and a second one would mean impatience.
	cmd := exec.CommandContext(ctx, d.program[0], append(d.program[1:len(d.program):len(d.program)], shard)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	stdin, err1 := cmd.StdinPipe()
	stderr, err2 := cmd.StderrPipe()
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("starting a worker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the worker of %s: %w", own.Model.Device, err)
	}
	_, _ = stdin.Write(text) // a worker that has ended says why itself
	_, _ = io.WriteString(stdin, "\n")
	last := d.listen(i, stderr)
	err = cmd.Wait()
	_ = stdin.Close()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case last != "":
		return fmt.Errorf("device %s: %s", own.Model.Device, last)
	}
	return fmt.Errorf("device %s: the worker ended with %w", own.Model.Device, err)
}

// listen follows what a worker says until it ends: its progress is added to the others', and the rest is handed on. It
// returns the error that the worker ended with.
func (d *devices) listen(i int, from io.Reader) (last string) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			var e struct {
				progressEvent
				Level string `json:"level"`
				Text  string `json:"text"`
			}
			failed, isError := strings.CutPrefix(line, "gsmeval: ")
			switch {
			case isError:
				last = failed
			case json.Unmarshal([]byte(line), &e) != nil:
				d.say("info", string(d.cfg.Devices[i])+": "+line)
			case e.Event == "message":
				d.say(e.Level, string(d.cfg.Devices[i])+": "+e.Text)
			default:
				d.mu.Lock()
				d.state[i] = e.progressEvent
				if d.progress != nil { // a calibration's events are not counted
					d.progress.show(d.state)
				}
				d.mu.Unlock()
			}
		}
		if err != nil {
			return last
		}
	}
}

func (d *devices) say(level, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch level {
	case "debug":
		d.log.Debugf("%s", text)
	case "warn":
		d.log.Warnf("%s", text)
	default:
		d.log.Logf("%s", text)
	}
}

// devicesFile in a run's folder of shards has the config of a run on several devices from its start on: a shard's
// run.json comes only after the calibration.
const (
	devicesFile = "devices.json"
	mostConfig  = 1 << 20
)

func writeDevicesConfig(cfg *config.Config) error {
	text, err := cfg.JSON()
	if err != nil {
		return err
	}
	dir := filepath.Join(cfg.Output, "shards")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the folder of the shards: %w", err)
	}
	return files.Replace(filepath.Join(dir, devicesFile), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

// ShardedConfig is the config of a run of several devices that was not merged yet, from the first shard that has begun,
// or from the run's start where none has.
func ShardedConfig(output string, set []string) (*config.Config, error) {
	n, err := results.ShardCount(output)
	if err != nil {
		return nil, err
	}
	for i := 1; i <= n; i++ {
		dir := shardDir(output, Shard{i, n})
		info, err := results.ReadRun(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		cfg, err := config.Parse(dir+"/"+results.RunFile, info.Config, config.Options{Set: set})
		if err == nil && len(cfg.Devices) < 2 {
			err = fmt.Errorf("%s holds shards of a run; go on with one of them: gsmeval resume %s", output, dir)
		}
		return cfg, err
	}
	path := filepath.Join(output, "shards", devicesFile)
	text, err := files.Read(path, mostConfig)
	if err != nil {
		return nil, err
	}
	return config.Parse(path, text, config.Options{Set: set})
}
