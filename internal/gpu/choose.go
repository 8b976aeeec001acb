package gpu

import (
	"slices"
	"strings"
)

// choosing are llama-server's flags that say which devices to use, or how to spread
// a model over them.
var choosing = []string{
	"-dev", "--device",
	"-sm", "--split-mode",
	"-ts", "--tensor-split",
	"-mg", "--main-gpu",
	"--rpc",
}

// layers are its flags for how much of the model goes to GPUs.
var layers = []string{"-ngl", "--gpu-layers", "--n-gpu-layers"}

// Chosen reports whether llama-server's arguments say which devices to use: a flag
// that names or weighs them, or one that leaves a part of the model to the processor.
func Chosen(args []string) bool {
	for i, arg := range args {
		flag, value, joined := split(arg)
		if slices.Contains(choosing, flag) {
			return true
		}
		if !slices.Contains(layers, flag) {
			continue
		}
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		if strings.TrimSpace(value) == "0" {
			return true
		}
	}
	return false
}

// split takes a flag and its value apart. As llama-server does, it takes underscores
// in a long flag for dashes.
func split(arg string) (flag, value string, joined bool) {
	flag, value, joined = strings.Cut(arg, "=")
	if strings.HasPrefix(flag, "--") {
		flag = strings.ReplaceAll(flag, "_", "-")
	}
	return flag, value, joined
}

// Choose names the devices to give to workers in turn, where nobody said which: each
// GPU that holds the base model alone, with the reserve (0 is DefaultReserve). It
// returns nil where llama-server should pick: there is no such GPU, its arguments
// say which, or the GPUs differ and are not all of CUDA or ROCm. Other backends show
// a processor's own graphics unit as a device like any, and only llama-server can
// tell; those it leaves alone if there is a better one.
func Choose(devices []Device, args []string, model, reserve int64) []string {
	if Chosen(args) {
		return nil
	}
	gpus := preferred(distinct(devices))
	if len(gpus) == 0 {
		return nil
	}
	certain := gpus[0].Backend == "CUDA" || gpus[0].Backend == "ROCm"
	if !certain && slices.ContainsFunc(gpus, func(d Device) bool { return !sameModel(d, gpus[0]) }) {
		return nil
	}
	var names []string
	for _, d := range gpus {
		left := reserve
		if left <= 0 {
			left = DefaultReserve(d.Total)
		}
		if d.Free-left >= model {
			names = append(names, d.Name)
		}
	}
	return names
}
