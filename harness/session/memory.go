package session

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
)

// baseMemory is what the program, its libraries and the tensors of a pass take beside weights and cache.
const baseMemory = 300 << 20

// Memory is what a model needs, by formula, and what is free. Sizes are bytes.
type Memory struct {
	Weights   int64  `json:"weights_bytes"` // in the compute dtype
	Cache     int64  `json:"cache_bytes"`   // keys and values
	Other     int64  `json:"other_bytes"`   // logits, the program and its libraries
	Need      int64  `json:"need_bytes"`
	Available int64  `json:"available_bytes"` // 0 where it cannot be found out
	LimitedBy string `json:"limited_by"`      // "memory" of the machine, or "cgroup"
	Batch     int    `json:"batch_size"`
	Positions int    `json:"positions"` // of each sequence
}

// MemoryNeed is a model of so many parameters in a dtype, decoding batch sequences of up to so many positions.
func MemoryNeed(cfg checkpoint.Config, parameters int64, dtype string, batch, positions int, root fs.FS) Memory {
	size, cacheSize := int64(2), int64(4) // on the CPU the cache is float32 for float16 too
	if dtype == "" || dtype == "float32" {
		size = 4
	}
	if dtype == "bfloat16" {
		cacheSize = 2
	}
	if cfg.TieEmbeddings && size == 4 {
		parameters += int64(cfg.VocabSize) * int64(cfg.HiddenSize) // lm_head's packed copy stands beside the embedding
	}
	m := Memory{
		Weights: parameters * size,
		Cache:   2 * cacheSize * int64(cfg.NumLayers) * int64(cfg.NumKVHeads) * int64(cfg.HeadDim) * int64(batch) * int64(positions),
		Other:   baseMemory + 4*int64(cfg.VocabSize)*int64(batch),
		Batch:   batch, Positions: positions,
	}
	m.Need = m.Weights + m.Cache + m.Other
	m.Available, m.LimitedBy = AvailableMemory(root)
	return m
}

// Fits tells whether there is room; where nothing is known of the machine, there is.
func (m Memory) Fits() bool { return m.Available == 0 || m.Need <= m.Available }

// String says need and room in one line.
func (m Memory) String() string {
	free := "what is free is not known"
	if m.Available > 0 {
		free = fmt.Sprintf("%s free (%s)", gib(m.Available), m.LimitedBy)
	}
	return fmt.Sprintf("%s: weights %s, cache %s for %d sequences of %d positions, other %s; %s",
		gib(m.Need), gib(m.Weights), gib(m.Cache), m.Batch, m.Positions, gib(m.Other), free)
}

func gib(n int64) string { return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30)) }

// AvailableMemory is what this process may still take: MemAvailable of the machine, or what the limits of its cgroups
// leave, whichever is less. root is the root of the file system.
func AvailableMemory(root fs.FS) (free int64, by string) {
	free, by = meminfo(root, "MemAvailable"), "memory"
	for _, c := range cgroupLimits(root) {
		if free == 0 || c.left < free {
			free, by = c.left, "cgroup"
		}
	}
	return free, by
}

// installedMemory is what this process may take at most on this machine, whatever else runs on it: 0 if it cannot be
// found out.
func installedMemory(root fs.FS) int64 {
	most := meminfo(root, "MemTotal")
	for _, c := range cgroupLimits(root) {
		if most == 0 || c.most < most {
			most = c.most
		}
	}
	return most
}

// meminfo is a line of /proc/meminfo in bytes, 0 if it cannot be read.
func meminfo(root fs.FS, key string) int64 {
	data, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(data)) {
		var kb int64
		if n, err := fmt.Sscanf(line, key+": %d kB", &kb); n == 1 && err == nil {
			return kb << 10
		}
	}
	return 0
}

// cgroupLimit is a limit on memory, and what it leaves.
type cgroupLimit struct{ most, left int64 }

// cgroupLimits lists the memory limits of this process's cgroup and of those above it, version 2 or 1.
func cgroupLimits(root fs.FS) []cgroupLimit {
	data, _ := fs.ReadFile(root, "proc/self/cgroup")
	var limits []cgroupLimit
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		base, limit, used, inactive := "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
		if parts[0] != "0" {
			if parts[1] != "memory" {
				continue
			}
			base, limit, used, inactive = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
				"total_inactive_file"
		}
		for dir := strings.Trim(path.Clean(parts[2]), "/."); ; dir = path.Dir(dir) {
			at := path.Join(base, dir)
			most, err1 := number(root, path.Join(at, limit))
			now, err2 := number(root, path.Join(at, used))
			if err1 == nil && err2 == nil && most < 1<<60 { // version 1 spells "no limit" as a huge number
				// Pages of files that nobody uses are given back before anything fails.
				limits = append(limits, cgroupLimit{most, max(most-now+stat(root, path.Join(at, "memory.stat"),
					inactive), 1)})
			}
			if dir == "" || dir == "." {
				break
			}
		}
	}
	return limits
}

func number(root fs.FS, name string) (int64, error) {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, err
	}
	text := string(bytes.TrimSpace(data))
	if text == "max" {
		return 0, errors.New("no limit")
	}
	return strconv.ParseInt(text, 10, 64)
}

func stat(root fs.FS, name, key string) int64 {
	data, _ := fs.ReadFile(root, name)
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, key+" "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			return n
		}
	}
	return 0
}

// Parameters is what the headers of weight files say.
type Parameters struct {
	Parameters int64    `json:"parameters"`
	Tensors    int      `json:"tensors"`
	DTypes     []string `json:"dtypes"`
	Bytes      int64    `json:"bytes"`
	Files      int      `json:"files"`
}

// CountParameters reads the headers of a model's weight files, and no weights.
func CountParameters(dir string) (Parameters, error) {
	w, err := checkpoint.OpenWeights(dir)
	if err != nil {
		return Parameters{}, err
	}
	p := Parameters{Files: len(w.Files())}
	dtypes := map[string]bool{}
	for _, name := range w.Names() {
		t, _ := w.Tensor(name)
		p.Parameters += int64(t.Elements())
		bytes, format := t.Stored()
		p.Bytes += int64(bytes)
		p.Tensors++
		dtypes[format] = true
	}
	p.DTypes = slices.Sorted(maps.Keys(dtypes))
	return p, w.Close()
}
