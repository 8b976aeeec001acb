package sim

import (
	"fmt"

	"github.com/loragate/loragate/internal/sched"
)

type jobState int

const (
	waits       jobState = iota // in the policy's queue
	placedState                 // in a slot, or on its way there
	isDone                      // its client has what it gets
)

type outcome int

const (
	unfinished outcome = iota
	finished
	cancelled
	rejected // or pushed out of the queue
)

// job is one request on its way.
type job struct {
	Request
	ticket sched.Ticket
	chain  sched.Chain
	model  *Model
	state  jobState
	result outcome
	gone   bool // its client went away

	server *server
	slot   int
	warm   int // bytes

	tokens       int        // generated
	begun        sched.Time // its prompt, or -1
	first, ended sched.Time // its first token, its end; -1

	seen overtaking
}

// engine runs one policy through one load.
type engine struct {
	opts    *Options
	now     sched.Time
	end     sched.Time // of arrivals, and of the run unless it drains
	events  eventQueue
	policy  policy
	source  source
	chains  chains
	devices []*device
	servers []*server
	idle    []*server // that may begin a step at this moment
	wakeAt  sched.Time
	changed bool // since the last decision
	jobs    []*job
	rec     *recorder
	clock   *stopwatch
}

func newEngine(name string, o *Options) (*engine, error) {
	p, err := newPolicy(name, o)
	if err != nil {
		return nil, err
	}
	e := &engine{
		opts: o, policy: p, chains: chains{}, wakeAt: sched.Never, clock: &stopwatch{},
		end: o.Seconds.time(), rec: newRecorder(o.Timeline),
	}
	if len(o.Trace) > 0 {
		e.source = newReplay(o.Trace)
	} else {
		e.source = newStreams(o)
	}
	for range o.Devices {
		e.devices = append(e.devices, &device{})
	}
	count, slots, raw := p.servers(o)
	for i := range count {
		d := i // a raw server has a device for itself
		if !raw {
			d = o.deviceOf(i)
		}
		e.servers = append(e.servers, &server{id: i, device: e.devices[d], slots: slots, raw: raw})
	}
	return e, nil
}

// run goes from event to event. All that happens at one moment happens before
// the policy decides, and only then do servers begin their next step.
func (e *engine) run() error {
	for _, r := range e.source.first() {
		e.schedule(r)
	}
	for {
		at := e.events.at()
		if at == sched.Never || at > e.end && !e.opts.Drain {
			break
		}
		if at < e.now {
			return fmt.Errorf("time runs backwards from %v to %v", e.now, at)
		}
		e.now = at
		for e.events.at() == at {
			e.handle(e.events.next())
		}
		if e.changed {
			if err := e.decide(); err != nil {
				return err
			}
		}
		for len(e.idle) > 0 {
			s := e.idle[len(e.idle)-1]
			e.idle = e.idle[:len(e.idle)-1]
			s.queued = false
			e.step(s)
		}
	}
	if !e.opts.Drain {
		e.now = e.end
	}
	return nil
}

func (e *engine) schedule(r Request) {
	if at := r.At.time(); at <= e.end || len(e.opts.Trace) > 0 {
		e.events.add(event{at: at, kind: arrives, req: r})
	}
}

func (e *engine) handle(ev *event) {
	switch ev.kind {
	case arrives:
		e.arrive(ev.req)
	case cancels:
		e.cancel(ev.job)
	case joins:
		e.join(ev.job)
	case stepped:
		e.stepped(ev.server)
	case wakes:
		e.changed = e.changed || ev.at == e.wakeAt
	}
}

func (e *engine) arrive(r Request) {
	for _, n := range e.source.next(r) {
		e.schedule(n)
	}
	j := &job{
		Request: r, ticket: sched.Ticket(len(e.jobs) + 1), chain: e.chains.of(&r), model: &e.opts.Model,
		begun: -1, first: -1, ended: -1,
	}
	e.jobs = append(e.jobs, j)
	e.changed = true
	e.rec.arrive(j, e.now)
	stop := e.clock.start()
	evicted, admitted := e.policy.arrive(j, e.now)
	stop()
	if evicted != nil {
		e.over(evicted, rejected)
	}
	if !admitted {
		e.over(j, rejected)
		return
	}
	if j.CancelAfter > 0 {
		e.events.add(event{at: e.now + j.CancelAfter.time(), kind: cancels, job: j})
	}
}

func (e *engine) cancel(j *job) {
	switch {
	case j.state == isDone:
	case j.state == waits:
		e.changed = true
		j.state = isDone // queues pass over it
		e.policy.leave(j, e.now)
		e.over(j, cancelled)
	default:
		j.gone = true // at the end of the step, or of what it waits for
		if j.server.drop(j) {
			e.finish(j, cancelled)
		}
	}
}

// over ends a request for its client.
func (e *engine) over(j *job, how outcome) {
	j.state, j.result, j.ended = isDone, how, e.now
	e.rec.end(j, e.now)
	next, ok := e.source.ended(j.Request, e.now)
	if !ok {
		return
	}
	if how == rejected { // clients do as Retry-After says
		next.At += seconds(max(e.policy.retryAfter(e.now), minRetry))
	}
	e.schedule(next)
}

// minRetry is the least that clients wait after a refusal.
const minRetry = sched.Time(1e9)

func (e *engine) finish(j *job, how outcome) {
	e.changed = true
	stop := e.clock.start()
	e.policy.finish(j, e.now)
	stop()
	e.over(j, how)
	e.wake(j.server)
}

// decide asks the policy and carries out what it says.
func (e *engine) decide() error {
	e.changed = false
	stop := e.clock.start()
	placed, wake := e.policy.decide(e.now)
	stop()
	e.clock.decided()
	for _, p := range placed {
		if p.job == nil {
			return fmt.Errorf("at %v the policy placed a request that does not wait", e.now)
		}
		e.place(p)
	}
	if wake != e.wakeAt && wake != sched.Never && wake > e.now {
		e.events.add(event{at: wake, kind: wakes})
	}
	e.wakeAt = wake
	e.rec.sample(e.now, e.policy.waiting())
	return nil
}

func (e *engine) place(p placement) {
	j, s := p.job, e.servers[p.server]
	j.state, j.server, j.slot, j.warm = placedState, s, p.slot, p.warm
	if p.swap {
		s.ready = e.now + e.opts.Model.Swap.time()
		e.rec.swap(s, j, e.now, s.ready)
	}
	at := max(e.now, s.ready) + sched.Time(p.erase)*e.opts.Model.Erase.time()
	if at == e.now {
		e.join(j)
		return
	}
	e.events.add(event{at: at, kind: joins, job: j})
}

// join hands a request to its server.
func (e *engine) join(j *job) {
	if j.gone {
		e.finish(j, cancelled)
		return
	}
	j.server.pending = append(j.server.pending, j)
	e.wake(j.server)
}

// wake has a server begin a step, once all of this moment has happened.
func (e *engine) wake(s *server) {
	if !s.queued && !s.inStep {
		s.queued = true
		e.idle = append(e.idle, s)
	}
}

func (e *engine) step(s *server) {
	begun, takenUp := s.admit()
	for _, a := range takenUp {
		e.rec.turn(a)
	}
	for _, j := range begun {
		j.begun = e.now
		e.rec.begin(j, e.now)
	}
	if len(s.active) == 0 {
		return
	}
	s.inStep = true
	s.device.begin(e.now)
	took := s.step(&e.opts.Model) * e.opts.Model.slowdown(s.device.busy)
	e.events.add(event{at: e.now + max(1, Seconds(took).time()), kind: stepped, server: s})
}

func (e *engine) stepped(s *server) {
	s.inStep = false
	s.device.end(e.now)
	for _, j := range s.batch {
		j.tokens++
		e.rec.token(j)
		if j.first < 0 {
			j.first = e.now
		}
		switch {
		case j.tokens >= j.AnswerTokens:
			s.end(j)
			e.finish(j, finished)
		case j.gone:
			s.end(j)
			e.finish(j, cancelled)
		}
	}
	e.wake(s)
}
