//go:build linux && cgo

package gpu

import (
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// Cards lists the NVIDIA GPUs by their PCI address. Without the driver's library it
// returns an error; nothing is kept open between calls.
func Cards() ([]Card, error) {
	if ret := nvml.Init(); ret != nvml.SUCCESS {
		return nil, fmt.Errorf("NVML: %s", nvml.ErrorString(ret))
	}
	defer nvml.Shutdown()
	count, ret := nvml.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return nil, fmt.Errorf("NVML: count: %s", nvml.ErrorString(ret))
	}
	cards := make([]Card, count)
	for i := range cards {
		device, ret := nvml.DeviceGetHandleByIndex(i)
		if ret != nvml.SUCCESS {
			return nil, fmt.Errorf("NVML: GPU %d: %s", i, nvml.ErrorString(ret))
		}
		cards[i] = card(device)
	}
	return cards, nil
}

// card leaves empty what NVML does not tell.
func card(device nvml.Device) Card {
	var c Card
	if name, ret := device.GetName(); ret == nvml.SUCCESS {
		c.Name = name
	}
	if uuid, ret := device.GetUUID(); ret == nvml.SUCCESS {
		c.UUID = uuid
	}
	if pci, ret := device.GetPciInfo(); ret == nvml.SUCCESS {
		c.Bus = text(pci.BusId[:])
	}
	if memory, ret := device.GetMemoryInfo(); ret == nvml.SUCCESS {
		c.Total, c.Used, c.Free = int64(memory.Total), int64(memory.Used), int64(memory.Free)
	}
	return c
}

// text is a C string in an array.
func text[T ~int8 | ~uint8](chars []T) string {
	var b []byte
	for _, c := range chars {
		if c == 0 {
			break
		}
		b = append(b, byte(c))
	}
	return string(b)
}
