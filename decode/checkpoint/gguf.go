package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gsmeval/gsmeval/decode/checkpoint/gguf"
	"github.com/gsmeval/gsmeval/decode/checkpoint/half"
	"github.com/gsmeval/gsmeval/internal/files"
)

// A GGUF file stands for a model directory: what would be in config.json, tokenizer.json and their like is made from
// its metadata (gguf_config.go, gguf_tokenizer.go) and then read as those files are, and its tensors have Hugging
// Face's names, order of rows and values.

// IsGGUF tells whether a model is a GGUF file and not a directory of Hugging Face files.
func IsGGUF(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && strings.EqualFold(filepath.Ext(path), ".gguf")
}

// CheckModel refuses what is neither a directory nor a GGUF file.
func CheckModel(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.IsDir() && !IsGGUF(path):
		return fmt.Errorf("%s is neither a directory of Hugging Face files nor a .gguf file", path)
	}
	return nil
}

// ggufModel is an open GGUF file of an architecture that is known.
type ggufModel struct {
	path string
	*gguf.File
	arch  ggufArch
	shard *shard // nil where only the header was read
}

// readGGUF reads the header of a file and nothing else.
func readGGUF(path string) (*ggufModel, error) {
	f, err := files.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the model: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening the model: %w", err)
	}
	return parseGGUF(path, f, info.Size())
}

func parseGGUF(path string, r io.ReaderAt, size int64) (*ggufModel, error) {
	file, err := gguf.Read(io.NewSectionReader(r, 0, size), size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m := &ggufModel{path: path, File: file}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// check looks at what must be known before anything of the file is used.
func (m *ggufModel) check() error {
	name, err := m.Meta.Text("general.architecture")
	if err != nil {
		return err
	}
	known := false
	if m.arch, known = ggufArchs[name]; !known {
		return fmt.Errorf("general.architecture: %s is not supported; supported are %s", quote(name), ggufArchNames())
	}
	parts, _, err := m.Meta.Int("split.count")
	if err != nil {
		return err
	}
	experts, _, err := m.Meta.Int(name + ".expert_count")
	switch {
	case err != nil:
		return err
	case parts > 1:
		return fmt.Errorf("split.count: the file is one of %d parts; join them with llama-gguf-split --merge", parts)
	case experts > 0:
		return fmt.Errorf("%s.expert_count: mixtures of experts (%d here) are not supported", name, experts)
	}
	return nil
}

// openGGUF opens the weights of a GGUF file.
func openGGUF(path string) (*Weights, error) {
	f, err := files.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening weights: %w", err)
	}
	w, err := mapGGUF(path, f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return w, nil
}

func mapGGUF(path string, f *os.File) (*Weights, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening weights: %w", err)
	}
	m, err := parseGGUF(path, f, info.Size())
	if err != nil {
		return nil, err
	}
	mapping, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("mapping %s into memory: %w", path, err)
	}
	m.shard = &shard{path: path, size: info.Size(), dataStart: m.DataStart, info: info, file: f, mapping: mapping}
	w := &Weights{shards: []*shard{m.shard}, tensors: map[string]Tensor{}}
	for _, t := range m.Tensors {
		if slices.Contains(m.arch.factors[:], t.Name) {
			continue // the config has them
		}
		tensor, err := m.tensor(t)
		if err != nil {
			_ = unix.Munmap(mapping)
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		w.tensors[tensor.Name] = tensor
	}
	w.setNames()
	return w, nil
}

// ggufArch is what of an architecture its files spell in another way than Hugging Face's.
type ggufArch struct {
	modelType string
	renames   map[string]string // names that this architecture spells in its own way, before ggufNames
	permuted  bool              // rows of q and k stand in the order of llama.cpp's rotary embedding
	normLess  float32           // is taken off the weights of norms
	factors   [2]string         // tensors with factors of the rotary embedding: within the original context, and beyond
	sentence  sentenceKind      // how a tokenizer of kind llama treats spaces
}

// ggufArchs are the architectures of llama.cpp that are read, by general.architecture. Mistral is llama there.
var ggufArchs = map[string]ggufArch{
	"llama": {modelType: "llama", permuted: true, factors: [2]string{"rope_freqs.weight", ""}},
	"qwen2": {modelType: "qwen2"},
	"qwen3": {modelType: "qwen3"},
	"phi3": {
		modelType: "phi3", renames: map[string]string{"ffn_up": "mlp.gate_up_proj"}, sentence: sentencePhi3,
		factors: [2]string{"rope_factors_short.weight", "rope_factors_long.weight"},
	},
	"gemma2": {
		modelType: "gemma2", normLess: 1, renames: map[string]string{"ffn_norm": "pre_feedforward_layernorm"},
		sentence: sentenceGemma,
	},
}

func ggufArchNames() string {
	names := make([]string, 0, len(ggufArchs))
	for n := range ggufArchs {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// ggufNames are Hugging Face's names of a layer's parts.
var ggufNames = map[string]string{
	"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
	"post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
	"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
	"attn_output": "self_attn.o_proj",
	"attn_qkv":    "self_attn.qkv_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
	"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}

var ggufOutside = map[string]string{
	"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
	"output.weight": "lm_head.weight",
}

var ggufLayer = regexp.MustCompile(`^blk\.(0|[1-9]\d{0,3})\.([a-z_]+)\.(weight|bias)$`)

// name is a tensor's name in a Hugging Face checkpoint; one that has none keeps its own, and the model refuses it by
// that. part is the layer's part, "" outside of layers.
func (a ggufArch) name(own string) (name, part string) {
	if n, ok := ggufOutside[own]; ok {
		return n, ""
	}
	m := ggufLayer.FindStringSubmatch(own)
	if m == nil {
		return own, ""
	}
	n, ok := a.renames[m[2]]
	if !ok {
		n, ok = ggufNames[m[2]]
	}
	if !ok {
		return own, ""
	}
	return "model.layers." + m[1] + "." + n + "." + m[3], m[2]
}

// ggufPlain are the types whose elements are stored as a checkpoint's are.
var ggufPlain = map[string]DType{"F32": F32, "F16": F16, "BF16": BF16}

// tensor is a tensor of the file as Hugging Face has it.
func (m *ggufModel) tensor(t gguf.Tensor) (Tensor, error) {
	begin, end := m.DataStart+t.Begin, m.DataStart+t.End
	name, part := m.arch.name(t.Name)
	stored := Tensor{
		Name: name, DType: ggufPlain[t.Type.Name], Shape: t.Shape, Data: m.shard.mapping[begin:end:end],
		shard: m.shard,
	}
	rows := ggufRows{source: stored, kind: t.Type, columns: t.Shape[len(t.Shape)-1]}
	if m.arch.permuted && (part == "attn_q" || part == "attn_k") {
		key := "llama.attention.head_count"
		if part == "attn_k" && m.Meta.Has(key+"_kv") {
			key += "_kv"
		}
		heads, _, err := m.Meta.Int(key)
		if err != nil {
			return Tensor{}, err
		}
		if heads == 0 || t.Shape[0]%(2*heads) != 0 {
			return Tensor{}, fmt.Errorf("tensor %s: %d rows are not those of %d heads (%s)", quote(t.Name), t.Shape[0],
				heads, key)
		}
		if len(t.Shape) == 1 {
			rows.columns = 1
		}
		if rows.columns%t.Type.Elements != 0 {
			return Tensor{}, fmt.Errorf("tensor %s: a bias of q or k is not expected in blocks (%s)", quote(t.Name),
				t.Type.Name)
		}
		rows.head = t.Shape[0] / heads
	}
	if strings.HasSuffix(t.Name, "norm.weight") {
		rows.less = m.arch.normLess
	}
	if stored.DType != "" && rows.head == 0 && rows.less == 0 {
		return stored, nil
	}
	return Tensor{Name: name, DType: F32, Shape: t.Shape, shard: m.shard, packed: &rows}, nil
}

// ggufRows decodes a tensor's blocks.
type ggufRows struct {
	source  Tensor
	kind    gguf.Type
	columns int     // of a row
	head    int     // rows of a head whose halves llama.cpp has interleaved; 0: rows stand as they are
	less    float32 // taken off every element
}

func (g *ggufRows) format() string  { return g.kind.Name }
func (g *ggufRows) parts() []Tensor { return []Tensor{g.source} }
func (g *ggufRows) unit() int       { return g.kind.Elements }

func (g *ggufRows) decode(dst []byte, first int) {
	for rest := dst; len(rest) > 0; {
		n, from := len(rest)/4, first
		if g.head != 0 { // a row, or what is wanted of it
			row, column := first/g.columns, first%g.columns
			n, from = min(n, g.columns-column), g.row(row)*g.columns+column
		}
		g.kind.Decode(rest[:4*n], g.source.Data[from/g.kind.Elements*g.kind.Bytes:])
		rest, first = rest[4*n:], first+n
	}
	if g.less != 0 {
		for i := 0; i < len(dst); i += 4 {
			half.PutFloat32(dst[i:], half.Float32(dst[i:])-g.less)
		}
	}
}

// row is where llama.cpp keeps a row of q or k: row i of the first half of a head and row i of the second lie side by
// side, since it rotates neighbours, and not halves as Hugging Face does.
func (g *ggufRows) row(r int) int {
	head, in, half := r/g.head, r%g.head, g.head/2
	return head*g.head + in%half*2 + in/half
}

// factors are the factors of the rotary embedding in a tensor of the file, nil where there is no such tensor.
func (m *ggufModel) factors(name string) ([]float64, error) {
	i := slices.IndexFunc(m.Tensors, func(t gguf.Tensor) bool { return name != "" && t.Name == name })
	if i < 0 {
		return nil, nil
	}
	t := m.Tensors[i]
	if len(t.Shape) != 1 || t.Type.Name != "F32" || t.Shape[0] > maxHeadDim {
		return nil, fmt.Errorf("tensor %s: expected a list of at most %d F32, found %s of shape %v", quote(name),
			maxHeadDim, t.Type.Name, t.Shape)
	}
	f, err := files.Open(m.path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	data := make([]byte, t.End-t.Begin)
	if _, err := f.ReadAt(data, m.DataStart+t.Begin); err != nil {
		return nil, fmt.Errorf("tensor %s: %w", quote(name), err)
	}
	list := make([]float64, t.Shape[0])
	for i := range list {
		list[i] = float64(half.Float32(data[4*i:]))
	}
	return list, nil
}

// readFile reads a file of a model directory, or what stands for it in a GGUF file. One that is not there is
// fs.ErrNotExist.
func readFile(model, name string, most int64) ([]byte, error) {
	if !IsGGUF(model) {
		return files.Read(filepath.Join(model, name), most)
	}
	m, err := readGGUF(model)
	if err != nil {
		return nil, err
	}
	data, err := m.file(name, most)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", model, err)
	}
	return data, err
}

// ReadFile reads one of the small text files of a model, a directory or a GGUF file. One that is not there is
// fs.ErrNotExist.
func ReadFile(model, name string, most int64) ([]byte, error) { return readFile(model, name, most) }

// PathOf names a file of a model for a message.
func PathOf(model, name string) string {
	if IsGGUF(model) {
		return model + " (" + name + " of its metadata)"
	}
	return filepath.Join(model, name)
}

// file makes what would be in a file of a model directory.
func (m *ggufModel) file(name string, most int64) ([]byte, error) {
	switch beside := m.beside(); {
	case name == configFile:
		return m.config()
	case name == generationFile:
		return m.generation()
	case beside == "" && name == tokenizerConfigFile:
		return m.tokenizerConfig()
	case beside == "" && name == tokenizerFile:
		return m.tokenizer()
	case beside == "":
		return nil, fs.ErrNotExist
	case name == tokenizerConfigFile:
		data, err := files.Read(filepath.Join(beside, name), most)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return m.withTemplate(beside, data)
	default:
		return files.Read(filepath.Join(beside, name), most)
	}
}

// beside is the directory whose tokenizer is used instead of the file's own: one named as the file without .gguf, or
// the file's own directory where the metadata have no tokenizer that can be read. "" is the metadata.
func (m *ggufModel) beside() string {
	has := func(dir string) bool {
		info, err := os.Stat(filepath.Join(dir, tokenizerFile))
		return err == nil && !info.IsDir()
	}
	if dir := strings.TrimSuffix(m.path, filepath.Ext(m.path)); has(dir) {
		return dir
	}
	if dir := filepath.Dir(m.path); m.noTokenizer() != nil && has(dir) {
		return dir
	}
	return ""
}
