package checkpoint

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Stored is a tensor of a file that is written: its bytes in dtype, little-endian, as WriteSafetensors asks for them.
type Stored struct {
	Name  string
	DType string // F32, BF16, F16
	Shape []int
	Size  int // bytes
}

// WriteSafetensors writes a file of tensors, in their order; data gives the bytes of each in turn.
func WriteSafetensors(w io.Writer, tensors []Stored, data func(Stored) ([]byte, error)) error {
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	at := 0
	for _, t := range tensors {
		header[t.Name] = entry{t.DType, t.Shape, [2]int{at, at + t.Size}}
		at += t.Size
	}
	text, err := json.Marshal(header)
	if err != nil {
		return fmt.Errorf("writing the header: %w", err)
	}
	padded := string(text) + strings.Repeat(" ", (8-len(text)%8)%8)
	size := make([]byte, 8)
	for i := range size {
		size[i] = byte(uint64(len(padded)) >> (8 * i))
	}
	if _, err := io.WriteString(w, string(size)+padded); err != nil {
		return err
	}
	for _, t := range tensors {
		b, err := data(t)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if len(b) != t.Size {
			return fmt.Errorf("tensor %q has %d bytes, and its place %d", t.Name, len(b), t.Size)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}
