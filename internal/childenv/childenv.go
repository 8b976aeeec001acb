// Package childenv says which variables of the environment llama-server gets. It
// works on what clients send, so it is given what it needs and nothing that is
// secret: the gateway's own environment may hold tokens for the admin API, for
// Hugging Face and for S3.
package childenv

import (
	"slices"
	"strings"
)

// names are variables that a program needs to run at all.
var names = []string{
	"PATH", "HOME", "USER", "LOGNAME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH",
	"TMPDIR", "TMP", "TEMP", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR",
	"LANG", "LANGUAGE", "TZ", "GLIBC_TUNABLES",
}

// prefixes begin variables of the locale, of ggml and its backends and of the drivers
// of devices.
var prefixes = []string{
	"LC_", "LLAMA_", "GGML_", "MALLOC_", "OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "BLIS_",
	"CUDA_", "NVIDIA_", "VK_", "MESA_", "RADV_", "HIP_", "HSA_", "ROCR_", "ROCM_", "ROCBLAS_", "AMD_", "GPU_",
	"SYCL_", "ONEAPI_", "ZE_", "OCL_", "MUSA_", "ASCEND_", "MTL_",
}

// denied are those of llama-server that would change what the gateway sets, or are
// another server's secret.
var denied = []string{"LLAMA_ARG_", "LLAMA_API_KEY"}

// secretWords in a name speak for a secret, whatever it begins with.
var secretWords = []string{"TOKEN", "SECRET", "PASSWORD", "API_KEY", "APIKEY", "CREDENTIAL"}

// Of returns the variables that llama-server gets, of an environment as os.Environ
// returns it.
func Of(environ []string) []string {
	env := []string{}
	for _, kv := range environ {
		if name, _, ok := strings.Cut(kv, "="); ok && passes(name) {
			env = append(env, kv)
		}
	}
	return env
}

func passes(name string) bool {
	begins := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	has := func(word string) bool { return strings.Contains(name, word) }
	if slices.ContainsFunc(denied, begins) || slices.ContainsFunc(secretWords, has) {
		return false
	}
	return slices.Contains(names, name) || slices.ContainsFunc(prefixes, begins)
}
