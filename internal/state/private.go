package state

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// private is the mode of all files here that can change: they have keys' hashes, the
// account of everybody's requests, and the admin token.
const private = 0o600

// openPrivate opens a file of the directory for reading and writing, and makes it if
// flags say so. What is no plain file of its own, such as a link that somebody who may
// write here has laid, is an error: it would have another file written to.
func openPrivate(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, private)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !single(info) {
		err = fmt.Errorf("%s is not a file of its own", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// single reports whether a file is a plain one with no other name.
func single(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return info.Mode().IsRegular() && (!ok || stat.Nlink == 1)
}

// tighten gives the database's files their mode: SQLite would make them readable for
// everybody, and those beside the database as that is. A database that is not there
// yet is made, empty. What cannot be done is left to SQLite to complain about.
func tighten(path string) {
	if f, err := openPrivate(path, os.O_CREATE); err == nil {
		f.Close()
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if f, err := openPrivate(path+suffix, 0); err == nil {
			_ = f.Chmod(private)
			f.Close()
		}
	}
}

// TokenFile is the name of the file with a token that was made here.
const TokenFile = "admin-token"

// tokenPattern knows tokens that were made here from what else a file may have.
var tokenPattern = regexp.MustCompile(`^lga-[0-9a-f]{64}$`)

// Token returns the token that is kept in the directory, and the file's path; there
// being none, it makes one. One that others could read is replaced.
func (d *DB) Token() (token, path string, err error) {
	path = filepath.Join(d.dir, TokenFile)
	token, err = ReadToken(path)
	if err == nil {
		return token, path, nil
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errBadToken) {
		return "", "", err
	}
	random := make([]byte, 32)
	rand.Read(random) // never fails, by its contract
	token = "lga-" + hex.EncodeToString(random)
	d.writing.Lock()
	defer d.writing.Unlock()
	return token, path, d.judge(d.spend(0, func() error { return replace(path, token+"\n") }))
}

// replace puts a private file with that text in the place of another, in whole or not
// at all.
func replace(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".partial-") // mode 0600
	if err != nil {
		return explain(err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return explain(err)
}

// errBadToken is why a file is not taken for a token's.
var errBadToken = errors.New("is not the private file of a token")

// ReadToken returns the token that a gateway keeps in a file. It takes it only from a
// plain file that nobody but its owner may read, by the name that a gateway gives it,
// and that has nothing else in it: whoever names the file may want another one to be
// read and sent somewhere.
func ReadToken(path string) (string, error) {
	if filepath.Base(path) != TokenFile || !filepath.IsAbs(path) {
		return "", fmt.Errorf("%s %w", path, errBadToken)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return "", fmt.Errorf("%s %w", path, errBadToken)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, 128))
	token := strings.TrimSuffix(string(text), "\n")
	if err != nil || !single(info) || info.Mode().Perm()&0o077 != 0 || !tokenPattern.MatchString(token) {
		return "", fmt.Errorf("%s %w", path, errBadToken)
	}
	return token, nil
}
