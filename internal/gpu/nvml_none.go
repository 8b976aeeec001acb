//go:build !(linux && cgo)

package gpu

import "errors"

// Cards lists the NVIDIA GPUs. This build has no NVML: it was made without cgo, or is
// for a system that has none. Memory is read from what llama-server reports then.
func Cards() ([]Card, error) {
	return nil, errors.New("this build cannot ask NVML")
}
