package subscribe

import "freshet.dev/pkg/subscribe/internal/cachedir"

// SetDisk has the cache folder use another file system from now on.
func (s *Subscriber) SetDisk(disk cachedir.Disk) { s.cache.SetDisk(disk) }
