package config

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"github.com/gsmeval/gsmeval/internal/device"
	"github.com/gsmeval/gsmeval/internal/files"
)

// maxFileBytes bounds a config file; the longest have a list of a few thousand ids.
const maxFileBytes = 1 << 20

// Options are the layers above the file.
type Options struct {
	Set []string // "key=value", later ones win
	Env []string // "NAME=value", as os.Environ gives them; nil for none
}

// Load reads a config file, lays the environment and --set over it, fills in the
// defaults and checks everything. The error lists every problem, one a line, each
// with the place (file and line, variable or --set), the key and what was expected.
func Load(path string, o Options) (*Config, error) {
	data, err := files.Read(path, maxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("reading a config in YAML: %w", err)
	}
	return Parse(path, data, o)
}

// Parse is Load for a config that is already in memory, such as the one stored
// with a run; path stands in its errors and gives its name where it has none.
func Parse(path string, data []byte, o Options) (*Config, error) {
	s := &source{file: path, places: map[string]string{}}
	// The file's own nodes come first, because viper forgets case, duplicates and
	// lines; then viper layers the values and fills the structure.
	s.checkFile(data)
	if err := s.err(); err != nil {
		return nil, err
	}
	v, err := newViper()
	if err != nil {
		return nil, err
	}
	if err := v.ReadConfig(bytes.NewReader(data)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	tree := v.AllSettings()
	s.applyEnv(tree, o.Env)
	s.applySet(tree, o.Set)
	if err := s.err(); err != nil {
		return nil, err
	}
	c, err := fill(tree)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if c.Name == "" {
		base := filepath.Base(path)
		c.Name = strings.TrimSuffix(strings.TrimSuffix(base, ".yaml"), ".yml")
	}
	if c.Output == "" {
		c.Output = "runs/" + c.Name
	}
	s.validate(c)
	if err := s.err(); err != nil {
		return nil, err
	}
	c.normalise()
	if len(c.Devices) > 0 && c.Model.Device == "auto" {
		c.Model.Device = string(c.Devices[0])
	}
	return c, nil
}

// newViper returns a viper that holds the defaults. The delimiter is one that no
// key contains, so that a dot in a key stays a dot.
func newViper() (*viper.Viper, error) {
	v := viper.NewWithOptions(viper.KeyDelimiter("::"))
	v.SetConfigType("yaml")
	text, err := yaml.Marshal(defaults())
	if err != nil {
		return nil, fmt.Errorf("writing the default config: %w", err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("reading the default config: %w", err)
	}
	for key, value := range tree {
		v.SetDefault(key, value)
	}
	return v, nil
}

// fill decodes the merged values into the structure, refusing what does not fit.
func fill(tree map[string]any) (*Config, error) {
	v, err := newViper()
	if err != nil {
		return nil, err
	}
	if err := v.MergeConfigMap(tree); err != nil {
		return nil, fmt.Errorf("merging values: %w", err)
	}
	var c Config
	err = v.UnmarshalExact(&c, func(dc *mapstructure.DecoderConfig) {
		dc.TagName = "yaml"
		dc.WeaklyTypedInput = false
		dc.DecodeHook = mapstructure.ComposeDecodeHookFunc(twoTypes, choices)
	})
	if err != nil {
		return nil, fmt.Errorf("filling the config: %w", err)
	}
	return &c, nil
}

// twoTypes is the one place where a key has two types: its own, and the one that YAML takes it for.
func twoTypes(from, to reflect.Type, data any) (any, error) {
	if to == reflect.TypeFor[BatchSize]() && from.Kind() == reflect.String && data == "auto" {
		return int(BatchAuto), nil
	}
	if n, whole := data.(int); whole && to == reflect.TypeFor[Device]() {
		return device.Name(n), nil
	}
	if day, ok := data.(time.Time); ok && to == reflect.TypeFor[Date]() {
		return day.Format(time.DateOnly), nil
	}
	return data, nil
}

// source collects what is wrong, and where each value came from.
type source struct {
	file     string
	places   map[string]string // key path to "FILE:LINE", "GSMEVAL_X" or "--set"
	problems []error
}

// fail records a problem of a key at a place.
func (s *source) fail(place, path, format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	if path != "" {
		msg = path + ": " + msg
	}
	s.problems = append(s.problems, fmt.Errorf("%s: %s", place, msg))
}

// place finds where a key's value came from: its own place or that of the nearest
// section or list around it.
func (s *source) place(path string) string {
	for p := path; p != ""; {
		if place, ok := s.places[p]; ok {
			return place
		}
		cut := strings.LastIndexAny(p, ".[")
		if cut < 0 {
			break
		}
		p = p[:cut]
	}
	return s.file
}

func (s *source) err() error {
	const most = 20
	if n := len(s.problems); n > most {
		rest := fmt.Errorf("%s: %d more problems", s.file, n-most)
		return errors.Join(append(s.problems[:most:most], rest)...)
	}
	return errors.Join(s.problems...)
}
