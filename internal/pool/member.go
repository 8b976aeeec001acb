package pool

import "time"

// member is one worker of the pool through all its restarts.
type member struct {
	id     int
	device string
	gen    uint64 // counts the processes; what concerns an older one is void
	over   bool   // it has no process any more, and none again
	up     Runner // nil while there is none that can serve

	suspect   bool      // it broke a request off and has given no sign of life since
	stalled   bool      // its main loop does not answer at the moment
	held      bool      // another of its device failed, and may have taken it along
	since     time.Time // when its process was ready
	swapping  bool
	preparing []*Lease // placed and not yet granted, in order

	ended chan struct{} // closed when its process is to end
	begin chan struct{} // receives when a member without a process is to have one

	suspicion string    // why its last start failed, if files may be to blame
	unstarted int       // processes in a row that did not come up
	restart   time.Time // when it is started again, while it is down and pauses
	restarts  int
}
