// Package gpu tells what devices llama-server can compute on, what memory they
// have, and how many workers that memory holds. Reading is apart from deciding:
// the decisions are pure functions of readings.
package gpu

import (
	"slices"
	"strings"
)

// Device is one that llama-server can compute on, with its memory at one moment.
type Device struct {
	Name        string // as llama-server's --device names it: CUDA0, Vulkan0
	Description string // the maker's name for it
	Backend     string // of llama-server, from the name: CUDA, Vulkan
	Total, Free int64  // bytes
}

// backends are those whose devices are GPUs, the one to prefer first where two show
// the same GPU. Of others (BLAS, a remote machine over RPC) it is not known what
// their memory means.
var backends = []string{"CUDA", "ROCm", "MUSA", "CANN", "SYCL", "MTL", "Vulkan", "OpenCL", "WebGPU"}

// backend returns the part of a device's name before its number.
func backend(name string) string {
	return strings.TrimPrefix(strings.TrimRight(name, "0123456789"), "GPU") // GPUOpenCL
}

// rank is a backend's place in backends, or len(backends) for one that is not there.
func rank(name string) int {
	if i := slices.Index(backends, name); i >= 0 {
		return i
	}
	return len(backends)
}

// sane returns a reading that can be counted with: Free lies between 0 and Total.
func (d Device) sane() Device {
	d.Total = max(d.Total, 0)
	d.Free = min(max(d.Free, 0), d.Total)
	return d
}

// distinct returns the GPUs that have memory of their own to tell of, each once:
// where several backends show one, the preferred backend's device stands for it.
// The order is kept.
func distinct(devices []Device) []Device {
	var list []Device
	for _, d := range devices {
		if d.Total <= 0 || rank(d.Backend) == len(backends) {
			continue
		}
		hidden := slices.ContainsFunc(devices, func(other Device) bool {
			return other.Total > 0 && rank(other.Backend) < rank(d.Backend) && sameModel(other, d)
		})
		if !hidden {
			list = append(list, d.sane())
		}
	}
	return list
}

// sameModel compares descriptions, less what a driver adds in brackets: Mesa's
// Vulkan calls a card "AMD Radeon RX 7900 XTX (RADV NAVI31)".
func sameModel(a, b Device) bool { return model(a) == model(b) }

func model(d Device) string {
	name, _, _ := strings.Cut(d.Description, " (")
	return strings.ToLower(strings.TrimSpace(name))
}

// OnCUDA reports whether workers on the named devices, or those that llama-server
// picks if no names are given, use nothing but llama-server's CUDA backend, so that
// the multi-process service would serve them.
func OnCUDA(devices []Device, names []string) bool {
	if len(names) > 0 {
		return !slices.ContainsFunc(names, func(name string) bool {
			return slices.ContainsFunc(strings.Split(name, ","), func(part string) bool { return backend(part) != "CUDA" })
		})
	}
	gpus := distinct(devices)
	return len(gpus) > 0 && preferred(gpus)[0].Backend == "CUDA"
}

// preferred returns the devices of the most preferred backend there is.
func preferred(devices []Device) []Device {
	best := len(backends)
	for _, d := range devices {
		best = min(best, rank(d.Backend))
	}
	return slices.DeleteFunc(slices.Clone(devices), func(d Device) bool { return rank(d.Backend) != best })
}
