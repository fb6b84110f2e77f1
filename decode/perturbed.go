package decode

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
	"github.com/gsmeval/gsmeval/decode/checkpoint/half"
	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/files"
	"github.com/gsmeval/gsmeval/internal/torch"
	"github.com/gsmeval/gsmeval/noise"
	"github.com/gsmeval/gsmeval/noise/operation"
	"github.com/gsmeval/gsmeval/noise/philox"
)

// WritePerturbed writes the model with the weights of a replicate of a noise, as a checkpoint of
// its compute type: model.safetensors, config.json and the tokenizer's files. The model is as before afterwards.
func (lm *LM) WritePerturbed(out string, n condition.Noise, seed uint64, replicate int) (condition.Effect, error) {
	if !n.On(operation.Weights) {
		return nil, errors.New("the noise changes no weights; what it does to activations cannot be written to a checkpoint")
	}
	if list, err := os.ReadDir(out); err == nil && len(list) > 0 {
		return nil, fmt.Errorf("%s is not empty; name a new directory", out)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory: %w", err)
	}
	dtype := lm.Model.DType
	if err := copyText(lm.Dir, out, dtype.String()); err != nil {
		return nil, err
	}
	var effect condition.Effect
	err := files.Replace(filepath.Join(out, "model.safetensors"), func(w io.Writer) error {
		return lm.Worker.Do(func(s *torch.Scope) error {
			// One parameter after another, written as soon as it is perturbed: beside the weights this needs the memory
			// of one.
			_, err := lm.Model.Perturb(s, func(s *torch.Scope, params []noise.Param) (condition.Effect, error) {
				stored := make([]checkpoint.Stored, len(params))
				index := make(map[string]noise.Param, len(params))
				for i, p := range params {
					stored[i], index[p.Name] = storedAs(p), p
				}
				return nil, checkpoint.WriteSafetensors(w, stored, func(t checkpoint.Stored) (data []byte, err error) {
					p := index[t.Name]
					change := p.Change
					p.Change = func(s *torch.Scope, f func(torch.Tensor)) {
						change(s, func(dense torch.Tensor) {
							f(dense)
							data = bytesOf(s, dense, t)
						})
					}
					did, err := noise.PerturbWeights(s, n, []noise.Param{p}, func(name string) philox.Key {
						return philox.NewKey(philox.Weight, seed, replicate, name)
					}, false)
					if effect = append(effect, did...); err != nil && !errors.Is(err, condition.ErrNoEffect) {
						return nil, err
					}
					if len(did) == 0 { // not touched
						p.Change(s, func(torch.Tensor) {})
					}
					return data, s.Err()
				})
			})
			return errors.Join(err, lm.Model.Restore(s))
		})
	})
	if err == nil {
		err = effect.Check()
	}
	return effect, err
}

// storedAs is a parameter's place in a file, in the type that the model has it in: norms are float32 whatever Linears are.
func storedAs(p noise.Param) checkpoint.Stored {
	t := checkpoint.Stored{Name: p.Name, DType: "F32", Shape: p.Shape, Size: 4}
	switch p.DType {
	case torch.BFloat16:
		t.DType, t.Size = "BF16", 2
	case torch.Float16:
		t.DType, t.Size = "F16", 2
	default: // float32: parameters have no other type
	}
	for _, d := range p.Shape {
		t.Size *= d
	}
	return t
}

// bytesOf are a tensor's elements, which are of the type that it is stored in.
func bytesOf(s *torch.Scope, dense torch.Tensor, t checkpoint.Stored) []byte {
	mark := s.Mark()
	defer s.Release(mark)
	values := s.FloatView(s.Host(s.To(dense, torch.Float32)))
	if s.Err() != nil {
		return nil
	}
	data := make([]byte, 0, t.Size)
	for _, v := range values {
		switch t.DType {
		case "BF16":
			data = binary.LittleEndian.AppendUint16(data, half.ToBFloat16(v))
		case "F16":
			data = binary.LittleEndian.AppendUint16(data, half.ToFloat16(v))
		default:
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
	}
	return data
}

// copyText copies what a model has beside its weights, or writes what a GGUF file says of it.
func copyText(model, out, dtype string) error {
	names, err := textFiles(model)
	if err != nil {
		return fmt.Errorf("reading the checkpoint: %w", err)
	}
	const most = 1 << 28
	for _, name := range names {
		data, err := checkpoint.ReadFile(model, name, most)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("copying the checkpoint: %w", err)
		}
		if name == "config.json" {
			if data, err = plainConfig(data, dtype); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if err := os.WriteFile(filepath.Join(out, name), data, 0o644); err != nil {
			return fmt.Errorf("copying the checkpoint: %w", err)
		}
	}
	return nil
}

// textFiles are the files of a model beside its weights.
func textFiles(model string) ([]string, error) {
	if checkpoint.IsGGUF(model) {
		return []string{
			"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
		}, nil
	}
	list, err := os.ReadDir(model)
	if err != nil {
		return nil, err
	}
	text := []string{".json", ".txt", ".jinja", ".model", ".md"}
	var names []string
	for _, f := range list {
		if slices.Contains(text, filepath.Ext(f.Name())) && !f.IsDir() && !strings.HasSuffix(f.Name(), ".index.json") {
			names = append(names, f.Name())
		}
	}
	return names, nil
}

// plainConfig is a config.json of weights of a type that are not quantised, whatever they were.
func plainConfig(data []byte, dtype string) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	delete(all, "quantization_config")
	delete(all, "torch_dtype")
	all["dtype"] = json.RawMessage(strconv.Quote(dtype))
	return json.MarshalIndent(all, "", "  ")
}
