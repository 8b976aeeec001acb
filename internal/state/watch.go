package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Check returns why the database can no longer be trusted, or nil: its file is gone or
// another's, was cut, or has damaged pages. From the first such reason on changes are
// refused with it, until the gateway is started again: what would be acknowledged could
// not be found afterwards. It also looks whether the disk has room, see Trouble. It reads
// the whole database, for moments, and blocks those who use it meanwhile.
func (d *DB) Check() error {
	d.measure()
	if err := d.broken(); err != nil {
		return err
	}
	err := d.inspect()
	if err != nil {
		err = fmt.Errorf("the database %s is damaged (%w): changes are not taken until it is restored from a backup and "+
			"the gateway started again",
			filepath.Join(d.dir, databaseName), err)
		if d.damage.CompareAndSwap(nil, &err) {
			d.tell()
		}
	}
	return err
}

// broken returns what Check has found before.
func (d *DB) broken() error {
	if err := d.damage.Load(); err != nil {
		return *err
	}
	return nil
}

func (d *DB) inspect() error {
	now, err := os.Lstat(filepath.Join(d.dir, databaseName))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errors.New("its file is gone")
	case err != nil:
		return nil // of the disk, perhaps for now only
	case !os.SameFile(now, d.file):
		return errors.New("its file was replaced")
	case now.Size() == 0 && d.file.Size() > 0:
		return errors.New("its file was emptied")
	}
	found := ""
	err = d.sql.QueryRow("PRAGMA quick_check(1)").Scan(&found)
	var e *sqlite.Error
	switch {
	case errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_NOTADB || e.Code()&0xff == sqlite3.SQLITE_CORRUPT):
		return err
	case err != nil: // busy, or the disk's
		return nil
	case found != "ok":
		return errors.New(found)
	}
	return nil
}
