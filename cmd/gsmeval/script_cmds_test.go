package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gsmeval/gsmeval/datasets"
)

// scriptCommands are what scripts have beside the commands of testscript.
var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"code":      scriptCode,
	"fails":     scriptFails,
	"json":      scriptJSON,
	"jsonset":   scriptJSONSet,
	"linecount": scriptLineCount,
	"truncate":  scriptTruncate,
	"copymodel": scriptCopyModel,
	"parquet":   scriptParquet,
	"golds":     scriptGolds,
	"samevalue": scriptSameValue,
	"allends":   scriptAllEnds,
	"firsts":    scriptFirsts,

	"hassamples": scriptHasSamples,
	"refuses":    scriptRefuses,
}

// run runs a command and returns its exit code.
func runCommandLine(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// hassamples FILE: waits until a journal has a line.
func scriptHasSamples(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hassamples FILE")
	}
	path := ts.MkAbs(args[0])
	for begin := time.Now(); time.Since(begin) < 2*time.Minute; time.Sleep(10 * time.Millisecond) {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return
		}
	}
	ts.Fatalf("%s has no samples after two minutes", args[0])
}

// what names a run in a line of its journal: its fingerprint, and the line's checksum that follows from it.
var namesRun = regexp.MustCompile(`"run":"[0-9a-f]*",|,"crc":"[0-9a-f]*"`)

// firsts JOURNAL FILE: writes the lines of the first samples of all questions, without what names the run.
func scriptFirsts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: firsts JOURNAL FILE")
	}
	var out strings.Builder
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if !strings.Contains(line, `"sample":`) {
			out.WriteString(namesRun.ReplaceAllString(line, ""))
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(out.String()), 0o600))
}

// code CODE COMMAND ARG...: the command ends with that exit code.
func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code CODE COMMAND ARG...")
	}
	if got := strconv.Itoa(runCommandLine(ts, args[1:])); got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// fails CODE COMMAND ARG...: the command ends with that exit code, one line on stderr and nothing on stdout.
func scriptFails(ts *testscript.TestScript, neg bool, args []string) {
	scriptCode(ts, neg, args)
	stderr := ts.ReadFile("stderr")
	if strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "gsmeval: ") || !strings.HasSuffix(stderr, "\n") {
		ts.Fatalf("stderr is not one line of gsmeval:\n%s", stderr)
	}
	if stdout := ts.ReadFile("stdout"); stdout != "" {
		ts.Fatalf("stdout is not empty:\n%s", stdout)
	}
}

// refuses PATH COMMAND ARG...: the command ends soon, with exit code 1 or 2 and one line that names PATH, where PATH is
// a pipe, a device or a directory; what stood at PATH stands there again afterwards.
func scriptRefuses(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: refuses PATH COMMAND ARG...")
	}
	path := ts.MkAbs(args[0])
	aside := path + ".aside"
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	if os.Rename(path, aside) == nil {
		defer os.Rename(aside, path) //nolint:errcheck // where it fails, so does what follows in the script
	}
	defer os.Remove(path) //nolint:errcheck // nothing there is as good
	for _, special := range []struct {
		kind  string
		place func() error
	}{
		{"pipe", func() error { return syscall.Mkfifo(path, 0o600) }},
		{"device", func() error { return os.Symlink("/dev/zero", path) }},
		{"directory", func() error { return os.Mkdir(path, 0o755) }},
	} {
		ts.Check(special.place())
		begin := time.Now()
		code := runCommandLine(ts, append([]string{"timeout", "--kill-after=1", "60"}, args[1:]...))
		if code != 1 && code != 2 {
			ts.Fatalf("%s is a %s: exit code %d after %v", args[0], special.kind, code, time.Since(begin))
		}
		says := filepath.Base(path) + ": it is a " + special.kind
		if stderr := ts.ReadFile("stderr"); strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, says) {
			ts.Fatalf("%s is a %s: stderr is not one line that says so:\n%s", args[0], special.kind, stderr)
		}
		ts.Check(os.Remove(path))
	}
}

// json FILE PATH CHECK...: a value of a JSON file, of which PATH names the keys and indices (pairs.0.noise; . for all).
//
//	keys A B...   it is an object of exactly these keys
//	type T        it is a string, number, bool, null, object or array
//	all T         it is a list that is not empty, of values of this type
//	len N         it is a list of that length
//	is VALUE      it is that JSON value
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: json FILE PATH keys|type|all|len|is ARG...")
	}
	if problem := checkJSON(valueAt(ts, args[0], args[1]), args[2], args[3:]); problem != "" {
		ts.Fatalf("%s at %s: %s", args[0], args[1], problem)
	}
}

// valueAt is the value at a path of a JSON file.
func valueAt(ts *testscript.TestScript, file, path string) any {
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile(file)), &v); err != nil {
		ts.Fatalf("%s is not JSON: %v", file, err)
	}
	v, err := lookUp(v, path)
	if err != nil {
		ts.Fatalf("%s: %v", file, err)
	}
	return v
}

// samevalue FILE PATH FILE PATH: two values of JSON files are equal.
func scriptSameValue(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: [!] samevalue FILE PATH FILE PATH")
	}
	a, b := valueAt(ts, args[0], args[1]), valueAt(ts, args[2], args[3])
	if reflect.DeepEqual(a, b) == neg {
		ts.Fatalf("%v and %v", a, b)
	}
}

func lookUp(v any, path string) (any, error) {
	if path == "." {
		return v, nil
	}
	for key := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[key]
			if !ok {
				return nil, fmt.Errorf("no key %q of %s", key, path)
			}
			v = next
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(in) {
				return nil, fmt.Errorf("no index %q of %s in a list of %d", key, path, len(in))
			}
			v = in[i]
		default:
			return nil, fmt.Errorf("%q of %s lies in a %s", key, path, jsonType(v))
		}
	}
	return v, nil
}

func jsonType(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "bool"
	case map[string]any:
		return "object"
	case []any:
		return "array"
	default:
		return "null"
	}
}

// checkJSON returns what is wrong with a value, or nothing.
func checkJSON(v any, check string, args []string) string {
	switch check {
	case "keys":
		object, ok := v.(map[string]any)
		if !ok {
			return "a " + jsonType(v) + ", want an object"
		}
		var keys []string
		for k := range object {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		slices.Sort(args)
		if !slices.Equal(keys, args) {
			return fmt.Sprintf("keys %v, want %v", keys, args)
		}
	case "type":
		if got := jsonType(v); got != args[0] {
			return "a " + got + ", want " + args[0]
		}
	case "all":
		list, ok := v.([]any)
		if !ok || len(list) == 0 {
			return fmt.Sprintf("%v, want a list that is not empty", v)
		}
		for i, item := range list {
			if got := jsonType(item); got != args[0] {
				return fmt.Sprintf("item %d is a %s, want %s", i, got, args[0])
			}
		}
	case "len":
		list, ok := v.([]any)
		if !ok || strconv.Itoa(len(list)) != args[0] {
			return fmt.Sprintf("%v, want a list of %s", v, args[0])
		}
	case "is":
		var want any
		if err := json.Unmarshal([]byte(args[0]), &want); err != nil {
			return fmt.Sprintf("the wanted value %s is not JSON: %v", args[0], err)
		}
		if !reflect.DeepEqual(v, want) {
			return fmt.Sprintf("%v, want %v", v, want)
		}
	default:
		return "no such check: " + check
	}
	return ""
}

// jsonset FILE KEY [VALUE]: set a key at the top of a JSON file, or remove it.
func scriptJSONSet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: jsonset FILE KEY [VALUE]")
	}
	object := map[string]json.RawMessage{}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &object))
	delete(object, args[1])
	if len(args) == 3 {
		object[args[1]] = json.RawMessage(args[2])
	}
	data, err := json.Marshal(object)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

// allends DIR: make every token of a copied model an end token.
func scriptAllEnds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: allends DIR")
	}
	vocab, ok := valueAt(ts, filepath.Join(args[0], "config.json"), "vocab_size").(float64)
	if !ok {
		ts.Fatalf("vocab_size is not a number")
	}
	var ids []string
	for id := range int(vocab) {
		ids = append(ids, strconv.Itoa(id))
	}
	scriptJSONSet(ts, false, []string{filepath.Join(args[0], "generation_config.json"), "eos_token_id", "[" +
		strings.Join(ids, ",") + "]"})
}

// linecount FILE N: the file has N lines.
func scriptLineCount(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: linecount FILE N")
	}
	if got := strconv.Itoa(strings.Count(ts.ReadFile(args[0]), "\n")); got != args[1] {
		ts.Fatalf("%s has %s lines, want %s", args[0], got, args[1])
	}
}

// truncate FILE N: cut the file after N bytes, or with a negative N that many off its end.
func scriptTruncate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: truncate FILE N")
	}
	path := ts.MkAbs(args[0])
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	if n < 0 {
		info, err := os.Stat(path)
		ts.Check(err)
		n += info.Size()
	}
	ts.Check(os.Truncate(path, n))
}

// copymodel DIR [MISSING...]: a copy of the bundled model without some of its files.
func scriptCopyModel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: copymodel DIR [MISSING...]")
	}
	from, to := filepath.Join(ts.Getenv("ROOT"), "models", "gsm-tiny"), ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(to, 0o755))
	for _, name := range []string{
		"config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
		"tokenizer_config.json",
	} {
		if slices.Contains(args[1:], name) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(from, name))
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(to, name), data, 0o600))
	}
}

// parquet FILE COLUMN...: a parquet file of two rows of text in these columns.
func scriptParquet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: parquet FILE COLUMN...")
	}
	group := parquet.Group{}
	for _, column := range args[1:] {
		group[column] = parquet.String()
	}
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[map[string]string](&buf, parquet.NewSchema("rows", group))
	for i := range 2 {
		row := map[string]string{}
		for _, column := range args[1:] {
			row[column] = fmt.Sprintf("%s %d #### %d", column, i, i)
		}
		_, err := w.Write([]map[string]string{row})
		ts.Check(err)
	}
	ts.Check(w.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), buf.Bytes(), 0o600))
}

// golds FILE SPLIT: every worked solution of the bundled data set as a text to score, with a key of its own.
func scriptGolds(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: golds FILE SPLIT")
	}
	set, err := datasets.Load(context.Background(), datasets.Spec{Path: filepath.Join(ts.Getenv("ROOT"), "data",
		"gsm-synth"), Split: args[1]})
	ts.Check(err)
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	for _, e := range set.Examples {
		ts.Check(enc.Encode(map[string]any{"id": e.ID, "text": e.Answer, "source": "gold"}))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), buf.Bytes(), 0o600))
}
