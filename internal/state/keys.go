package state

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// APIKey is an API key as it is kept: by its hash only.
type APIKey struct {
	ID      string
	Tenant  string
	Label   string
	Hash    string // SHA-256 in hex
	Created time.Time
	Expires time.Time // zero is never
}

// Keys returns all keys.
func (d *DB) Keys() ([]APIKey, error) {
	rows, err := d.sql.Query("SELECT id, record FROM keys ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []APIKey
	for rows.Next() {
		var id, record string
		if err := rows.Scan(&id, &record); err != nil {
			return nil, err
		}
		var k APIKey
		if err := json.Unmarshal([]byte(record), &k); err != nil {
			return nil, fmt.Errorf("the key %q is damaged: %w", id, err)
		}
		list = append(list, k)
	}
	return list, rows.Err()
}

// PutKey stores a key in place of the one of its id. When it returns nil the key
// survives whatever happens; on a full disk it is a *FullError.
func (d *DB) PutKey(k APIKey) error {
	if err := d.broken(); err != nil {
		return err
	}
	record, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return d.Write(func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO keys (id, record) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET record = "+
			"excluded.record", k.ID, string(record))
		return err
	})
}

// DeleteKey forgets a key, also on a full disk; there need not be one.
func (d *DB) DeleteKey(id string) error {
	if err := d.broken(); err != nil {
		return err
	}
	return d.Free(func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM keys WHERE id = ?", id)
		return err
	})
}
