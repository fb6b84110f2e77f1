package torch

import (
	"fmt"

	"github.com/gsmeval/gsmeval/internal/device"
)

// ParseDevice reads the name of a device, see device.Parse; no name is auto. Where auto is true the device is the caller's choice.
func ParseDevice(text string) (d Device, auto bool, err error) {
	if text == "" {
		return CPU, true, nil
	}
	index, auto, err := device.Parse(text)
	if err != nil {
		return CPU, false, fmt.Errorf("device: %w", err)
	}
	return Device(index), auto, nil
}

func (d Device) String() string { return device.Name(int(d)) }

// Among checks that a device is one of a machine with so many GPUs.
func (d Device) Among(gpus int) error {
	switch {
	case int(d) < gpus:
		return nil
	case gpus == 1:
		return fmt.Errorf("device %s: there is 1 GPU here, %s", d, Device(0))
	case gpus == 0:
		return fmt.Errorf("device %s: there is no GPU here", d)
	}
	return fmt.Errorf("device %s: there are %d GPUs here, %s to %s", d, gpus, Device(0), Device(gpus-1))
}
