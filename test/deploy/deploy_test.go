// Package deploy holds what is in deploy/ to the program and to itself, as far as
// that goes without a container engine and a service manager.
package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var root = filepath.Join("..", "..")

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sources returns all Go code of a folder as one text.
func sources(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", dir, err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// TestUnitIsHardened asks systemd's own judge.
func TestUnitIsHardened(t *testing.T) {
	judge, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here: the unit was not judged")
	}
	unit := filepath.Join(root, "deploy", "systemd", "loragate.service")
	out, err := exec.Command(judge, "security", "--offline=true", unit).CombinedOutput()
	m := regexp.MustCompile(`exposure level for loragate\.service: ([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if level, err := strconv.ParseFloat(string(m[1]), 64); err != nil || level > 3.0 {
		t.Errorf("its exposure level is %s, and may be 3.0", m[1])
	}
}

// TestFilesOfContainersExist follows what the Dockerfile copies and compose mounts.
func TestFilesOfContainersExist(t *testing.T) {
	for _, m := range regexp.MustCompile(`(?m)^COPY (?:--from=\S+ )?(.*) \S+$`).FindAllStringSubmatch(read(t,
		"deploy/docker/Dockerfile"), -1) {
		for _, path := range strings.Fields(m[1]) {
			if strings.HasPrefix(path, "/") {
				continue // from another stage
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Error(err)
			}
		}
	}
	var compose struct {
		Services map[string]struct {
			Build struct {
				Context, Dockerfile string
			}
			Volumes []string
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/docker/compose.yaml")), &compose); err != nil {
		t.Fatal(err)
	}
	for name, s := range compose.Services {
		if s.Build.Context != "" {
			if _, err := os.Stat(filepath.Join(root, "deploy", "docker", s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, named := compose.Volumes[from]; named {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, "deploy", "docker", from)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestDashboardShowsWhatThereIs looks for every metric of the dashboard in the code
// that exposes it.
func TestDashboardShowsWhatThereIs(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "deploy/docker/grafana/loragate.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	code := sources(t, "internal/metrics")
	seen := 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			for _, metric := range regexp.MustCompile(`loragate_[a-z_]+`).FindAllString(target.Expr, -1) {
				name := strings.TrimSuffix(strings.TrimPrefix(metric, "loragate_"), "_bucket")
				if !strings.Contains(code, `"`+name+`"`) && !strings.Contains(code, `"loragate_`+name+`"`) {
					t.Errorf("%s: there is no metric %s", p.Title, metric)
				}
				seen++
			}
		}
	}
	if seen < 10 {
		t.Errorf("the dashboard has %d metrics", seen)
	}
	for _, file := range []string{"prometheus/prometheus.yaml", "grafana/datasource.yaml", "grafana/dashboards.yaml"} {
		var any map[string]any
		if err := yaml.Unmarshal([]byte(read(t, "deploy/docker/"+file)), &any); err != nil || len(any) == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestCommandsExist looks for the commands that deploy/ starts.
func TestCommandsExist(t *testing.T) {
	code := sources(t, "internal/cli")
	for _, command := range []string{"serve", "health"} {
		if !strings.Contains(code, `Use:   "`+command+`"`) {
			t.Errorf("there is no command %s", command)
		}
	}
}
