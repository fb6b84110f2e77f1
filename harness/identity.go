package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"

	"github.com/gsmeval/gsmeval/datasets"
	"github.com/gsmeval/gsmeval/decode"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/internal/torch"
)

// Version is the version of the program.
const Version = "0.1.0"

// identity is everything that may change a sample.
type identity struct {
	hashes   map[string]string // sha256 of weights, config, end tokens, tokenizer, template, data
	versions map[string]string // build, libraries, instruction set
	device   string
	threads  int
}

func identify(ctx context.Context, lm *decode.LM, data *datasets.Set) (*identity, error) {
	id := &identity{
		hashes:   map[string]string{"tokenizer": lm.Tokenizer.SHA256(), "data": data.SHA256},
		versions: map[string]string{"gsmeval": Version, "libtorch": LibtorchVersion, "go": runtime.Version()},
		device:   "cpu",
		threads:  lm.Worker.Threads(),
	}
	if lm.GPU != nil {
		id.device, id.versions["cuda library"] = deviceIdentity(*lm.GPU), lm.GPU.Build
	}
	if lm.Template != nil {
		id.hashes["template"] = lm.Template.SHA256()
	}
	var err error
	if id.hashes["config"], err = jsonSHA(lm.Config.Raw); err != nil {
		return nil, fmt.Errorf("hashing the model's config: %w", err)
	}
	if id.hashes["end_tokens"], err = jsonSHA(lm.Ends.IDs()); err != nil {
		return nil, fmt.Errorf("hashing the end tokens: %w", err)
	}
	if id.hashes["weights"], err = lm.WeightsSHA256(ctx); err != nil {
		return nil, fmt.Errorf("hashing the weights: %w", err)
	}
	if id.versions["cpu"], err = torch.Processor(); err != nil {
		return nil, err
	}
	if id.versions["build"], err = buildSHA(); err != nil {
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
func (id *identity) parts(cfg *config.Config) map[string]string {
	parts := map[string]string{"device": id.device, "threads": strconv.Itoa(id.threads)}
	for k, v := range id.hashes {
		parts["sha256 of "+k] = v
	}
	for k, v := range id.versions {
		parts["version of "+k] = v
	}
	for k, v := range cfg.FingerprintFields() {
		parts[k] = fmt.Sprint(v)
	}
	return parts
}

// fingerprint names a run: equal fingerprints mean equal samples.
func (id *identity) fingerprint(cfg *config.Config) (string, error) {
	canonical, err := json.Marshal(id.parts(cfg)) // keys are sorted
	if err != nil {
		return "", fmt.Errorf("making the fingerprint: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:16]), nil
}
