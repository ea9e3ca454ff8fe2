package subscribe

import (
	"context"

	"freshet.dev/pkg/internal/wake"
	"freshet.dev/pkg/subscribe/internal/bootguard"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/load"
)

// openCache opens and cleans the cache folder, and stops waiting if the folder hangs or ctx ends. Failures are only logged,
// because a subscriber works without the folder. openCache sets readable whenever the folder has stopped hanging.
func (s *Subscriber) openCache(ctx context.Context, readable wake.Signal) {
	if s.cfg.CacheDir == "" {
		return
	}
	s.cache = cachedir.New(s.cfg.CacheDir)
	if s.cfg.disk != nil {
		s.cache.SetDisk(*s.cfg.disk)
	}
	s.guard = bootguard.New(s.cache, s.cfg.Datasets, s.cfg.ConfirmAfter, bootID())
	s.guard.Died = s.died
	s.shortener = load.NewShortener(s.cache)
	s.shortener.Lane = s.lanes.CPU
	s.cache.Watch(func(err error) {
		if err != nil {
			s.cfg.Log.Error("the cache folder hangs; versions bypass it until its disk answers", "dir", s.cfg.CacheDir, "error", err)
			return
		}
		s.cfg.Log.Info("the cache folder no longer hangs and is used again", "dir", s.cfg.CacheDir)
		s.shortener.Wake()
		readable.Set()
	})
	cleaned := make(chan error, 1)
	go func() { cleaned <- s.cache.Clean(s.cfg.Datasets) }()
	var err error
	select {
	case err = <-cleaned:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		s.cfg.Log.Warn("the cache folder cannot be used for now; a restart may have to wait for the relays", "dir", s.cfg.CacheDir, "error", err)
	}
}
