package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/internal/config"
)

// docFiles are the pages whose commands are tried.
var docFiles = []string{"README.md", "docs/*.md", "models/*/README.md", "data/*/README.md"}

// reasons are why a command of the docs may not be run here; it is still parsed.
var reasons = []string{"gpu", "network", "cluster", "time"}

// docCommand is a command line of a page.
type docCommand struct {
	line   int
	text   string
	notRun string // reason
	code   int    // that it must end with
}

// isCommand finds command lines, with variables before them.
var isCommand = regexp.MustCompile(`^(?:[A-Z_]+=\S+ )*(?:bin/)?gsmeval `)

var marker = regexp.MustCompile(`^<!-- (not-run|fails|run): (.*) -->$`)

// docCommands reads the commands of a page: lines of code blocks that begin with gsmeval, bin/gsmeval or either after
// "$ ", and those in comments that are run without being shown. A marker holds for the next block with commands.
func docCommands(t *testing.T, path string) []docCommand {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	var out []docCommand
	next := docCommand{}
	fenced, used := false, false
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	continued := ""
	for n := 1; scanner.Scan(); n++ {
		line := scanner.Text()
		if m := marker.FindStringSubmatch(line); m != nil && !fenced {
			next, used = docCommand{}, false
			switch m[1] {
			case "run":
				out = append(out, docCommand{line: n, text: m[2]})
			case "not-run":
				if !slices.Contains(reasons, m[2]) {
					t.Errorf("%s:%d: %q is no reason; there are %q", path, n, m[2], reasons)
				}
				next.notRun = m[2]
			case "fails":
				if next.code, err = strconv.Atoi(m[2]); err != nil {
					t.Errorf("%s:%d: %v", path, n, err)
				}
			}
			continue
		}
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			if !fenced && used {
				next, used = docCommand{}, false
			}
			continue
		}
		code, indented := strings.CutPrefix(line, "    ")
		if !fenced && !indented {
			if used && strings.TrimSpace(line) != "" {
				next, used = docCommand{}, false
			}
			continue
		}
		if fenced {
			code = line
		}
		code = strings.TrimPrefix(continued+strings.TrimSpace(code), "$ ")
		continued = ""
		if !isCommand.MatchString(code) {
			continue
		}
		if before, ok := strings.CutSuffix(code, "\\"); ok {
			continued = before
			continue
		}
		code, _, _ = strings.Cut(code, "  #")
		used = true
		c := next
		c.line, c.text = n, strings.Replace(strings.TrimSpace(code), "bin/gsmeval ", "gsmeval ", 1)
		out = append(out, c)
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// The docs speak of real sizes; the test runs them small. What a command sets by itself is cut down here, the rest by
// variables.
var (
	sizes = []struct {
		pattern *regexp.Regexp
		to      string
	}{
		{regexp.MustCompile(`(dataset\.limit=)\d+(.* --extend)`), "${1}3$2"},
		{regexp.MustCompile(`(dataset\.limit=)\d\d+`), "${1}2"},
		{regexp.MustCompile(`(noise_seeds=)\d+(.* --extend)`), "${1}2$2"},
		{regexp.MustCompile(`(calibration\.(?:prompts|draws)=)\d+`), "${1}2"},
		{regexp.MustCompile(`(calibration\.positions=)\d+`), "${1}4"},
		{regexp.MustCompile(`(--positions )\d+`), "${1}4"},
		{regexp.MustCompile(`(--draws )\d+`), "${1}1"},
		{regexp.MustCompile(`(--max-new-tokens )\d+`), "${1}8"},
	}
	smallRuns = []string{
		"GSMEVAL_DATASET__LIMIT=2", "GSMEVAL_NOISE_SEEDS=1", "GSMEVAL_GENERATION__MAX_NEW_TOKENS=8",
		"GSMEVAL_GENERATION__BATCH_SIZE=4",
		"GSMEVAL_CALIBRATION__PROMPTS=2", "GSMEVAL_CALIBRATION__POSITIONS=4", "GSMEVAL_CALIBRATION__DRAWS=2",
		"GSMEVAL_THREADS=1", "OMP_NUM_THREADS=1",
	}
)

// scratch is a directory in which the commands of a page find what the docs speak of.
func scratch(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "path", "to"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"models": "models", "data": "data", "configs": "configs", "path/to/model": "models/gsm-tiny",
		"path/to/gsm8k": "data/gsm-synth",
	} {
		if err := os.Symlink(filepath.Join(root, to), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	text := "model: {path: path/to/model}\ndataset: {path: path/to/gsm8k}\n"
	if err := os.WriteFile(filepath.Join(dir, "my.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDocs runs the commands of the docs, each page from top to bottom in a directory of its own.
func TestDocs(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	for _, pattern := range docFiles {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no pages %s: %v", pattern, err)
		}
		for _, path := range paths {
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			list := docCommands(t, path)
			if len(list) == 0 {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				dir := scratch(t, root)
				for _, c := range list {
					if c.notRun != "" {
						t.Logf("%s:%d is parsed and not run (%s): %s", name, c.line, c.notRun, c.text)
						if err := parses(root, c.text); err != nil {
							t.Errorf("%s:%d: %s: %v", name, c.line, c.text, err)
						}
						continue
					}
					if !tryDoc(t, dir, name, c) {
						return // what follows may need it
					}
				}
			})
		}
	}
}

// tryDoc runs a command of a page.
func tryDoc(t *testing.T, dir, page string, c docCommand) bool {
	t.Helper()
	text := c.text
	for _, s := range sizes {
		text = s.pattern.ReplaceAllString(text, s.to)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", text)
	cmd.Dir = dir
	cmd.Env = slices.Concat(os.Environ(), smallRuns, []string{"GSMEVAL_HOME=" + moduleRoot(t)})
	out, err := cmd.CombinedOutput()
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if code != c.code {
		t.Errorf("%s:%d: %s\nexit code %d, want %d\n%s", page, c.line, text, code, c.code, out)
	}
	return code == c.code
}

var inlineCommand = regexp.MustCompile("`((?:bin/)?gsmeval [^`]+)`")

// TestDocsMention parses the commands in running text: they must exist, with their flags and config keys.
func TestDocsMention(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	n := 0
	for _, pattern := range docFiles {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range inlineCommand.FindAllStringSubmatch(string(text), -1) {
				n++
				if err := parses(root, strings.TrimPrefix(m[1], "bin/")); err != nil && !strings.Contains(m[1], "...") {
					t.Errorf("%s: %s: %v", filepath.Base(path), m[1], err)
				}
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d commands in running text: the pattern finds nothing any more", n)
	}
}

// parses tells whether a command line has a command, flags and config keys that exist. Words may be placeholders, and a
// command that is mentioned may lack arguments, but not have one too many.
func parses(root, text string) error {
	_, command, _ := strings.Cut(text, "gsmeval ") // after the variables before it
	words := docWords("gsmeval " + command)
	if len(words) < 2 {
		return errors.New("there is no command in it")
	}
	program := newRoot(nil, nil)
	c, rest, err := program.Find(words[1:])
	if err != nil {
		return err
	}
	if c == program {
		return fmt.Errorf("there is no command %s", words[1])
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	args := slices.DeleteFunc(slices.Clone(c.Flags().Args()), func(word string) bool { return word == "..." })
	if len(args) > 0 || c.Flags().NFlag() > 0 {
		if err := c.ValidateArgs(args); err != nil && !strings.Contains(err.Error(), "required flag") &&
			!tooFew(c, args) {
			return err
		}
	}
	if f := c.Flags().Lookup("set"); f != nil && f.Changed {
		set, err := c.Flags().GetStringArray("set")
		if err != nil {
			return err
		}
		if err := keysExist(root, args, set); err != nil {
			return err
		}
	}
	return nil
}

// tooFew tells whether a command takes these arguments with more of them.
func tooFew(c *cobra.Command, args []string) bool {
	return c.ValidateArgs(append(slices.Clone(args), "x")) == nil || len(args) == 0
}

// keysExist loads the config that a command names, or one of the least, with its --set values.
func keysExist(root string, args, set []string) error {
	file := filepath.Join(root, "configs", "first_light.yaml")
	if len(args) > 0 {
		if path := filepath.Join(root, args[0]); strings.HasSuffix(path, ".yaml") {
			if _, err := os.Stat(path); err == nil {
				file = path
			}
		}
	}
	_, err := config.Load(file, config.Options{Set: set})
	if err != nil && strings.Contains(err.Error(), "unknown key") {
		return err
	}
	return nil
}

// docWords splits a command line as a shell would where there is nothing but words, quotes and redirections.
func docWords(text string) []string {
	var words []string
	var word strings.Builder
	quote, inWord := rune(0), false
	for _, c := range text + " " {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	for i, w := range words {
		if w == "|" || w == "&&" || strings.HasPrefix(strings.TrimLeft(w, "12"), ">") {
			return words[:i]
		}
	}
	return words
}

// TestDocsConfig checks that docs/config.md has every key of the config, with its default.
func TestDocsConfig(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(moduleRoot(t), "docs", "config.md"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("least.yaml", []byte("model: {path: m}\ndataset: {path: d}\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defaults := cfg.FingerprintFields()
	defaults["progress"], defaults["log_level"] = cfg.Progress, cfg.LogLevel
	n := 0
	var walk func(prefix string)
	walk = func(prefix string) {
		for _, key := range config.Complete(prefix) {
			path, whole := strings.CutSuffix(key, "=")
			if !whole {
				if prefix == "" || strings.HasSuffix(key, ".0.") {
					walk(key)
				}
				if !strings.HasSuffix(key, ".from.") {
					continue
				}
				path = strings.TrimSuffix(key, ".")
			}
			if path == "noise" || path == "temperature" || path == "model.path" || path == "dataset.path" {
				continue
			}
			n++
			path = strings.Replace(path, ".0", ".N", 1)
			row := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(path) +
				"` \\| (.*?) \\|").FindStringSubmatch(string(data))
			if row == nil {
				t.Errorf("docs/config.md has no row of %s", path)
				continue
			}
			want, known := defaults[path]
			if text := fmt.Sprint(want); known && text != "" && !strings.Contains(row[1], "NAME") && path != "name" {
				if got := strings.Trim(row[1], "`"); got != text && got != strconv.Quote(text) {
					t.Errorf("docs/config.md has the default %s for %s, it is %v", row[1], path, want)
				}
			}
		}
	}
	walk("")
	if n < 50 {
		t.Errorf("only %d keys were looked at", n)
	}
}

var (
	makeTarget = regexp.MustCompile("(?m)(?:^    |`)make ([a-z0-9-]+)")
	goTest     = regexp.MustCompile("`go test (\\./[a-z/.]*)(?: -run ([A-Za-z]+))?`")
	linked     = regexp.MustCompile(`\]\(([^)#]+)(?:#([^)]+))?\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// TestDocsPoint checks what the docs point at: make targets, Go tests, files, headings.
func TestDocsPoint(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range append(docFiles, "CHANGELOG.md") {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			page, text := filepath.Base(path), string(data)
			for _, m := range makeTarget.FindAllStringSubmatch(text, -1) {
				if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
					t.Errorf("%s: there is no target make %s", page, m[1])
				}
			}
			for _, m := range goTest.FindAllStringSubmatch(text, -1) {
				if !hasTest(t, root, m[1], m[2]) {
					t.Errorf("%s: go test %s has no test %q", page, m[1], m[2])
				}
			}
			for _, m := range linked.FindAllStringSubmatch(text, -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				to := filepath.Join(filepath.Dir(path), m[1])
				target, err := os.ReadFile(to)
				if info, serr := os.Stat(to); serr != nil || !info.IsDir() && err != nil {
					t.Errorf("%s: there is no %s", page, m[1])
				} else if m[2] != "" && !hasHeading(string(target), m[2]) {
					t.Errorf("%s: %s has no heading #%s", page, m[1], m[2])
				}
			}
		}
	}
}

// hasTest tells whether a package, or one below it for ./..., has a test with that in its name.
func hasTest(t *testing.T, root, pkg, name string) bool {
	t.Helper()
	dir, below := strings.CutSuffix(pkg, "/...")
	pattern := regexp.MustCompile(`func (Test|Fuzz)\w*` + strings.TrimPrefix(name, "Test"))
	found := false
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && !below && path != filepath.Join(root, dir) {
				return filepath.SkipDir
			}
			return err
		}
		if strings.HasSuffix(path, "_test.go") {
			text, err := os.ReadFile(path)
			found = found || pattern.Match(text)
			return err
		}
		return nil
	})
	return err == nil && found
}

func hasHeading(text, anchor string) bool {
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		words := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 127:
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		if words == anchor {
			return true
		}
	}
	return false
}
