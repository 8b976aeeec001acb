package gpu

import (
	"slices"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	rocm := Device{Name: "ROCm0", Description: "AMD Radeon RX 7900 XTX", Backend: "ROCm", Total: g(24), Free: g(24)}
	tests := []struct {
		name    string
		devices []Device
		args    string
		model   float64
		reserve float64
		want    string
	}{
		{name: "none", model: 2},
		{name: "one", devices: []Device{cuda(0, 24, 24)}, model: 2, want: "CUDA0"},
		{name: "two", devices: []Device{cuda(0, 24, 24), cuda(1, 24, 24)}, model: 2, want: "CUDA0 CUDA1"},
		{name: "too large for any", devices: []Device{cuda(0, 24, 24), cuda(1, 24, 24)}, model: 30},
		{name: "large enough without a reserve", devices: []Device{cuda(0, 24, 24)}, model: 22},
		{name: "a smaller reserve", devices: []Device{cuda(0, 24, 24)}, model: 22, reserve: 1, want: "CUDA0"},
		{name: "a full one is left out", devices: []Device{cuda(0, 24, 3), cuda(1, 24, 24)}, model: 2, want: "CUDA1"},
		{name: "free above total", devices: []Device{cuda(0, 2, 24)}, model: 3},
		{name: "CUDA before Vulkan", devices: []Device{vulkan(0, "NVIDIA H200", 24, 24), cuda(0, 24, 24)}, model: 2,
			want: "CUDA0"},
		{name: "ROCm before Mesa", devices: []Device{vulkan(0, "AMD Radeon RX 7900 XTX (RADV NAVI31)", 24, 24), rocm},
			model: 2, want: "ROCm0"},
		{name: "beside a processor's own", devices: []Device{cuda(0, 24, 24), vulkan(0, "NVIDIA H200", 24, 24),
			vulkan(1, "Intel(R) UHD Graphics", 32, 30)}, model: 2, want: "CUDA0"},
		{name: "a processor's own alone", devices: []Device{vulkan(0, "Intel(R) UHD Graphics", 32, 30)}, model: 2,
			want: "Vulkan0"},
		{name: "Vulkan devices alike", devices: []Device{vulkan(0, "A770", 16, 16), vulkan(1, "A770", 16, 16)}, model: 2,
			want: "Vulkan0 Vulkan1"},
		{name: "Vulkan devices that differ", devices: []Device{vulkan(0, "RX 7900", 24, 24),
			vulkan(1, "AMD Radeon Graphics", 32, 30)}, model: 2},
		{name: "no GPU", devices: []Device{{Name: "BLAS", Backend: "BLAS"},
			{Name: "RPC0", Backend: "RPC", Total: g(24), Free: g(24)}}, model: 2},
		{name: "the user chose", devices: []Device{cuda(0, 24, 24)}, args: "--flash-attn on -dev CUDA0", model: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Choose(tt.devices, strings.Fields(tt.args), g(tt.model), g(tt.reserve))
			if !slices.Equal(got, strings.Fields(tt.want)) || tt.want == "" && got != nil {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestChosen(t *testing.T) {
	for args, want := range map[string]bool{
		"":                                     false,
		"--flash-attn on":                      false,
		"-dev CUDA0":                           true,
		"--device CUDA0":                       true,
		"--device=CUDA0":                       true,
		"-sm none":                             true,
		"--split-mode row":                     true,
		"--split_mode row":                     true,
		"-ts 3,1":                              true,
		"--tensor-split 3,1":                   true,
		"--tensor_split=3,1":                   true,
		"-mg 1":                                true,
		"--main-gpu 1":                         true,
		"--rpc host:1":                         true,
		"-ngl 0":                               true,
		"--gpu-layers 0":                       true,
		"--n-gpu-layers 0":                     true,
		"--n_gpu_layers=0":                     true,
		"-ngl 99":                              false,
		"-ngl all":                             false,
		"-ngl":                                 false,
		"--threads 0":                          false,
		"--chat-template-file -dev.jinja":      false,
		"--spec-draft-device CUDA0 -ngld 0":    false,
		"--n-gpu-layers 20 --cache-type-k f16": false,
	} {
		if got := Chosen(strings.Fields(args)); got != want {
			t.Errorf("%q: %v", args, got)
		}
	}
}

func TestOnCUDA(t *testing.T) {
	both := []Device{cuda(0, 24, 24), vulkan(0, "NVIDIA H200", 24, 24), vulkan(1, "Intel", 32, 30)}
	for _, tt := range []struct {
		devices []Device
		names   []string
		want    bool
	}{
		{both, nil, true},
		{both, []string{"CUDA0"}, true},
		{both, []string{"CUDA0,CUDA1"}, true},
		{both, []string{"Vulkan0"}, false},
		{both, []string{"CUDA0", "Vulkan0"}, false},
		{both[1:], nil, false},
		{nil, nil, false},
		{nil, []string{"none"}, false},
	} {
		if got := OnCUDA(tt.devices, tt.names); got != tt.want {
			t.Errorf("%v of %v: %v", tt.names, tt.devices, got)
		}
	}
}
