package subscribe_test

import (
	"maps"

	"freshet.dev/pkg/subscribe"
)

// follower is a callback that keeps the records which the changes lead to.
type follower struct {
	mirror
	gate chan struct{} // is received from before each call
	open bool
	last *subscribe.Swap
}

// hold holds the callback up, or lets it go on.
func (f *follower) hold(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case on && f.open:
		f.gate = make(chan struct{})
	case !on && !f.open:
		close(f.gate)
	}
	f.open = !on
}

// take checks and follows a swap.
func (f *follower) take(i *mergedInstance, swap subscribe.Swap) {
	f.mu.Lock()
	gate := f.gate
	f.mu.Unlock()
	<-gate
	if swap.Record.Version != swap.New.Version() || swap.Record.VersionID() != swap.ID || swap.Record.State != swap.New.State() {
		f.t.Errorf("%s: a swap to version %d with the record of %s, id %s", i.cfg.Instance, swap.New.Version(), swap.Record.ID(), swap.ID)
	}
	switch {
	case !swap.Replayed && (f.last == nil) != (swap.Old == nil), !swap.Replayed && f.last != nil && swap.Old != f.last.New:
		f.t.Errorf("%s: a swap to version %d does not follow on the one before", i.cfg.Instance, swap.New.Version())
	case swap.Replayed: // changes may come again
		f.mu.Lock()
		if swap.Old == nil {
			f.all = records{}
		} else {
			for c := range swap.Changes() {
				delete(f.all, string(c.Key))
				if c.Op != subscribe.Removed {
					f.all[string(c.Key)] = string(c.New)
				}
			}
			if !maps.Equal(f.all, content(swap.New)) {
				f.t.Errorf("%s: the changes of a replay since version %d lead elsewhere than to version %d", i.cfg.Instance, swap.Old.Version(), swap.New.Version())
			}
			f.version = swap.New.Version()
		}
		f.mu.Unlock()
	}
	if !swap.Replayed || swap.Old == nil {
		f.swap(swap)
	}
	f.last = &swap
}

func (f *follower) records() records {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.all)
}
