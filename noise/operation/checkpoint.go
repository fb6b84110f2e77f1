package operation

import "github.com/gsmeval/gsmeval/internal/keys"

// Checkpoint puts another checkpoint's weights in place of the model's: a quantised, pruned or fine-tuned one of the
// same architecture and tokenizer. Package noise reads them.
type Checkpoint struct {
	Path string `yaml:"path"` // a directory or a GGUF file
}

// Check reports parameters that are out of range.
func (c *Checkpoint) Check(r keys.Report, _ Place) {
	if c.Path == "" {
		r.Bad("path", "the key is missing; expected a directory with a checkpoint or a GGUF file")
	}
}

// Label is "checkpoint models/gsm-tiny-int4".
func (c *Checkpoint) Label() string { return "checkpoint " + c.Path }

// Random is false.
func (*Checkpoint) Random() bool { return false }
