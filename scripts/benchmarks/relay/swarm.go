package relay

import "time"

// swarmThreads is how many threads pull: as many as the servers may use processors.
const swarmThreads = 2

// swarm is a number of clients that pull one object at the same time, as cheaply as sockets allow.
type swarm struct {
	Addr, Path string
	Bytes      int64 // of the object
	Clients    int
	// Window, if not 0, lets each client pull again and again, and counts what comes within it, once every client
	// has been served. Else each client pulls once.
	Window time.Duration
	// Stop, if not 0, is how many bytes each client reads before it reads no more. The swarm ends when all have stopped, and
	// Hold has passed.
	Stop int64
	Hold time.Duration
}

// haul is what a swarm got.
type haul struct {
	Bytes, Nanoseconds int64
	Whole              int64 // answers that came whole
}

// perSecond returns bytes a second.
func (h haul) perSecond() float64 { return float64(h.Bytes) / (float64(h.Nanoseconds) / 1e9) }
