package gpu

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

const mib = 1 << 20

func TestParse(t *testing.T) {
	tests := []struct {
		name, text string
		want       []Device
		err        error
	}{
		{"one", "Available devices:\n  CUDA0: NVIDIA H200 (143771 MiB, 142000 MiB free)\n",
			[]Device{{"CUDA0", "NVIDIA H200", "CUDA", 143771 * mib, 142000 * mib}}, nil},
		{"several, among a log", "load_backend: loaded CUDA\nggml_vulkan: 0 = X (1 MiB, 1 MiB free)\nAvailable devices:\r\n" +
			"  CUDA0: NVIDIA RTX A2000 (Laptop) (4095 MiB, 3000 MiB free)\r\nggml: noise\n" +
			"  Vulkan0: AMD Radeon RX 7900 XTX (RADV NAVI31) (24560 MiB, 24000 MiB free)\n" +
			"  GPUOpenCL: QUALCOMM Adreno(TM) (0 MiB, 0 MiB free)\n  MTL0: Apple M2 (21845 MiB, 21845 MiB free)",
			[]Device{
				{"CUDA0", "NVIDIA RTX A2000 (Laptop)", "CUDA", 4095 * mib, 3000 * mib},
				{"Vulkan0", "AMD Radeon RX 7900 XTX (RADV NAVI31)", "Vulkan", 24560 * mib, 24000 * mib},
				{"GPUOpenCL", "QUALCOMM Adreno(TM)", "OpenCL", 0, 0},
				{"MTL0", "Apple M2", "MTL", 21845 * mib, 21845 * mib},
			}, nil},
		{"an old name of a remote one", "Available devices:\n  RPC[127.0.0.1:50052]: RPC[127.0.0.1:50052] (9 MiB, 8 MiB " +
			"free)\n",
			[]Device{{"RPC[127.0.0.1:50052]", "RPC[127.0.0.1:50052]", "RPC[127.0.0.1:50052]", 9 * mib, 8 * mib}}, nil},
		{"none", "Available devices:\n  (none)\n", nil, nil},
		{"an older build", "Available devices:\n", nil, nil},
		{"no list", "error: invalid argument: --list-devices\n", nil, errNoList},
		{"nothing", "", nil, errNoList},
		{"more than there is", "Available devices:\n  CUDA0: x (99999999999999999999 MiB, 8796093022208 MiB free)\n",
			[]Device{{"CUDA0", "x", "CUDA", 0, 0}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(tt.text)
			if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Available devices:\n  CUDA0: NVIDIA H200 (143771 MiB, 142000 MiB free)\n")
	f.Fuzz(func(t *testing.T, text string) {
		devices, _ := parse(text)
		for _, d := range devices {
			if d.Name == "" || d.Total < 0 || d.Free < 0 {
				t.Errorf("%+v", d)
			}
		}
	})
}

// TestListOfTheRealServer: what is parsed is what llama-server prints.
func TestListOfTheRealServer(t *testing.T) {
	reading, err := Reader{Command: llamatest.Binary(t)}.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range reading.Devices {
		if d.Name == "" || d.Backend == "" {
			t.Errorf("%+v", d)
		}
	}
}

// server writes a program that stands in for llama-server.
func server(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "llama-server")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

const listing = `[ "$*" = --list-devices ] || exit 9
echo "ggml_cuda_init: found 1 CUDA devices" >&2
echo "Available devices:"
echo "  CUDA0: NVIDIA H200 (143771 MiB, ${GGML_FREE:-142000} MiB free)"
`

func noCards() ([]Card, error) { return nil, errors.New("no library") }

func TestReadFromTheServer(t *testing.T) {
	t.Setenv("LLAMA_ARG_DEVICE", "none")
	r := Reader{Command: server(t, `[ -z "$LLAMA_ARG_DEVICE" ] || exit 8`+"\n"+listing), Cards: noCards}
	before, err := r.Read(t.Context())
	if err != nil || before.Source != FromServer || len(before.Devices) != 1 || before.Devices[0].Free != 142000*mib {
		t.Fatalf("%+v, %v", before, err)
	}
	t.Setenv("GGML_FREE", "1000")
	after, err := r.Again(t.Context(), before)
	if err != nil || after.Source != FromServer || after.Devices[0].Free != 1000*mib {
		t.Errorf("%+v, %v", after, err)
	}
}

func TestReadFromNVML(t *testing.T) {
	free := int64(140 << 30)
	r := Reader{Command: server(t, listing), Env: []string{}, Cards: func() ([]Card, error) {
		return []Card{{Name: "NVIDIA H200", Total: 141 << 30, Free: free}}, nil
	}}
	before, err := r.Read(t.Context())
	if err != nil || before.Source != FromNVML || before.Devices[0].Free != free {
		t.Fatalf("%+v, %v", before, err)
	}
	r.Command, free = "/no/such/program", 100<<30
	after, err := r.Again(t.Context(), before)
	if err != nil || after.Devices[0].Free != free || before.Devices[0].Free == free {
		t.Errorf("%+v, %v", after, err)
	}
	r.Cards = noCards
	if _, err := r.Again(t.Context(), before); err == nil {
		t.Error("readings of two sources are compared")
	}
}

func TestReadFails(t *testing.T) {
	ended, cancel := context.WithCancelCause(t.Context())
	why := errors.New("stopped by a signal")
	cancel(why)
	if _, err := (Reader{Command: server(t, listing)}).Read(ended); !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
	if _, err := (Reader{Command: "/no/such/program"}).Read(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	_, err := Reader{Command: server(t, "echo first >&2; echo 'error: invalid argument' >&2; exit 1")}.Read(t.Context())
	if err == nil || !strings.HasSuffix(err.Error(), "exit status 1: error: invalid argument") {
		t.Errorf("error %v", err)
	}
	if _, err := (Reader{Command: server(t, "echo hello")}).Read(t.Context()); !errors.Is(err, errNoList) {
		t.Errorf("error %v", err)
	}
}

// TestReadOfAServerThatHangs: it and what it started end with the context. The child
// keeps a pipe's end open, so that reading it ends when the child has.
func TestReadOfAServerThatHangs(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		pipe, err := os.Open(fifo) // blocks until the child has the other end
		if err != nil {
			ended <- err
			return
		}
		defer pipe.Close()
		cancel()
		_, err = io.Copy(io.Discard, pipe)
		ended <- err
	}()
	_, err := Reader{Command: server(t, "(exec sleep 600) >"+fifo+"; sleep 600")}.Read(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestMeasure(t *testing.T) {
	card := func(name string, total, free float64) Card { return Card{Name: name, Total: g(total), Free: g(free)} }
	h200 := card("NVIDIA H200", 141, 130)
	other := Device{Name: "CUDA1", Description: "NVIDIA L4", Backend: "CUDA", Total: g(24), Free: g(20)}
	tests := []struct {
		name    string
		devices []Device
		cards   []Card
		env     string
		certain bool
	}{
		{"one", []Device{cuda(0, 140, 139)}, []Card{h200}, "", true},
		{"beside Vulkan's view of it", []Device{cuda(0, 140, 139), vulkan(0, "NVIDIA H200", 140, 139)}, []Card{h200}, "",
			true},
		{"two alike", []Device{cuda(0, 140, 139), cuda(1, 140, 139)}, []Card{h200, h200}, "", true},
		{"empty CUDA_VISIBLE_DEVICES", []Device{cuda(0, 140, 139)}, []Card{h200}, "CUDA_VISIBLE_DEVICES=", true},
		{"CUDA_VISIBLE_DEVICES", []Device{cuda(0, 140, 139)}, []Card{h200}, "CUDA_VISIBLE_DEVICES=1", false},
		{"one is hidden", []Device{cuda(0, 140, 139)}, []Card{h200, h200}, "", false},
		{"two that differ", []Device{cuda(0, 140, 139), other}, []Card{h200, card("NVIDIA L4", 24, 20)}, "", false},
		{"two that differ, in PCI's order", []Device{cuda(0, 140, 139), other}, []Card{h200, card("NVIDIA L4", 24, 20)},
			"CUDA_DEVICE_ORDER=PCI_BUS_ID", true},
		{"an order that is not NVML's", []Device{cuda(0, 140, 139), other}, []Card{card("NVIDIA L4", 24, 20), h200},
			"CUDA_DEVICE_ORDER=PCI_BUS_ID", false},
		{"a slice of a GPU", []Device{{Name: "CUDA0", Description: "NVIDIA H200 MIG 1g.18gb", Backend: "CUDA",
			Total: g(16)}}, []Card{h200}, "", false},
		{"memory that NVML does not tell", []Device{cuda(0, 140, 139)}, []Card{{Name: "NVIDIA H200"}}, "", false},
		{"a GPU that NVML does not know", []Device{cuda(0, 140, 139), vulkan(1, "Intel", 16, 16)}, []Card{h200}, "", false},
		{"no CUDA", []Device{vulkan(0, "NVIDIA H200", 140, 139)}, []Card{h200}, "", false},
		{"nothing", nil, nil, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.devices)
			got, ok := measure(tt.devices, tt.cards, []string{"PATH=/bin", tt.env})
			if ok != tt.certain {
				t.Fatalf("certain: %v, %+v", ok, got)
			}
			if !slices.Equal(before, tt.devices) {
				t.Error("the devices were changed")
			}
			if ok && (got[0].Total != g(141) || got[0].Free != g(130)) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestCardsFailSoftly: where there is no driver there is an error and nothing worse.
func TestCardsFailSoftly(t *testing.T) {
	cards, err := Cards()
	if err != nil && len(cards) > 0 {
		t.Errorf("%v with %v", cards, err)
	}
	t.Logf("%v, %v", cards, err)
}
