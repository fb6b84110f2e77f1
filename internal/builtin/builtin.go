// Package builtin finds what travels with the program: the bundled model and data, under names that work in every
// working folder ("builtin:gsm-tiny"), and the configs to start from. In a checkout, in the archive and in the wheel
// they lie in the folder above the program's own.
package builtin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gsmeval/gsmeval/internal/files"
)

// Prefix begins the name of what is bundled.
const Prefix = "builtin:"

// HomeVariable names another folder in which models/, data/ and configs/ are.
const HomeVariable = "GSMEVAL_HOME"

// Kind is what a name may stand for.
type Kind int

// What is bundled.
const (
	Model Kind = iota
	Data
)

// bundled are the names of each kind and their places.
var bundled = map[Kind]struct {
	what, name, place string
}{
	Model: {"model", Prefix + "gsm-tiny", "models/gsm-tiny"},
	Data:  {"data set", Prefix + "gsm-synth", "data/gsm-synth"},
}

// Name is what the bundled model or data set is called in a config.
func Name(kind Kind) string { return bundled[kind].name }

// Path is the folder that a name stands for. A name without the prefix is somebody else's and stays as it is.
func Path(kind Kind, name string) (string, error) {
	if !strings.HasPrefix(name, Prefix) {
		return name, nil
	}
	b := bundled[kind]
	if name != b.name {
		return "", fmt.Errorf("%s is not bundled; the bundled %s is %s", name, b.what, b.name)
	}
	root, err := root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, b.place)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is not beside this program: there is no %s; set %s to the folder that has %s", name,
			path, HomeVariable, b.place)
	}
	return path, nil
}

// root is the folder with models/, data/ and configs/.
func root() (string, error) {
	if dir := os.Getenv(HomeVariable); dir != "" {
		return dir, nil
	}
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return "", fmt.Errorf("finding the program file: %w", err)
	}
	return filepath.Dir(filepath.Dir(exe)), nil
}

// maxConfig bounds a bundled config.
const maxConfig = 1 << 20

// Configs are the configs to start from, by file name, with the bundled model and data by name. Those of the study that
// the project itself made are left out.
func Configs() (map[string][]byte, error) {
	root, err := root()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, "configs")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the bundled configs are not beside this program: there is no %s; set %s to the folder that has configs/", dir, HomeVariable)
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the bundled configs: %w", err)
	}
	configs := map[string][]byte{}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".yaml" || strings.HasPrefix(e.Name(), "study") {
			continue
		}
		text, err := files.Read(filepath.Join(dir, e.Name()), maxConfig)
		if err != nil {
			return nil, fmt.Errorf("reading a bundled config: %w", err)
		}
		configs[e.Name()] = []byte(named.Replace(string(text)))
	}
	if len(configs) == 0 {
		return nil, fmt.Errorf("there are no configs in %s", dir)
	}
	return configs, nil
}

// named puts names for the places that only a checkout has.
var named = strings.NewReplacer("path: "+bundled[Model].place, "path: "+Name(Model), "path: "+bundled[Data].place,
	"path: "+Name(Data))
