package relay

import "time"

// swarmThreads is how many threads pull: as many as the servers may use processors.
const swarmThreads = 2

// swarm is a number of clients that pull one object at the same time, as cheaply as sockets allow.
type swarm struct {
	Addr, Path string
	Bytes      int64 // of the object
	Clients    int
	// Window, if not 0, makes each client pull repeatedly; bytes count within a window that begins once every client has
	// received some. Otherwise each client pulls once.
	Window time.Duration
	// Stop, if not 0, is how many bytes each client reads. The swarm ends when all clients have read them and Hold has
	// passed.
	Stop int64
	Hold time.Duration
}

// haul is what a swarm received.
type haul struct {
	Bytes, Nanoseconds int64
	Whole              int64 // whole answers
}

// perSecond returns bytes a second.
func (h haul) perSecond() float64 { return float64(h.Bytes) / (float64(h.Nanoseconds) / 1e9) }
