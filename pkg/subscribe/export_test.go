package subscribe

import "freshet.dev/pkg/subscribe/internal/cachedir"

// SetDisk has the cache folder use another file system from now on.
func (s *Subscriber) SetDisk(disk cachedir.Disk) { s.cache.SetDisk(disk) }

// SetBootID has subscribers that are opened from now on take id for that of the machine's boot.
func SetBootID(id string) { bootID = func() string { return id } }

// OnDisk returns cfg with a cache folder on the disk.
func OnDisk(cfg Config, disk cachedir.Disk) Config {
	cfg.disk = &disk
	return cfg
}
