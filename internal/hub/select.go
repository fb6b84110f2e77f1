package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// The files of a model that are read, beside the weights. Those that not every model has come first.
var (
	optionalFiles = []string{
		"generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
		"chat_template.jinja", "chat_template.json",
	}
	neededFiles = []string{"config.json", "tokenizer.json"}
)

const (
	singleWeights = "model.safetensors"
	weightsIndex  = "model.safetensors.index.json"
)

// ModelFiles is the selection of a model: configuration, tokenizer, chat template, and the weights as safetensors,
// whole or in shards. Weights in other formats are never fetched: pickles run code when they are read.
func ModelFiles(names []string, read func(name string) ([]byte, error)) ([]string, error) {
	var wanted []string
	for _, name := range optionalFiles {
		if slices.Contains(names, name) {
			wanted = append(wanted, name)
		}
	}
	for _, name := range neededFiles {
		if !slices.Contains(names, name) {
			return nil, noFile(name, names)
		}
		wanted = append(wanted, name)
	}
	switch {
	case slices.Contains(names, singleWeights):
		return append(wanted, singleWeights), nil
	case !slices.Contains(names, weightsIndex):
		return nil, noWeights(names)
	}
	data, err := read(weightsIndex)
	if err != nil {
		return nil, err
	}
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil || len(index.Map) == 0 {
		return nil, fmt.Errorf("%s has no weight_map of tensor and file names", weightsIndex)
	}
	var shards []string
	for _, shard := range index.Map {
		shards = append(shards, shard)
	}
	slices.Sort(shards)
	shards = slices.Compact(shards)
	for _, shard := range shards {
		if strings.Contains(shard, "/") || !strings.HasSuffix(shard, ".safetensors") || !plainPath(shard) {
			return nil, fmt.Errorf("%s names %q, which is no safetensors file beside it",
				weightsIndex, printable(shard))
		}
		if !slices.Contains(names, shard) {
			return nil, fmt.Errorf("%s names %s, which is not there", weightsIndex, printable(shard))
		}
	}
	return append(append(wanted, weightsIndex), shards...), nil
}

func noFile(name string, names []string) error {
	switch {
	case name == "tokenizer.json" && slices.Contains(names, "tokenizer.model"):
		return errors.New("no tokenizer.json, only tokenizer.model; write one with transformers: " +
			"AutoTokenizer.from_pretrained(...).save_pretrained(DIR)")
	case slices.Contains(names, "adapter_config.json"):
		return errors.New("an adapter, not a model; merge it into its base model with peft's merge_and_unload and " +
			"save that")
	default:
		return fmt.Errorf("no %s; this is no language model of the transformers library", name)
	}
}

// noWeights says in which formats there are weights instead.
func noWeights(names []string) error {
	for _, name := range names {
		switch path.Ext(name) {
		case ".bin", ".pth", ".pt", ".ckpt":
			return fmt.Errorf("no safetensors, only %s, whose format runs code when it is read; a pull request of "+
				"the hub's converter may have them (look under Community, and add @refs/pr/N to the name), "+
				"or save the model as safetensors with transformers", printable(name))
		case ".gguf":
			return fmt.Errorf("no safetensors, only %s; download that file and name it as the model "+
				"(model.path: FILE.gguf)", printable(name))
		case ".onnx", ".h5", ".msgpack":
			return fmt.Errorf("no safetensors, only %s, a format that is not read; name the repository that it was "+
				"converted from", printable(name))
		}
	}
	return fmt.Errorf("neither %s nor %s", singleWeights, weightsIndex)
}
