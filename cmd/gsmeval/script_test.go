package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the program itself a command that scripts and tests can run by its name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gsmeval": main})
}

// moduleRoot is the directory of go.mod; tests run in the directory of their package.
func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestScript runs the scripts of testdata/script. Each starts in an empty directory of its own, in which models/,
// data/ and configs/ are those of the repository.
func TestScript(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	cache := t.TempDir() // of tokenizers that were tried
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		RequireUniqueNames: true,
		ContinueOnError:    true,
		Cmds:               scriptCommands,
		Setup: func(env *testscript.Env) error {
			env.Setenv("ROOT", root)
			env.Setenv("GSMEVAL_CACHE", cache)
			env.Setenv("OMP_NUM_THREADS", "1")
			env.Setenv("HF_HUB_OFFLINE", "1") // a mistyped path must not become a question to the hub
			for _, dir := range []string{"models", "data", "configs"} {
				if err := os.Symlink(filepath.Join(root, dir), filepath.Join(env.WorkDir, dir)); err != nil {
					return err
				}
			}
			return nil
		},
	})
}
