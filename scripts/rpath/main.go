// Command rpath puts another search path for libraries into an ELF program, in place and no longer than the old one, and takes libraries
// off the list of those that it needs:
//
//	go run ./scripts/rpath FILE PATH [LIBRARY...]
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
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: rpath FILE PATH [LIBRARY...]")
		os.Exit(2)
	}
	err := set(os.Args[1], os.Args[2])
	for _, library := range os.Args[3:] {
		if err == nil {
			err = drop(os.Args[1], library)
		}
	}
	if err != nil {
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

// drop makes the entry of a needed library name the one before it, or after it if it is the first, which the loader then finds loaded. It is
// a neighbour, so that the order in which symbols are looked up stays: before glibc 2.32 the loader itself has a malloc, and it is last.
func drop(file, library string) error {
	f, err := elf.Open(file)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	section, strings := f.Section(".dynamic"), f.Section(".dynstr")
	if section == nil || strings == nil || f.Class != elf.ELFCLASS64 {
		return fmt.Errorf("%s: it is no 64-bit program that needs libraries", file)
	}
	entries, err := section.Data()
	if err != nil {
		return err
	}
	names, err := strings.Data()
	if err != nil {
		return err
	}
	at, other := -1, uint64(0)
	for i := 0; i+16 <= len(entries); i += 16 {
		if f.ByteOrder.Uint64(entries[i:]) != uint64(elf.DT_NEEDED) {
			continue
		}
		value := f.ByteOrder.Uint64(entries[i+8:])
		if name, _, _ := bytes.Cut(names[min(value, uint64(len(names))):], []byte{0}); string(name) == library {
			at = i + 8
		} else if at < 0 || other == 0 {
			other = value
		}
	}
	if at < 0 || other == 0 {
		return fmt.Errorf("%s: %s is not one of several libraries that it needs", file, library)
	}
	var value [8]byte
	f.ByteOrder.PutUint64(value[:], other)
	return write(file, value[:], int64(section.Offset)+int64(at))
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
