package sched

import (
	"math"
	"time"

	"github.com/loragate/loragate/internal/sched/task"
)

// pace is how fast things go, smoothed.
type pace struct {
	rate       float64       // tokens a second of a worker's turn
	usualDrain time.Duration // how long the requests of a flow that lost its workers take to end
	finished   finishRate
}

// smoothingFactor is the share of the newest value in one that is smoothed.
const smoothingFactor = 0.2

// endTurn takes the speed of a turn whose last request has finished into account.
func (p *pace) endTurn(began task.Time, tokens float64, now task.Time) {
	took := (now - began).Seconds()
	if took <= 0 || tokens == 0 {
		return
	}
	rate := tokens / took
	if p.rate == 0 {
		p.rate = rate
	}
	p.rate += smoothingFactor * (rate - p.rate)
}

// finishRate is how many requests finish a second, of late.
type finishRate struct {
	value float64
	last  task.Time
}

// finishWindow is the time in which an old request counts for 1/e.
const finishWindow = 10 * time.Second

func (r *finishRate) decay(now task.Time) {
	r.value *= math.Exp(-float64(now-r.last) / float64(finishWindow))
	r.last = now
}

func (r *finishRate) count(now task.Time) {
	r.decay(now)
	r.value++
}

func (r *finishRate) perSecond(now task.Time) float64 {
	r.decay(now)
	return r.value / finishWindow.Seconds()
}
