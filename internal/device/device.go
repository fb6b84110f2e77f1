// Package device reads the names of devices, in plain Go, for the config as for the engine.
package device

import (
	"fmt"
	"strconv"
	"strings"
)

// Allowed says what Parse takes, for messages.
const Allowed = "auto, cpu, cuda or cuda:N"

// CPU is the index of the CPU.
const CPU = -1

// Parse reads "auto", "cpu", "cuda" (the first GPU) or "cuda:N": the GPU's number, or CPU. auto leaves the choice to
// what the machine has.
func Parse(text string) (index int, auto bool, err error) {
	switch text {
	case "auto":
		return CPU, true, nil
	case "cpu":
		return CPU, false, nil
	case "cuda":
		return 0, false, nil
	}
	number, ok := strings.CutPrefix(text, "cuda:")
	n, err := strconv.ParseUint(number, 10, 8)
	if !ok || err != nil || number != strconv.FormatUint(n, 10) {
		return 0, false, fmt.Errorf("expected %s, found %.40q", Allowed, text)
	}
	return int(n), false, nil
}

// Name is how Parse spells an index.
func Name(index int) string {
	if index == CPU {
		return "cpu"
	}
	return "cuda:" + strconv.Itoa(index)
}
