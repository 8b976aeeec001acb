package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/loragate/loragate/internal/sched"
	"github.com/loragate/loragate/internal/sched/world"
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
	in     *world.Job // nil if it was refused
	result outcome
	gone   bool // its client went away

	server *server // nil while it waits
	slot   int
	warm   int // bytes
	unread int // tokens of the prompt

	tokens       int        // generated
	begun        sched.Time // its prompt, or -1
	first, ended sched.Time // its first token, its end; -1

	seen overtaking
}

// engine runs one policy through one load, in a world whose workers are modelled
// llama-servers.
type engine struct {
	*world.World
	opts    *Options
	end     sched.Time // of arrivals, and of the run unless it drains
	policy  policy
	ours    bool // the policy is the gateway's
	source  source
	chains  chains
	devices []*device
	servers []*server
	idle    []*server // that may begin an iteration at this moment
	jobs    []*job    // by ticket, from 1 on
	open    int       // requests that are to arrive, wait or run
	rec     *recorder
	clock   *stopwatch
	err     error
}

func newEngine(name string, o *Options) (*engine, error) {
	c, err := newContest(name, o)
	if err != nil {
		return nil, err
	}
	e := &engine{
		opts: o, policy: c.policy, ours: name == Ours, source: newSource(o), chains: chains{}, clock: &stopwatch{},
		end: o.Seconds.time(), rec: newRecorder(o.Timeline),
	}
	e.World = world.New(timed{c.policy, e.clock}, func(format string, args ...any) {
		e.err = fmt.Errorf("at %v the policy %s", e.Now(), fmt.Sprintf(format, args...))
	})
	e.OnPlace, e.OnProcess = e.place, e.process
	e.OnSettled = func() { e.rec.sample(e.Now(), c.Waiting()) }
	e.OnStart = func(int, []sched.File) time.Duration { return o.Start.time() }
	e.OnCome = e.come
	for range o.Devices {
		e.devices = append(e.devices, &device{id: len(e.devices)})
	}
	for i, kind := range c.servers {
		e.Mixed = kind.raw
		e.servers = append(e.servers, newServer(i, e.devices[min(i, c.up-1)*o.Devices/c.up], kind, o))
	}
	for i := range c.up {
		e.Plan(i)
		e.come(i)
	}
	return e, nil
}

// run goes from event to event. All that happens at one moment happens before
// the policy decides, and only then do servers begin their next iteration.
func (e *engine) run() error {
	for _, r := range e.source.first() {
		e.schedule(r)
	}
	for e.goesOn() && e.Step() {
		for len(e.idle) > 0 {
			s := e.idle[len(e.idle)-1]
			e.idle = e.idle[:len(e.idle)-1]
			s.queued = false
			e.iterate(s)
		}
	}
	if e.err == nil && !e.opts.Drain {
		e.Pass(e.end - e.Now())
	}
	return e.err
}

func (e *engine) goesOn() bool {
	if e.opts.Drain {
		return e.open > 0
	}
	return e.Next() <= e.end
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
		e.open++
		e.At(at, func() { e.arrive(r) })
	}
}

func (e *engine) arrive(r Request) {
	for _, n := range e.source.next(r) {
		e.schedule(n)
	}
	j := &job{Request: r, begun: -1, first: -1, ended: -1}
	e.jobs = append(e.jobs, j)
	e.rec.arrive(j, e.Now())
	in, evicted := e.Arrive(e.ask(&r))
	j.in = in
	if evicted != nil {
		e.over(e.jobs[evicted.Ticket-1], rejected)
	}
	if in == nil {
		e.over(j, rejected)
		return
	}
	if j.CancelAfter > 0 {
		e.At(e.Now()+j.CancelAfter.time(), func() { e.cancel(j) })
	}
}

// ask puts a request into the scheduler's words.
func (e *engine) ask(r *Request) sched.Request {
	q := sched.Request{
		Identity: sched.Identity(r.Adapter), PrefixHashes: e.chains.of(r), Exclusive: e.ours && r.Whole,
		Weight: r.Weight, MaxConcurrency: r.MaxConcurrency,
		Namespace: r.Tenant, NamespaceWeight: r.TenantWeight, Priority: r.Priority,
	}
	if e.ours && e.opts.bounded() && r.Adapter != "" {
		q.Files = []sched.File{sched.File(r.Adapter)}
	}
	return q
}

func (e *engine) cancel(j *job) {
	switch {
	case j.ended >= 0:
	case j.server == nil:
		e.Leave(j.in)
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
	j.result, j.ended = how, e.Now()
	e.open--
	e.rec.end(j, e.Now())
	next, ok := e.source.ended(j.Request, e.Now())
	if !ok {
		return
	}
	if how == rejected { // clients do as Retry-After says
		next.At += seconds(max(e.policy.RetryAfter(e.Now()), minRetry))
	}
	e.schedule(next)
}

// minRetry is the least that clients wait after a refusal.
const minRetry = sched.Time(1e9)

func (e *engine) finish(j *job, how outcome) {
	e.Finish(j.in, e.usage(j))
	e.over(j, how)
	e.wake(j.server)
}

// usage is what llama-server tells of a request that ends now.
func (e *engine) usage(j *job) sched.Usage {
	u := sched.Usage{Completion: j.tokens}
	if j.tokens > 0 {
		u.Prompt, u.Cached = j.PromptTokens, j.PromptTokens-max(1, j.PromptTokens-j.warm/bytesPerToken)
	}
	if j.tokens >= j.AnswerTokens { // of one that was cut off llama-server tells no times
		u.Reading, u.Generating = j.first-j.begun, e.Now()-j.first
	}
	return u
}

// come has a server serve that has started.
func (e *engine) come(id int) {
	s := e.servers[id]
	s.reset()
	e.Up(id, len(s.held), fmt.Sprint("device", s.device.id))
}

// process counts a reload; a process that replaces another is on its device.
func (e *engine) process(a sched.Action) {
	switch a.Kind {
	case sched.Start:
		e.servers[a.Worker].device = e.servers[a.InPlaceOf].device
		e.rec.reloads++
	case sched.Reload:
		e.rec.reloads++
	}
}

// place sends a request to its server, after the calls that it takes to drop KV and
// to put its adapter in force.
func (e *engine) place(in *world.Job, a sched.Action) {
	j, s := e.jobs[in.Ticket-1], e.servers[a.Worker]
	j.server, j.slot, j.warm = s, max(0, a.Slot), a.Warm
	j.unread = max(1, j.PromptTokens-j.warm/bytesPerToken) // the last token is always read
	took := s.costs.Call + Seconds(len(a.Erase))*s.costs.Erase
	if a.Kind == sched.Swap {
		s.ready = e.Now() + (took + s.costs.Call).time()
		e.rec.swap(s, j, e.Now(), s.ready+s.costs.Change.time())
	}
	e.At(max(e.Now()+took.time(), s.ready), func() { e.join(j) })
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
			j.begun = e.Now()
			e.rec.begin(j, e.Now())
			s.hold(j.slot, j.PromptTokens+j.AnswerTokens)
		}
	}
	s.busy = true
	s.device.begin(e.Now())
	n, w := max(1, len(it.sampled)), s.work()
	took := w.alone() + e.opts.beside(&s.costs, n, s.device.busy, w.rest)
	end := e.Now() + max(1, Seconds(took).time())
	// Tokens are drawn one after the other, slot by slot, at the iteration's end.
	each := Seconds(s.costs.sampling(n) * took / w.alone()).time()
	for i, j := range it.sampled {
		e.At(end-each*sched.Time(n-1-i), func() { e.token(j) })
	}
	e.At(end, func() { e.iterated(s) })
}

func (e *engine) iterated(s *server) {
	s.busy = false
	s.device.end(e.Now())
	for _, r := range s.present.reading {
		r.job.unread -= r.tokens
		if r.job.gone && r.job.ended < 0 {
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
		j.first = e.Now()
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
