package wire

import "time"

// SetNear sets the round trip up to which clients are near.
func (s *Sockets) SetNear(d time.Duration) { s.near = d }
