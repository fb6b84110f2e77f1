package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gsmeval/gsmeval/internal/files"
)

// Weights is an open checkpoint. Its methods may be called from several goroutines.
type Weights struct {
	shards  []*shard // in name order
	tensors map[string]Tensor
	names   []string

	// Notes say what of a quantised checkpoint's scheme is not done.
	Notes []string
}

// File is one weight file of a checkpoint.
type File struct {
	Path string
	Size int64 // bytes
}

// OpenWeights maps the weights of a model directory read-only: model.safetensors
// if it is there (as transformers prefers it), else the shards that
// model.safetensors.index.json names. Every header is checked in full, and index
// and shards must name exactly the same tensors. No weights are read. Those of a
// quantised checkpoint are packed tensors. A GGUF file stands for a directory.
func OpenWeights(dir string) (*Weights, error) {
	if IsGGUF(dir) {
		return openGGUF(dir)
	}
	single := filepath.Join(dir, singleFile)
	_, err := os.Stat(single)
	if err == nil {
		return openFiles(dir, []string{singleFile}, nil)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening weights: %w", err)
	}
	path := filepath.Join(dir, indexFile)
	data, err := files.Read(path, maxIndexBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noWeights(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("opening weights: %w", err)
	}
	index, err := parseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	shards := slices.Sorted(maps.Values(index))
	return openFiles(dir, slices.Compact(shards), index)
}

// noWeights explains a directory without weights by what it holds instead.
func noWeights(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("opening weights: %w", err)
	}
	hint := "is this a model directory?"
	for _, e := range entries {
		switch name := e.Name(); {
		case name == singleFile:
			return fmt.Errorf("%s is a link to a file that is not there; download the model again", filepath.Join(dir, name))
		case strings.HasSuffix(name, ".safetensors"):
			return fmt.Errorf("%s: neither %s nor %s is there, only %s; rename it, or download the index too", dir,
				singleFile, indexFile, quote(name))
		case strings.HasSuffix(name, ".bin"), strings.HasSuffix(name, ".pth"), strings.HasSuffix(name, ".pt"):
			hint = fmt.Sprintf("%s has a format that is not read; save the model as safetensors", quote(name))
		case strings.HasSuffix(name, ".gguf"):
			hint = fmt.Sprintf("to use %s, name the file itself as the model", quote(filepath.Join(dir, name)))
		}
	}
	return fmt.Errorf("%s: neither %s nor %s is there; %s", dir, singleFile, indexFile, hint)
}

// openFiles opens the named shards. index is nil for a single file.
func openFiles(dir string, files []string, index map[string]string) (*Weights, error) {
	w := &Weights{tensors: map[string]Tensor{}}
	if err := w.open(dir, files, index); err != nil {
		_ = w.Close()
		return nil, err
	}
	if err := w.quantized(dir); err != nil {
		_ = w.Close()
		return nil, err
	}
	w.setNames()
	return w, nil
}

// quantized finds quantised weights, where config.json says that there are any.
func (w *Weights) quantized(dir string) error {
	q, notes, err := readQuantization(dir)
	if err != nil || q == nil {
		return err
	}
	w.Notes = notes
	return w.unpack(q)
}

func (w *Weights) setNames() { w.names = slices.Sorted(maps.Keys(w.tensors)) }

func (w *Weights) open(dir string, files []string, index map[string]string) error {
	for _, file := range files {
		s, entries, err := openShard(filepath.Join(dir, file))
		if err != nil {
			return err
		}
		w.shards = append(w.shards, s)
		for _, e := range entries {
			if home, ok := index[e.name]; index != nil && !ok {
				return fmt.Errorf("%s: tensor %s is not in %s; the files are of different versions, download the model again", s.path, quote(e.name), indexFile)
			} else if index != nil && home != file {
				return fmt.Errorf("%s: tensor %s belongs to %s by %s; the files are of different versions, download the model again", s.path, quote(e.name), home, indexFile)
			}
			begin, end := s.dataStart+e.begin, s.dataStart+e.end
			w.tensors[e.name] = Tensor{
				Name: e.name, DType: e.dtype, Shape: e.shape, Data: s.mapping[begin:end:end],
				shard: s,
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(index)) {
		if _, ok := w.tensors[name]; !ok {
			return fmt.Errorf("%s: tensor %s is missing, though %s places it here; download it again",
				filepath.Join(dir, index[name]), quote(name), indexFile)
		}
	}
	return nil
}

// Tensor returns the tensor of that name, and whether there is one.
func (w *Weights) Tensor(name string) (Tensor, bool) {
	t, ok := w.tensors[name]
	return t, ok
}

// Names returns all tensor names, sorted.
func (w *Weights) Names() []string { return slices.Clone(w.names) }

// Files returns the weight files in name order.
func (w *Weights) Files() []File {
	files := make([]File, len(w.shards))
	for i, s := range w.shards {
		files[i] = File{Path: s.path, Size: s.size}
	}
	return files
}

// SHA256 returns the checkpoint's digest in hex. For a single file it is that
// file's sha256. For shards it is the sha256 of what `sha256sum` prints for them in
// name order, so that `sha256sum *.safetensors | sha256sum` in the model's
// directory gives it too. progress, if not nil, is called with the bytes read so
// far and in all. The files are read as streams, not through the mapping, so a
// read error is an error and not a fault.
func (w *Weights) SHA256(ctx context.Context, progress func(done, total int64)) (string, error) {
	var done, total int64
	for _, s := range w.shards {
		total += s.size
	}
	list := sha256.New()
	var sum string
	for _, s := range w.shards {
		var err error
		sum, err = s.sha256(ctx, func(n int) {
			done += int64(n)
			if progress != nil {
				progress(done, total)
			}
		})
		if err != nil {
			return "", fmt.Errorf("hashing %s: %w", s.path, err)
		}
		_, _ = fmt.Fprintf(list, "%s  %s\n", sum, filepath.Base(s.path))
	}
	if len(w.shards) == 1 {
		return sum, nil
	}
	return hex.EncodeToString(list.Sum(nil)), nil
}

// Close unmaps the files. Every Tensor.Data is invalid afterwards; CopyTo, CopyAt
// and CheckFinite return an error. Closing twice is harmless.
func (w *Weights) Close() error {
	var errs []error
	for _, s := range w.shards {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// shard is one mapped safetensors file.
type shard struct {
	path      string
	size      int64
	dataStart int64
	info      fs.FileInfo

	mu      sync.RWMutex // held for reading while the mapping is read
	file    *os.File     // nil once closed
	mapping []byte
}

// openShard opens, checks and maps one safetensors file.
func openShard(path string) (*shard, []entry, error) {
	f, err := files.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: the file is missing; download it again", path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("opening weights: %w", err)
	}
	s, entries, err := readShard(path, f)
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, entries, nil
}

func readShard(path string, f *os.File) (*shard, []entry, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	size := info.Size()
	if size < lengthBytes {
		return nil, nil, fmt.Errorf("%d bytes are too few for a safetensors file; download it again", size)
	}
	var length [lengthBytes]byte
	if _, err := f.ReadAt(length[:], 0); err != nil {
		return nil, nil, fmt.Errorf("reading its first bytes: %w", err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	switch {
	case n > maxHeaderBytes:
		return nil, nil, fmt.Errorf("header length %d is more than the format's %d; this is not a safetensors file", n,
			maxHeaderBytes)
	case n > uint64(size-lengthBytes):
		return nil, nil,
			fmt.Errorf("header of %d bytes does not fit into the file's %d; it is cut short, download it again", n,
				size)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(f, lengthBytes, int64(n)), header); err != nil {
		return nil, nil, fmt.Errorf("reading its header: %w", err)
	}
	dataStart := lengthBytes + int64(n)
	entries, err := parseHeader(header, size-dataStart)
	if err != nil {
		return nil, nil, err
	}
	mapping, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("mapping it into memory: %w", err)
	}
	return &shard{path: path, size: size, dataStart: dataStart, info: info, file: f, mapping: mapping}, entries, nil
}

// use runs f, which reads the mapping, if the file is still what was opened.
func (s *shard) use(f func()) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.file == nil {
		return fmt.Errorf("%s: the checkpoint is closed", s.path)
	}
	if err := s.unchanged(); err != nil {
		return err
	}
	if err := guarded(f); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	return nil
}

// unchanged checks that nobody wrote to the file since it was opened: a shorter
// one would fault, a rewritten one would silently mix two models.
func (s *shard) unchanged() error {
	now, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("checking %s: %w", s.path, err)
	}
	if now.Size() != s.size || !now.ModTime().Equal(s.info.ModTime()) {
		return fmt.Errorf("%s: the file was changed while it was in use (%d bytes then, %d now)", s.path, s.size,
			now.Size())
	}
	return nil
}

func (s *shard) sha256(ctx context.Context, add func(n int)) (string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.file == nil {
		return "", errors.New("the checkpoint is closed")
	}
	h := sha256.New()
	r := io.NewSectionReader(s.file, 0, s.size)
	buf := make([]byte, 1<<20)
	var read int64
	for read < s.size {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		read += int64(n)
		add(n)
		if err != nil && read < s.size {
			return "", fmt.Errorf("after %d of %d bytes: %w", read, s.size, err)
		}
	}
	if err := s.unchanged(); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (s *shard) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := errors.Join(unix.Munmap(s.mapping), s.file.Close())
	s.file, s.mapping = nil, nil
	if err != nil {
		return fmt.Errorf("closing %s: %w", s.path, err)
	}
	return nil
}
