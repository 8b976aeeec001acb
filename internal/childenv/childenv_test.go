package childenv

import (
	"slices"
	"testing"
)

func TestOf(t *testing.T) {
	wanted := []string{
		"PATH=/bin", "HOME=/root", "LD_LIBRARY_PATH=/lib", "TMPDIR=/tmp", "LANG=C", "LC_ALL=C.UTF-8",
		"CUDA_VISIBLE_DEVICES=1", "GGML_CUDA_FORCE_MMQ=1",
		"VK_ICD_FILENAMES=/x", "LLAMA_CACHE=/c", "NVIDIA_VISIBLE_DEVICES=all",
	}
	foreign := []string{
		"GATEWAY_ADMIN_TOKEN=x", "HF_TOKEN=x", "AWS_SECRET_ACCESS_KEY=x", "AWS_ACCESS_KEY_ID=x",
		"GATEWAY_SOURCES_HUGGINGFACE_TOKEN=x",
		"LLAMA_API_KEY=x", "LLAMA_ARG_DEVICE=none", "LLAMA_HF_TOKEN=x", "OPENAI_API_KEY=x", "NVIDIA_API_KEY=x",
		"NOTIFY_SOCKET=/run/x", "LISTEN_FDS=3",
		"LD_PRELOAD=/x.so", "HTTPS_PROXY=http://user:pw@x", "PATHS=x", "=C:=x", "nothing",
	}
	if got := Of(slices.Concat(foreign, wanted)); !slices.Equal(got, wanted) {
		t.Errorf("%q", got)
	}
	if got := Of(nil); got == nil || len(got) != 0 {
		t.Errorf("an empty environment is %v: exec would hand on the process's own", got)
	}
}
