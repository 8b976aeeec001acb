package worker

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// privateMemory returns how many bytes a process has that are its own: without the pages
// of files, such as the model's, which the kernel can take back.
func privateMemory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return kilobytes(status, "RssAnon:")
}

// freeMemory returns how many bytes the machine, or the control group that this process
// is in, has left.
func freeMemory() (int64, error) {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	free, err := kilobytes(info, "MemAvailable:")
	if err != nil {
		return 0, err
	}
	most, err := number("/sys/fs/cgroup/memory.max")
	if err != nil { // none, or "max"
		return free, nil
	}
	used, err := number("/sys/fs/cgroup/memory.current")
	if err != nil {
		return free, nil
	}
	return min(free, max(0, most-used)), nil
}

func number(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
}

// kilobytes reads a line such as "RssAnon:  123 kB", in bytes.
func kilobytes(text []byte, key string) (int64, error) {
	for line := range bytes.Lines(text) {
		value, is := bytes.CutPrefix(line, []byte(key))
		if !is {
			continue
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(value), []byte("kB")))), 10, 64)
		return n << 10, err
	}
	return 0, fmt.Errorf("%s is not told", key)
}
