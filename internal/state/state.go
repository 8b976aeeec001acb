// Package state keeps what must survive a restart of the gateway in one
// directory: a database of the catalog's records, and the adapters' files, each
// under the digest of its bytes.
package state

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"modernc.org/sqlite" // also registers the driver
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/store"
)

// Adapter is a record of the catalog, an adapter or a composition, and what belongs to it
// over restarts.
type Adapter struct {
	lora.Record
	Pinned    *bool  // what an operator said in place of Pin, or nil
	Answering int    `json:"Active"` // the number of the version that answers, 0 for none
	Seen      string // the digest last seen at the source
	Print     string // of the source and what became of it, "" if that is not known
}

// LockedError says that another process has the directory open.
type LockedError struct {
	Dir string
	PID int // 0 is not known
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is in use by another gateway", e.Dir)
	}
	return fmt.Sprintf("%s is in use by another gateway, process %d", e.Dir, e.PID)
}

// DB is the directory, open. It is safe for concurrent use.
type DB struct {
	dir   string // absolute
	sql   *sql.DB
	store *store.Store
	lock  *os.File

	file   fs.FileInfo           // the database's, as it was opened
	damage atomic.Pointer[error] // why it is not to be trusted any more; see Check

	writing sync.Mutex // held while something is changed
	reserve *reserve   // of whoever holds writing
	full    atomic.Bool
	changed chan struct{} // filled when damage or full has changed
}

// migrations bring the database from one version to the next; its version is how
// many of them it has seen. They are only ever added to.
var migrations = []string{
	`CREATE TABLE adapters (
		origin TEXT NOT NULL,
		name   TEXT NOT NULL,
		record TEXT NOT NULL, -- an Adapter, in JSON: one row is never half
		PRIMARY KEY (origin, name)
	) STRICT;
	CREATE TABLE quarantine (
		digest TEXT PRIMARY KEY,
		reason TEXT NOT NULL
	) STRICT;`,
	`CREATE TABLE keys (
		id     TEXT PRIMARY KEY,
		record TEXT NOT NULL -- a Key, in JSON
	) STRICT;`,
	`CREATE TABLE usage (
		at            INTEGER NOT NULL, -- when they ended, in milliseconds since 1970
		tenant        TEXT NOT NULL,    -- "" is nobody
		key           TEXT NOT NULL,
		model         TEXT NOT NULL,
		digest        TEXT NOT NULL,
		outcome       TEXT NOT NULL,
		requests      INTEGER NOT NULL, -- more than 1 when there was no time for a row each
		prompt        INTEGER NOT NULL, -- tokens
		cached        INTEGER NOT NULL, -- of the prompts
		completion    INTEGER NOT NULL,
		queue_ms      INTEGER NOT NULL,
		generation_ms INTEGER NOT NULL
	) STRICT;
	CREATE INDEX usage_at ON usage (at);
	CREATE TABLE spent (
		tenant TEXT NOT NULL,
		month  TEXT NOT NULL, -- as 2006-01, UTC
		tokens INTEGER NOT NULL,
		PRIMARY KEY (tenant, month)
	) STRICT;`,
	`ALTER TABLE usage ADD COLUMN swap_ms INTEGER NOT NULL DEFAULT 0;`, // queue_ms has it in older rows
	`CREATE TABLE clock (
		id INTEGER PRIMARY KEY CHECK (id = 1),
		at INTEGER NOT NULL -- the latest time that is believed, in milliseconds since 1970
	) STRICT;`,
	`UPDATE adapters SET record = json_set(record, '$.max_concurrency', json_extract(record, '$.MaxConcurrency'))
		WHERE json_extract(record, '$.MaxConcurrency') IS NOT NULL;`,
}

// Open opens the directory and makes it if need be. One process at a time can:
// for the others it is a *LockedError. Close must be called.
//
// A database that is damaged, of a newer gateway, or missing where there are
// adapters' files is an error and changes nothing: with an empty one the files
// would be nobody's, and be deleted.
//
// A full disk is no error if there is a database: then it can be read, and what frees
// room be done.
func Open(dir string) (*DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, explain(err)
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, explain(err)
	}
	d := &DB{dir: absolute, lock: lock, reserve: openReserve(absolute), changed: make(chan struct{}, 1)}
	if err := d.open(); err != nil {
		if d.sql != nil {
			d.sql.Close()
		}
		lock.Close()
		return nil, d.asFull(err)
	}
	d.measure()
	return d, nil
}

// open opens what is in the directory. On a full disk the reserve is given up for the
// database's index, and, that not being enough, the index is kept in memory.
func (d *DB) open() (err error) {
	if d.store, err = store.Open(d.dir); err != nil {
		return err
	}
	path := filepath.Join(d.dir, databaseName)
	err = d.spend(0, func() error { return d.openSQL(path, shared) })
	if d.lacksRoom(err) {
		err = d.openSQL(path, alone)
	}
	if err == nil {
		d.file, err = os.Stat(path)
	}
	return err
}

// asFull is judge for a database that could not be opened.
func (d *DB) asFull(err error) error {
	if d.lacksRoom(err) {
		return &FullError{Cause: err}
	}
	return err
}

// acquire takes the directory's lock, which goes with the process.
func acquire(dir string) (*os.File, error) {
	lock, err := openPrivate(filepath.Join(dir, "lock"), os.O_CREATE)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	for range glances {
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		time.Sleep(glance) // somebody may only look whether it is locked
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		defer lock.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		text, _ := io.ReadAll(io.LimitReader(lock, 32))
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return nil, &LockedError{Dir: dir, PID: pid}
	}
	// For the other's message only. It is written over what is there, which has room.
	if n, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err == nil {
		_ = lock.Truncate(int64(n))
	}
	return lock, nil
}

// glances times glance is how long a lock is tried for: InUse has it for moments.
const (
	glances = 5
	glance  = 10 * time.Millisecond
)

// InUse reports whether a process has the directory open.
func InUse(dir string) bool {
	lock, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return false
	}
	defer lock.Close()
	return errors.Is(syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// databaseName is the database's file in the directory.
const databaseName = "loragate.db"

// access is how a database is opened: with an index that is shared with others who look
// at it, in a file beside it, or with one in memory, which takes no room on the disk and
// keeps others out.
type access string

// 256 KiB of cache rather than 2 MiB: the system has the file's pages, and the account
// only adds to its end. To set it is a look at the file, and settings go by their names:
// it would come before the mode of locking, so that there is none where that is set.
const (
	shared access = "&_pragma=cache_size(-256)"
	alone  access = "&_pragma=locking_mode(exclusive)"
)

// openSQL opens the database, and closes one that could not be opened in whole before.
func (d *DB) openSQL(path string, how access) (err error) {
	if d.sql != nil {
		d.sql.Close()
	}
	// FULL: what was acknowledged survives a power cut, too. The log is written back as
	// soon as it has 64 pages, so that the reserve has room for what that takes. What is
	// not a _pragma is set after those.
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(),
		RawQuery: "_busy_timeout=5000&_foreign_keys=1&_journal_mode=wal&_synchronous=full&_pragma=wal_autocheckpoint(64)" + string(how)}).String()
	if d.sql, err = sql.Open("sqlite", dsn); err != nil {
		return err
	}
	tighten(path)
	d.sql.SetMaxOpenConns(1) // writers would only wait for one another
	if err = inspect(d.sql, d.store.Blobs); err == nil {
		err = migrate(d.sql)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// inspect returns why a database must not be used, or nil.
func inspect(db *sql.DB, blobs *store.Blobs) error {
	const advice = "restore it from a backup, or, to start with an empty catalog, move it away with all that is in its " +
		"folder"
	var version int
	err := db.QueryRow("PRAGMA user_version").Scan(&version)
	if err == nil && version > len(migrations) {
		return fmt.Errorf("it is of version %d, this gateway knows versions up to %d: run a newer one", version,
			len(migrations))
	}
	found := ""
	if err == nil {
		err = db.QueryRow("PRAGMA quick_check(1)").Scan(&found)
	}
	var e *sqlite.Error
	switch {
	case errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_NOTADB || e.Code()&0xff == sqlite3.SQLITE_CORRUPT):
		return fmt.Errorf("it is damaged (%w): %s", err, advice)
	case err != nil:
		return err
	case found != "ok":
		return fmt.Errorf("it is damaged (%s): %s", found, advice)
	case version > 0:
		return nil
	}
	// It is new. Files are only ever stored after the first migration.
	if list, err := blobs.List(); err != nil || len(list) == 0 {
		return err
	}
	return fmt.Errorf("it is empty, or was until now, while there are files of adapters in %s: %s", blobs.Dir(), advice)
}

func migrate(db *sql.DB) error {
	var version int
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	for ; version < len(migrations); version++ {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		defer tx.Rollback() // does nothing after Commit
		if _, err := tx.Exec(migrations[version]); err != nil {
			return fmt.Errorf("migration %d: %w", version+1, err)
		}
		if _, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", version+1)); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the directory.
func (d *DB) Close() error { return errors.Join(d.sql.Close(), d.lock.Close()) }

// Dir returns the directory, absolute.
func (d *DB) Dir() string { return d.dir }

// SQL returns the database, for others to read from; they change it by way of Write.
func (d *DB) SQL() *sql.DB { return d.sql }

// Store returns what keeps the adapters' files.
func (d *DB) Store() *store.Store { return d.store }

// Blobs returns the adapters' files.
func (d *DB) Blobs() *store.Blobs { return d.store.Blobs }

// Adapters returns all records, by name and origin.
func (d *DB) Adapters() ([]Adapter, error) {
	rows, err := d.sql.Query("SELECT name, record FROM adapters ORDER BY name, origin")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Adapter
	for rows.Next() {
		var name, record string
		if err := rows.Scan(&name, &record); err != nil {
			return nil, err
		}
		var a Adapter
		if err := json.Unmarshal([]byte(record), &a); err != nil {
			return nil, fmt.Errorf("the record of %q in loragate.db is damaged (%w): restore the state directory from a "+
				"backup", name, err)
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

// Update is a change of the records and marks.
type Update struct {
	Put        []Adapter         // in place of those of their origins and names
	Forget     []Key             // there need not be any
	Quarantine map[string]string // bytes that no worker may load, by digest, with the reason
	Release    []string          // digests to take such marks off
}

// Key names a record.
type Key struct {
	Origin lora.Origin
	Name   string
}

// Apply makes a change in whole, and then it survives whatever happens, or
// returns an error and changes nothing. What is put wins over what is forgotten.
//
// On a full disk it is a *FullError, but for an update that does nothing but forget and
// release, and for one with marks.
func (d *DB) Apply(u Update) error {
	if err := d.broken(); err != nil {
		return err
	}
	switch {
	case len(u.Quarantine) > 0: // or the next process would fall over the same bytes
		return d.Last(u.apply)
	case len(u.Put) == 0:
		return d.Free(u.apply)
	}
	return d.Write(u.apply)
}

func (u Update) apply(tx *sql.Tx) error {
	for _, k := range u.Forget {
		if _, err := tx.Exec("DELETE FROM adapters WHERE origin = ? AND name = ?", k.Origin, k.Name); err != nil {
			return err
		}
	}
	for _, a := range u.Put {
		record, err := json.Marshal(a)
		if err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO adapters (origin, name, record) VALUES (?, ?, ?) ON CONFLICT (origin, name) DO "+
			"UPDATE SET record = excluded.record", a.Origin, a.Name, string(record)); err != nil {
			return err
		}
	}
	for digest, reason := range u.Quarantine {
		if _, err := tx.Exec("INSERT INTO quarantine (digest, reason) VALUES (?, ?) ON CONFLICT (digest) DO UPDATE SET "+
			"reason = excluded.reason", digest, reason); err != nil {
			return err
		}
	}
	for _, digest := range u.Release {
		if _, err := tx.Exec("DELETE FROM quarantine WHERE digest = ?", digest); err != nil {
			return err
		}
	}
	return nil
}

// Quarantined returns the reasons of all marks, by digest.
func (d *DB) Quarantined() (map[string]string, error) {
	rows, err := d.sql.Query("SELECT digest, reason FROM quarantine")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	marks := make(map[string]string)
	for rows.Next() {
		var digest, reason string
		if err := rows.Scan(&digest, &reason); err != nil {
			return nil, err
		}
		marks[digest] = reason
	}
	return marks, rows.Err()
}
