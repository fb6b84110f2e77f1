// Command rpath puts another search path for libraries into an ELF program, in place and no longer than the old one:
//
//	go run ./scripts/rpath FILE PATH
//
// A program that is built here finds libtorch in the cache of this machine; one that is given away looks beside itself.
package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: rpath FILE PATH")
		os.Exit(2)
	}
	if err := set(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "rpath:", err)
		os.Exit(1)
	}
}

func set(file, path string) error {
	old, offset, err := find(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if len(path) > len(old) {
		return fmt.Errorf("%s: %q is longer than the path that is there, %q", file, path, old)
	}
	return write(file, append([]byte(path), make([]byte, len(old)-len(path))...), offset)
}

func write(file string, data []byte, offset int64) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, offset)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// find returns the search path of a program and where it stands in the file.
func find(file string) (path string, offset int64, err error) {
	f, err := elf.Open(file)
	if err != nil {
		return "", 0, err
	}
	defer f.Close() //nolint:errcheck // read only
	paths, err := f.DynString(elf.DT_RPATH)
	if err == nil && len(paths) == 0 {
		paths, err = f.DynString(elf.DT_RUNPATH)
	}
	if err != nil {
		return "", 0, err
	}
	if len(paths) != 1 {
		return "", 0, fmt.Errorf("it has %d search paths, want one", len(paths))
	}
	strings := f.Section(".dynstr")
	if strings == nil {
		return "", 0, fmt.Errorf("it has no .dynstr")
	}
	data, err := strings.Data()
	if err != nil {
		return "", 0, err
	}
	whole := append([]byte(paths[0]), 0)
	at := bytes.Index(data, whole)
	if at < 0 || bytes.Count(data, whole) != 1 {
		return "", 0, fmt.Errorf("the search path %q does not stand once in .dynstr", paths[0])
	}
	return paths[0], int64(strings.Offset) + int64(at), nil
}
