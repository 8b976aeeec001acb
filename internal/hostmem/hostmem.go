// Package hostmem reads how much memory there is, and what a process has of it. Linux
// tells in files; elsewhere nothing is known.
package hostmem

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is that of the machine, or what the control groups of this process leave of it,
// in bytes.
type Memory struct {
	Total int64
	Free  int64 // pages of files, which the kernel can take back, count as free
}

// Read returns what the files under root tell, which is / but in tests.
func Read(root string) (Memory, error) {
	info, err := os.ReadFile(filepath.Join(root, "proc/meminfo"))
	if err != nil {
		return Memory{}, err
	}
	var m Memory
	if m.Total, err = field(info, "MemTotal:"); err != nil {
		return Memory{}, err
	}
	if m.Free, err = field(info, "MemAvailable:"); err != nil {
		return Memory{}, err
	}
	list, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	for line := range strings.Lines(string(list)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		version := newer
		if strings.Contains(controllers, "memory") {
			version = older
		} else if controllers != "" {
			continue
		}
		for dir := filepath.Clean("/" + path); ; dir = filepath.Dir(dir) { // each above bounds it, too
			version.bound(&m, filepath.Join(root, version.base, dir))
			if dir == "/" {
				break
			}
		}
	}
	return m, nil
}

// Private returns how many bytes a process has that are its own: without the pages of
// files, such as a model's, which the kernel can take back.
func Private(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return field(status, "RssAnon:")
}

// version is one of the two interfaces to control groups.
type version struct {
	base, limit, used string
	files             []string // the fields of memory.stat that are pages of files
}

var (
	newer = version{"sys/fs/cgroup", "memory.max", "memory.current", []string{"inactive_file ", "active_file "}}
	older = version{"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
		[]string{"total_inactive_file ", "total_active_file "}}
)

// bound takes in what a group allows, if it has a limit.
func (v version) bound(m *Memory, dir string) {
	limit, err := number(filepath.Join(dir, v.limit))
	if err != nil || limit <= 0 { // none, or "max"
		return
	}
	m.Total = min(m.Total, limit)
	used, err := number(filepath.Join(dir, v.used))
	if err != nil {
		return
	}
	stat, _ := os.ReadFile(filepath.Join(dir, "memory.stat"))
	for _, key := range v.files {
		if n, err := field(stat, key); err == nil {
			used -= n
		}
	}
	m.Free = min(m.Free, max(0, limit-used))
}

func number(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
}

// field reads a line such as "MemTotal:  123 kB" or "active_file 123", in bytes.
func field(text []byte, key string) (int64, error) {
	for line := range bytes.Lines(text) {
		value, is := bytes.CutPrefix(line, []byte(key))
		if !is {
			continue
		}
		value, kib := bytes.CutSuffix(bytes.TrimSpace(value), []byte("kB"))
		n, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
		if kib {
			n <<= 10
		}
		return n, err
	}
	return 0, fmt.Errorf("%s is not told", strings.Trim(key, ": "))
}
