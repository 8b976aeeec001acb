package state

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestNobodyElseReadsTheState looks at the modes of all files, new ones and those that
// an older gateway has left, whatever the umask is.
func TestNobodyElseReadsTheState(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := t.TempDir()
	look := func(when string) {
		t.Helper()
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || path == dir || filepath.Base(path) == "source" {
				return err
			}
			info, err := entry.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %s has the mode %s", when, path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	d := open(t, dir)
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte("bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Blobs().Put(t.Context(), source); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	if err := d.PutKey(APIKey{ID: "key_1"}); err != nil {
		t.Fatal(err)
	}
	look("new")
	d.Close()
	if err := os.Chmod(filepath.Join(dir, "loragate.db"), 0o644); err != nil {
		t.Fatal(err)
	}
	d = open(t, dir)
	if err := d.PutKey(APIKey{ID: "key_2"}); err != nil {
		t.Fatal(err)
	}
	look("of an older gateway")
}

// TestLinksAreNotFollowed lays a link, or something else, where the lock and the token
// are to be: what it leads to is not touched.
func TestLinksAreNotFollowed(t *testing.T) {
	for _, name := range []string{"lock", TokenFile} {
		for what, lay := range map[string]func(target, path string) error{
			"a symbolic link": os.Symlink, "a hard link": os.Link,
			"a pipe":   func(_, path string) error { return syscall.Mkfifo(path, 0o600) },
			"a folder": func(_, path string) error { return os.Mkdir(path, 0o700) },
		} {
			dir := t.TempDir()
			target := filepath.Join(t.TempDir(), "target")
			if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := lay(target, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			d, err := Open(dir)
			switch {
			case name == "lock" && err == nil:
				t.Errorf("%s in place of the lock is taken for it", what)
			case name == TokenFile && err != nil:
				t.Error(err)
			}
			if d != nil {
				if token, _, err := d.Token(); err == nil && !strings.HasPrefix(token, "lga-") {
					t.Errorf("%s: the token is %q", what, token)
				}
				d.Close()
			}
			if text, err := os.ReadFile(target); err != nil || string(text) != "precious" {
				t.Errorf("%s in place of %s: the other file has %q, %v", what, name, text, err)
			}
		}
	}
}

// TestTokens are kept over restarts, until somebody else could have read them.
func TestTokens(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	token, path, err := d.Token()
	if err != nil || !tokenPattern.MatchString(token) {
		t.Fatalf("%q, %v", token, err)
	}
	d.Close()
	d = open(t, dir)
	if again, _, err := d.Token(); err != nil || again != token {
		t.Errorf("after a restart: %q, %v", again, err)
	}
	if read, err := ReadToken(path); err != nil || read != token {
		t.Errorf("read: %q, %v", read, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadToken(path); err == nil {
		t.Error("a token that others can read is taken")
	}
	if next, _, err := d.Token(); err != nil || next == token {
		t.Errorf("after others could read it: %q, %v", next, err)
	}
	secret := filepath.Join(t.TempDir(), TokenFile)
	for _, text := range []string{"", "secret of another program\n", token + "\n" + token, strings.ToUpper(token)} {
		if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadToken(secret); err == nil {
			t.Errorf("%q was taken from a file with %q", got, text)
		}
	}
	for _, path := range []string{"/etc/passwd", TokenFile, filepath.Join(t.TempDir(), TokenFile)} {
		if _, err := ReadToken(path); err == nil {
			t.Errorf("%s was read", path)
		}
	}
}
