package session

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/torch"
)

// Version is the version of the program.
const Version = "0.2.0"

// Identity is everything that may change a sample.
type Identity struct {
	Hashes   map[string]string // sha256 of weights, config, end tokens, tokenizer, template, data
	Versions map[string]string // build, libraries, instruction set
	Device   string
	Threads  int
}

func identify(ctx context.Context, lm *decode.LM, data *datasets.Set) (*Identity, error) {
	id := &Identity{
		Hashes:   map[string]string{"tokenizer": lm.Tokenizer.SHA256(), "data": data.SHA256},
		Versions: map[string]string{"gsmeval": Version, "libtorch": LibtorchVersion, "go": runtime.Version()},
		Device:   "cpu",
		Threads:  lm.Worker.Threads(),
	}
	if lm.GPU != nil {
		id.Device, id.Versions["cuda library"] = deviceIdentity(*lm.GPU), lm.GPU.Build
	}
	if lm.Template != nil {
		id.Hashes["template"] = lm.Template.SHA256()
	}
	var err error
	if id.Hashes["config"], err = jsonSHA(lm.Config.Raw); err != nil {
		return nil, fmt.Errorf("hashing the model's config: %w", err)
	}
	if id.Hashes["end_tokens"], err = jsonSHA(lm.Ends.IDs()); err != nil {
		return nil, fmt.Errorf("hashing the end tokens: %w", err)
	}
	if id.Hashes["weights"], err = lm.WeightsSHA256(ctx); err != nil {
		return nil, fmt.Errorf("hashing the weights: %w", err)
	}
	if id.Versions["cpu"], err = torch.Processor(); err != nil {
		return nil, err
	}
	if id.Versions["build"], err = buildSHA(); err != nil {
		return nil, err
	}
	return id, nil
}

// jsonSHA hashes a value as JSON, in which the keys of maps are sorted.
func jsonSHA(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// LibtorchVersion is the libtorch that gsmeval is built and tested with.
const LibtorchVersion = torch.Version

// buildSHA is a hash of the program file: another build may compute other bits.
func buildSHA() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding the program file: %w", err)
	}
	f, err := os.Open(exe) //nolint:forbidigo // the program itself
	if err != nil {
		return "", fmt.Errorf("hashing the program file: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hashing the program file: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// parts are the fingerprint's ingredients by name, for a message that says which of them differ.
func (id *Identity) parts(cfg *config.Config) map[string]string {
	parts := map[string]string{"device": id.Device, "threads": strconv.Itoa(id.Threads)}
	for k, v := range id.Hashes {
		parts["sha256 of "+k] = v
	}
	for k, v := range id.Versions {
		parts["version of "+k] = v
	}
	for k, v := range cfg.FingerprintFields() {
		parts[k] = fmt.Sprint(v)
	}
	return parts
}

// Fingerprint names a run: equal fingerprints mean equal samples.
func (id *Identity) Fingerprint(cfg *config.Config) (string, error) {
	canonical, err := json.Marshal(id.parts(cfg)) // keys are sorted
	if err != nil {
		return "", fmt.Errorf("making the fingerprint: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:16]), nil
}

// Differences lists the keys that two descriptions do not agree on.
func Differences(was, is map[string]string) []string {
	var what []string
	none := func(v string) string { return cmp.Or(v, "none") }
	all := maps.Clone(is)
	maps.Copy(all, was)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if was[k] != is[k] {
			what = append(what, fmt.Sprintf("%s: %s != %s", k, none(was[k]), none(is[k])))
		}
	}
	return what
}
