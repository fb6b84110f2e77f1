package session

import (
	"io/fs"
	"os"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/torch"
)

const (
	mostAutoBatch    = 64   // beyond it a step on a CPU takes as much longer as it decodes more
	unknownAutoBatch = 32   // where the machine's memory cannot be found out
	autoPrompt       = 1024 // tokens of a prompt that there is room for
)

// autoBatch is the batch size of batch_size: auto: the largest power of two, up to 64, with which weights and cache
// take at most half of the machine's memory. It depends on model, dtype, token limit and installed memory, and not on
// what happens to be free: the batch size is part of what makes a sample, and the same config must give the same one.
func autoBatch(model checkpoint.Config, parameters int64, dtype string, maxNew int, root fs.FS) int {
	installed := installedMemory(root)
	if installed == 0 {
		return unknownAutoBatch
	}
	slots := mostAutoBatch
	for slots > 1 && MemoryNeed(model, parameters, dtype, slots, min(maxNew+autoPrompt, model.MaxPositions),
		root).Need > installed/2 {
		slots /= 2
	}
	return slots
}

// WithBatch is the config with the number that batch_size: auto stands for with the model in dir. From there on the run
// is one with that number, on the CPU or a GPU: it is in the effective config, and in the fingerprint.
func WithBatch(cfg *config.Config, dir string, model checkpoint.Config, gpu *torch.CUDAInfo) (*config.Config, error) {
	if cfg.Generation.BatchSize != config.BatchAuto {
		return cfg, nil
	}
	p, err := CountParameters(dir)
	if err != nil {
		return nil, err
	}
	resolved := *cfg
	n := 0
	if gpu != nil {
		n = autoGPUBatch(model, p.Parameters, cfg.Model.DType, cfg.Generation.MaxNewTokens, gpu.Total)
	} else {
		n = autoBatch(model, p.Parameters, cfg.Model.DType, cfg.Generation.MaxNewTokens, os.DirFS("/"))
	}
	resolved.Generation.BatchSize = config.BatchSize(n)
	return &resolved, nil
}
