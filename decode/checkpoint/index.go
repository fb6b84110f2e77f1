package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The file names that transformers looks for, in its order.
const (
	singleFile = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
)

// maxIndexBytes bounds the index; one of a 405B model has a few hundred kilobytes.
const maxIndexBytes = 64 << 20

// parseIndex returns the index's weight_map: tensor name to shard file name.
func parseIndex(data []byte) (map[string]string, error) {
	top, err := object(data)
	if err != nil {
		return nil, err
	}
	raw, ok := top["weight_map"]
	if !ok {
		return nil, errors.New("weight_map is missing")
	}
	if !strings.HasPrefix(string(raw), "{") {
		return nil, fmt.Errorf("weight_map: expected an object, found %s", kindOf(raw))
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(raw, &values); err != nil {
		return nil, fmt.Errorf("weight_map: %w", err)
	}
	if len(values) == 0 {
		return nil, errors.New("weight_map is empty")
	}
	files := make(map[string]string, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		raw := values[name]
		var file string
		if !strings.HasPrefix(string(raw), `"`) || json.Unmarshal(raw, &file) != nil {
			return nil, fmt.Errorf("weight_map: tensor %s: expected a file name, found %s", quote(name), kindOf(raw))
		}
		if err := checkShardName(file); err != nil {
			return nil, fmt.Errorf("weight_map: tensor %s: %w", quote(name), err)
		}
		files[name] = file
	}
	return files, nil
}

// checkShardName accepts the plain name of a safetensors file in the index's own
// directory and nothing that could lead out of it.
func checkShardName(file string) error {
	switch {
	case file == "":
		return errors.New("the file name is empty")
	case strings.ContainsAny(file, "/\\:\x00"):
		return fmt.Errorf("file %s is not a plain name; shards must lie beside the index", quote(file))
	case strings.HasPrefix(file, "."):
		return fmt.Errorf("file %s begins with a dot; shards must lie beside the index", quote(file))
	case !strings.HasSuffix(file, ".safetensors"):
		return fmt.Errorf("file %s is not a .safetensors file", quote(file))
	case len(file) > 255:
		return fmt.Errorf("file %s has a name of more than 255 bytes", quote(file))
	}
	return nil
}
