package admin

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/adminapi"
)

// workers returns all workers as they are now.
func (a *api) workers() []adminapi.Worker {
	workers := stateOf(a.opts.Metrics.State()).Workers
	a.markDrained(workers)
	return workers
}

// markDrained adds what only the pool knows.
func (a *api) markDrained(workers []adminapi.Worker) {
	if a.opts.Pool == nil {
		return
	}
	drained := make(map[int]bool)
	for _, v := range a.opts.Pool.Workers() {
		drained[v.ID] = v.Drained
	}
	for i := range workers {
		workers[i].Drained = drained[workers[i].ID]
	}
}

func (a *api) listWorkers(c echo.Context) error {
	return writeJSON(c, http.StatusOK, adminapi.Workers{Workers: a.workers()})
}

// worker returns one worker as it is now.
func (a *api) worker(id int) (adminapi.Worker, error) {
	workers := a.workers()
	i := slices.IndexFunc(workers, func(w adminapi.Worker) bool { return w.ID == id })
	if i < 0 {
		return adminapi.Worker{}, notFound("There is no worker %d.", id)
	}
	return workers[i], nil
}

// change returns the handler of one change of a worker.
func (a *api) change(do func(p Pool, id int) error) func(c echo.Context) error {
	return func(c echo.Context) error {
		id, err := workerID(c)
		if err != nil {
			return err
		}
		if _, err := a.worker(id); err != nil {
			return err
		}
		if err := do(a.opts.Pool, id); err != nil {
			return err
		}
		after, err := a.worker(id)
		if err != nil {
			return err
		}
		return writeJSON(c, http.StatusOK, after)
	}
}
