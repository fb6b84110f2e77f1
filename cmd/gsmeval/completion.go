package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gsmeval/gsmeval/internal/condition"
	"github.com/gsmeval/gsmeval/internal/config"
	"github.com/gsmeval/gsmeval/results"
	"github.com/gsmeval/gsmeval/results/export"
	"github.com/gsmeval/gsmeval/scoring"
)

// completer proposes how a word of the command line can go on.
type completer func(word string) ([]string, cobra.ShellCompDirective)

// argCompleters are the completers of arguments, by their name in the usage line. Where a command has several, the
// first word that is known here says what all of them are.
var argCompleters = map[string]completer{
	"CONFIG":     withExt("yaml", "yml"),
	"RUN":        dirsWith(results.RunFile),
	"RUN...":     dirsWith(results.RunFile),
	"[MODEL]":    dirsWith("config.json", ".gguf"),
	"FILE.jsonl": withExt("jsonl"),
}

// flagCompleters are the completers of flags, by command and name, or by name in every command.
var flagCompleters = map[string]completer{
	"set":           setKeys,
	"model":         dirsWith("config.json", ".gguf"),
	"ladder":        oneOf(scoring.LadderNames()...),
	"format":        oneOf(results.Formats()...),
	"export format": oneOf(export.Formats()...),
	"noise-kind":    oneOf(condition.Kinds()...),
	"dtype":         oneOf("float32", "bfloat16", "float16"),
	"device":        oneOf("auto", "cpu", "cuda"),
	"style":         oneOf("auto", "chat", "plain"),
	"split":         oneOf("test", "train"),
	"progress":      oneOf(config.ProgressModes...),
}

// completions sets up the completion of every command's arguments and flags, and explains the commands that print it.
func completions(root *cobra.Command) {
	for _, c := range root.Commands() {
		completes(c)
	}
	root.InitDefaultCompletionCmd("completion")
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Short = "Print the completion of commands, files and config keys for a shell"
		c.Example = "  source <(gsmeval completion bash)"
		for _, shell := range c.Commands() {
			shell.Example = map[string]string{
				"bash":       "  source <(gsmeval completion bash)\n  gsmeval completion bash > ~/.local/share/bash-completion/completions/gsmeval",
				"zsh":        "  source <(gsmeval completion zsh)\n  gsmeval completion zsh > \"${fpath[1]}/_gsmeval\"",
				"fish":       "  gsmeval completion fish | source\n  gsmeval completion fish > ~/.config/fish/completions/gsmeval.fish",
				"powershell": "  gsmeval completion powershell | Out-String | Invoke-Expression",
			}[shell.Name()]
		}
	}
}

// completes sets up a command and those below it.
func completes(c *cobra.Command) {
	for _, sub := range c.Commands() {
		completes(sub)
	}
	for word := range strings.FieldsSeq(c.Use) {
		if f, ok := argCompleters[word]; ok {
			c.ValidArgsFunction = f.args(strings.HasSuffix(word, "..."))
			break
		}
	}
	for name, f := range flagCompleters {
		of, flag, specific := strings.Cut(name, " ")
		if !specific {
			flag = name
			if _, other := flagCompleters[c.Name()+" "+name]; other {
				continue
			}
		}
		if (!specific || of == c.Name()) && c.Flags().Lookup(flag) != nil {
			// It fails only where a flag has one already.
			_ = c.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, word string) ([]string,
				cobra.ShellCompDirective,
			) {
				return f(word)
			})
		}
	}
}

// args completes the first argument, or all of them.
func (f completer) args(all bool) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !all {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f(word)
	}
}

func oneOf[S ~string](values ...S) completer {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	return func(string) ([]string, cobra.ShellCompDirective) { return words, cobra.ShellCompDirectiveNoFileComp }
}

func withExt(exts ...string) completer {
	return func(string) ([]string, cobra.ShellCompDirective) { return exts, cobra.ShellCompDirectiveFilterFileExt }
}

// dirsWith completes directories that hold a file of that name, and files with one of the extensions, and leads into
// the other directories.
func dirsWith(file string, exts ...string) completer {
	return func(word string) ([]string, cobra.ShellCompDirective) {
		dir, base := filepath.Split(word)
		entries, err := os.ReadDir(filepath.Clean(dir))
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var found []string
		directive := cobra.ShellCompDirectiveNoFileComp
		for _, e := range entries {
			path := dir + e.Name()
			info, err := os.Stat(path) // of what a link leads to
			if err == nil && !info.IsDir() && strings.HasPrefix(e.Name(), base) &&
				slices.Contains(exts, filepath.Ext(path)) {
				found = append(found, path)
			}
			if err != nil || !info.IsDir() || !strings.HasPrefix(e.Name(), base) || strings.HasPrefix(e.Name(), ".") &&
				base == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join(path, file)); err != nil {
				path += "/"
				directive |= cobra.ShellCompDirectiveNoSpace
			}
			found = append(found, path)
		}
		return found, directive
	}
}

// setKeys completes the key of a --set value.
func setKeys(word string) ([]string, cobra.ShellCompDirective) {
	if strings.Contains(word, "=") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return slices.Clip(config.Complete(word)), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}
