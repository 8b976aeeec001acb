package sim

import (
	"fmt"
	"slices"

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
	chain  sched.PrefixHashes
	state  jobState
	result outcome
	gone   bool // its client went away

	server *server
	slot   int
	warm   int // bytes
	unread int // tokens of the prompt

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
	idle    []*server // that may begin an iteration at this moment
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
	e.source = newSource(o)
	for range o.Devices {
		e.devices = append(e.devices, &device{})
	}
	list := p.servers(o)
	for i, kind := range list {
		e.servers = append(e.servers, newServer(i, e.devices[i*o.Devices/len(list)], kind, o))
	}
	return e, nil
}

// run goes from event to event. All that happens at one moment happens before
// the policy decides, and only then do servers begin their next iteration.
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
			e.iterate(s)
		}
	}
	if !e.opts.Drain {
		e.now = e.end
	}
	return nil
}

func newSource(o *Options) source {
	switch {
	case len(o.Trace) > 0 && o.TraceClients > 0:
		return &relay{rest: o.Trace, clients: o.TraceClients}
	case len(o.Trace) > 0:
		return newReplay(o.Trace)
	}
	return newStreams(o)
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
	case samples:
		e.token(ev.job)
	case iterated:
		e.iterated(ev.server)
	case wakes:
		e.changed = e.changed || ev.at == e.wakeAt
	}
}

func (e *engine) arrive(r Request) {
	for _, n := range e.source.next(r) {
		e.schedule(n)
	}
	j := &job{
		Request: r, ticket: sched.Ticket(len(e.jobs) + 1), chain: e.chains.of(&r),
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
		j.gone = true // at the end of the iteration, or of what it waits for
		if s := j.server; j.begun < 0 && slices.Contains(s.jobs, j) {
			s.remove(j)
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

// place sends a request to its server, after the calls that it takes to drop KV and
// to put its adapter in force.
func (e *engine) place(p placement) {
	j, s := p.job, e.servers[p.server]
	j.state, j.server, j.slot, j.warm = placedState, s, p.slot, p.warm
	j.unread = max(1, j.PromptTokens-j.warm/bytesPerToken) // the last token is always read
	took := s.costs.Call + Seconds(p.erase)*s.costs.Erase
	if p.swap {
		s.ready = e.now + (took + s.costs.Call).time()
		e.rec.swap(s, j, e.now, s.ready+s.costs.Change.time())
	}
	e.events.add(event{at: max(e.now+took.time(), s.ready), kind: joins, job: j})
}

// join hands a request to its server.
func (e *engine) join(j *job) {
	if j.gone {
		e.finish(j, cancelled)
		return
	}
	j.server.add(j)
	e.wake(j.server)
}

// wake has a server begin an iteration, once all of this moment has happened.
func (e *engine) wake(s *server) {
	if !s.queued && !s.busy {
		s.queued = true
		e.idle = append(e.idle, s)
	}
}

func (e *engine) iterate(s *server) {
	if !s.begin() {
		return
	}
	it := &s.present
	if s.raw && it.changed {
		e.rec.turn(s.adapter)
	}
	for _, r := range it.reading {
		if j := r.job; j.begun < 0 {
			j.begun = e.now
			e.rec.begin(j, e.now)
			s.hold(j.slot, j.PromptTokens+j.AnswerTokens)
		}
	}
	s.busy = true
	s.device.begin(e.now)
	n, w := max(1, len(it.sampled)), s.work()
	took := w.alone() + e.opts.beside(&s.costs, n, s.device.busy, w.rest)
	end := e.now + max(1, Seconds(took).time())
	// Tokens are drawn one after the other, slot by slot, at the iteration's end.
	each := Seconds(s.costs.sampling(n) * took / w.alone()).time()
	for i, j := range it.sampled {
		e.events.add(event{at: max(e.now, end-each*sched.Time(n-1-i)), kind: samples, job: j})
	}
	e.events.add(event{at: end, kind: iterated, server: s})
}

func (e *engine) iterated(s *server) {
	s.busy = false
	s.device.end(e.now)
	for _, r := range s.present.reading {
		r.job.unread -= r.tokens
		if r.job.gone && r.job.state != isDone {
			e.complete(r.job, cancelled)
		}
	}
	e.wake(s)
}

// token gives a request its next token.
func (e *engine) token(j *job) {
	j.tokens++
	e.rec.token(j)
	if j.first < 0 {
		j.first = e.now
	}
	switch {
	case j.tokens >= j.AnswerTokens:
		e.complete(j, finished)
	case j.gone:
		e.complete(j, cancelled)
	}
}

func (e *engine) complete(j *job, how outcome) {
	j.server.remove(j)
	e.finish(j, how)
}
