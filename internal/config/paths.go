package config

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// userState returns where a gateway without a configuration keeps its state of a model, by the XDG
// Base Directory Specification; "" is nowhere. Files of one name in several folders are several models.
func userState(model, file string) string {
	sum := sha256.Sum256([]byte(file))
	model += "-" + hex.EncodeToString(sum[:4])
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, program, model)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "state", program, model)
}

// program names what is this program's own in folders of the user.
const program = "loragate"

// UserLlama is the folder for a llama-server of the user's, by the XDG Base Directory Specification;
// "" is none.
func UserLlama() string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, program, "llama")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "share", program, "llama")
}

// atHome returns a path that begins with ~ as one that begins with the user's home, and whether it
// does.
func atHome(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, "~")
	if !ok || rest != "" && rest[0] != filepath.Separator {
		return "", false
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, rest), err == nil
}

// absolute returns path, which may be relative to dir, or to the user's home as ~, as an absolute one.
func absolute(dir, path string) string {
	if home, ok := atHome(path); ok {
		return home
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// nameOf makes a model's name of its file's; what may not be in names becomes a dash.
func nameOf(path string) string {
	if path == "" {
		return ""
	}
	name := filepath.Base(path)
	if ext := filepath.Ext(name); strings.EqualFold(ext, ".gguf") {
		name = name[:len(name)-len(ext)]
	}
	return strings.Trim(unnamable.ReplaceAllString(name, "-"), "-.")
}

var unnamable = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
