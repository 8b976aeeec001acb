package state

import (
	"database/sql"
	"errors"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/loragate/loragate/internal/store"
)

// FullError says that the disk has no room for a change, of which nothing was done. Its
// text is the same for every cause and names no files.
type FullError struct{ Cause error }

func (e *FullError) Error() string {
	return "the disk is full: free space where state.dir is, or remove adapters"
}
func (e *FullError) Unwrap() error { return e.Cause }

// IsFull reports whether an error is of a disk, or a quota, with no room.
func IsFull(err error) bool {
	var e *FullError
	return errors.As(err, &e) || store.IsFull(err)
}

// explain makes the error of a full disk a *FullError.
func explain(err error) error {
	if IsFull(err) {
		return &FullError{Cause: err}
	}
	return err
}

// Write makes a change of the database in whole, and then it survives whatever happens,
// or returns an error and changes nothing: a *FullError if there is no room for it and
// the reserve. Each call tries anew. f must do nothing but change the transaction. It
// waits for the disk and for other changes.
func (d *DB) Write(f func(tx *sql.Tx) error) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	err := d.reserve.take() // before anything else has the room
	if err == nil {
		err = d.commit(f)
	}
	err = d.judge(err)
	if err == nil {
		d.setFull(false)
	}
	return err
}

// Free is Write for a change after which less room is needed. On a full disk it is made
// in the room of the reserve.
func (d *DB) Free(f func(tx *sql.Tx) error) error { return d.free(0, f) }

// Last is Write for what must not wait, because it would be lost when the process ends. On
// a full disk it has half of the reserve.
func (d *DB) Last(f func(tx *sql.Tx) error) error { return d.free(reserveBytes/2, f) }

func (d *DB) free(keep int64, f func(tx *sql.Tx) error) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	return d.judge(d.spend(keep, func() error { return d.commit(f) }))
}

// spend does something, and, if there is no room for it, once more with all but keep of
// the reserve given up. Afterwards the reserve has what is left: the database's log is
// written back, so that no more is taken than the change has added. The caller holds
// writing.
func (d *DB) spend(keep int64, f func() error) error {
	err := f()
	if !d.lacksRoom(err) || d.reserve.size <= keep {
		return err
	}
	d.reserve.shrink(keep)
	err = f()
	if d.sql != nil {
		_, _ = d.sql.Exec("PRAGMA wal_checkpoint(TRUNCATE)") // at the next change, else
	}
	_ = d.reserve.take() // what can be had; Write and Check see what is missing
	return err
}

// commit runs f in a transaction. After an error nothing of it is left.
func (d *DB) commit(f func(tx *sql.Tx) error) error {
	tx, err := d.sql.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		_, _ = d.sql.Exec("ROLLBACK") // after some errors SQLite leaves it open
		return err
	}
	return nil
}

// judge makes the error of a full disk a *FullError, and remembers that there was one.
// The caller holds writing.
func (d *DB) judge(err error) error {
	if !d.lacksRoom(err) {
		return err
	}
	d.setFull(true)
	return &FullError{Cause: err}
}

// lacksRoom reports whether something failed because the disk is full. SQLite says so of
// some failures, of others only that the disk failed: then the disk is asked.
func (d *DB) lacksRoom(err error) bool {
	var e *sqlite.Error
	switch {
	case err == nil:
		return false
	case !errors.As(err, &e):
		return IsFull(err)
	case e.Code()&0xff == sqlite3.SQLITE_FULL:
		return true
	case e.Code()&0xff == sqlite3.SQLITE_IOERR:
		return !d.reserve.room()
	}
	return false
}

// Trouble is what is wrong with the state. What is served does not depend on it.
type Trouble struct {
	Damage error // of the database: changes are refused until the next start; nil for none
	Full   bool  // the disk has no room: only what frees some is done
}

// Trouble returns what was known at the latest change or Check. It does not block.
func (d *DB) Trouble() Trouble { return Trouble{Damage: d.broken(), Full: d.full.Load()} }

// Room returns a *FullError if the disk is full. If it was at the latest change it looks
// again, and so may wait for the disk.
func (d *DB) Room() error {
	if d.full.Load() {
		d.measure()
	}
	if d.full.Load() {
		return &FullError{Cause: syscall.ENOSPC}
	}
	return nil
}

// Changed has a value when Trouble returns something else than before.
func (d *DB) Changed() <-chan struct{} { return d.changed }

func (d *DB) setFull(full bool) {
	if d.full.Swap(full) != full {
		d.tell()
	}
}

// tell fills Changed, unless it is.
func (d *DB) tell() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// measure finds out whether there is room. It waits for the disk.
func (d *DB) measure() {
	d.writing.Lock()
	defer d.writing.Unlock()
	if d.full.Load() || !d.reserve.plenty() || d.reserve.size < reserveBytes {
		d.setFull(d.reserve.take() != nil || !d.reserve.room())
	}
}
