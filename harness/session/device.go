package session

import (
	"fmt"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/internal/torch"
)

// deviceIdentity is what of a GPU may change a sample: its kind and the kernels that run on it. Its number and its
// driver are no part of it: equal GPUs of one machine share a run.
func deviceIdentity(g torch.CUDAInfo) string {
	ops := "plain operations"
	if g.Kernels {
		ops = "own kernels"
	}
	return fmt.Sprintf("%s (compute capability %s), attention %s, %s", g.Name, g.Capability, g.Attention, ops)
}

const (
	mostGPUBatch = 256
	gpuPart      = 0.85      // of a GPU's memory, for a run: the rest is the driver's, the libraries' and chance's
	gpuWorkspace = 768 << 20 // of cuBLAS and of a pass
)

// GPUNeed is what a model takes on a GPU, for batch sequences of up to so many positions.
func GPUNeed(model checkpoint.Config, parameters int64, dtype string, batch, positions int) (weights, slot,
	logits int64,
) {
	size := int64(2)
	if dtype == "" || dtype == "float32" {
		size = 4
	}
	weights = parameters * size
	slot = 2 * size * int64(model.NumLayers) * int64(model.NumKVHeads) * int64(model.HeadDim) * int64(positions)
	// A step has the logits twice, in the compute dtype and in float32, and sampling takes them in float64.
	logits = int64(model.VocabSize) * (size + 4 + 8)
	return weights, slot * int64(batch), logits * int64(batch)
}

// autoGPUBatch is the batch size of batch_size: auto on a GPU with so much memory in all: the largest power of two, up
// to 256, with which weights, cache, logits and workspace take at most 85 % of it. What happens to be free does not
// matter, as on a CPU.
func autoGPUBatch(model checkpoint.Config, parameters int64, dtype string, maxNew int, total int64) int {
	positions := min(maxNew+autoPrompt, model.MaxPositions)
	for batch := mostGPUBatch; batch > 1; batch /= 2 {
		weights, cache, logits := GPUNeed(model, parameters, dtype, batch, positions)
		if float64(weights+cache+logits+gpuWorkspace) <= gpuPart*float64(total) {
			return batch
		}
	}
	return 1
}

// Fitting says what to do where memory ran out at the start: free is what there is for a run, before its weights were
// loaded, and a slot takes slot bytes of cache and logits of logits.
func Fitting(free, weights, slot, logits int64, batch int) string {
	need := func(n int) int64 { return weights + gpuWorkspace + int64(n)*(slot+logits) }
	text := fmt.Sprintf("batch size %d needs %s (weights %s, %s for each sequence), %s are free", batch,
		gib(need(batch)), gib(weights), gib(slot+logits), gib(free))
	left := free - weights - gpuWorkspace
	if left < slot+logits {
		return "the model does not fit with any generation.batch_size: " + text +
			"; use model.dtype bfloat16, a lower generation.max_new_tokens or another device"
	}
	n := min(left/max(slot+logits, 1), int64(max(batch-1, 1)))
	return fmt.Sprintf("set generation.batch_size to %d or less: %s", n, text)
}

// DescribeGPU is a GPU in a line.
func DescribeGPU(g torch.CUDAInfo) string {
	kernels := "own kernels"
	if !g.Kernels {
		kernels = "plain operations, no kernels of its own: " + g.NoKernels
	}
	return fmt.Sprintf("%s, compute capability %s, driver %s, CUDA %s, %.1f of %.1f GiB free; libtorch's attention %s; decode steps by %s; %s",
		g.Name, g.Capability, g.Driver, g.Runtime, float64(g.Free)/(1<<30), float64(g.Total)/(1<<30), g.Attention,
		kernels, g.Libraries)
}
