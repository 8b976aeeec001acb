package gateway

import (
	"fmt"

	"github.com/loragate/loragate/internal/admin"
	"github.com/loragate/loragate/internal/pool"
)

// adminPool shows the pool to the admin API, in its words.
type adminPool struct{ *pool.Pool }

// Files implements admin.Pool.
func (p adminPool) Files() map[string]admin.FileView {
	views := make(map[string]admin.FileView)
	for file, v := range p.Pool.Files() {
		views[string(file)] = admin.FileView(v)
	}
	return views
}

// Workers implements admin.Pool.
func (p adminPool) Workers() []admin.WorkerView {
	var views []admin.WorkerView
	for id, w := range p.Stats().Workers {
		views = append(views, admin.WorkerView{ID: id, Drained: w.Drained})
	}
	return views
}

// Drain implements admin.Pool.
func (p adminPool) Drain(id int) error { return p.drain(id, true) }

// Resume implements admin.Pool.
func (p adminPool) Resume(id int) error { return p.drain(id, false) }

func (p adminPool) drain(id int, drained bool) error {
	if !p.Pool.Drain(id, drained) {
		return fmt.Errorf("there is no worker %d", id)
	}
	return nil
}

// Restart implements admin.Pool.
func (p adminPool) Restart(id int) error {
	if !p.Pool.Restart(id) {
		return fmt.Errorf("worker %d is not up: %w", id, admin.ErrConflict)
	}
	return nil
}
