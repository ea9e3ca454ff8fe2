package subscribe

import (
	"context"
	"iter"
	"sync"

	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/memory"
)

// SetDisk makes the cache folder use another file system from now on.
func (s *Subscriber) SetDisk(disk cachedir.Disk) { s.cache.SetDisk(disk) }

// SetBootID sets the id of the machine's boot for subscribers that are opened from now on.
func SetBootID(id string) { bootID = func() string { return id } }

// OnDisk returns cfg with a cache folder on the disk.
func OnDisk(cfg Config, disk cachedir.Disk) Config {
	cfg.disk = &disk
	return cfg
}

// Guarded returns an Observer that calls the functions of o and passes their panics to panicked.
func Guarded(o Observer, panicked func(error)) Observer {
	return guardedObserver(o, func(_ event, err error) { panicked(err) })
}

// WithMemory returns cfg with another answer to how much memory is left.
func WithMemory(cfg Config, left func() (bytes int64, err error)) Config {
	cfg.memoryLeft = func() (memory.Room, error) {
		bytes, err := left()
		return memory.Room{Bytes: bytes, Limit: "a test"}, err
	}
	return cfg
}

// KeepIndexes returns a function that makes the dataset answer from its indexes of now again, as if no newer ones were complete, and returns a
// function that ends that.
func KeepIndexes(d *Dataset) (again func() (end func())) {
	old := d.indexes.current.Load()
	return func() func() {
		newest := d.indexes.current.Swap(old)
		return func() {
			d.indexes.current.Store(newest)
			d.swapped.Wake()
		}
	}
}

// HoldCPULane holds the building of indexes until release is called. The subscriber's own lane passes a place on that is held for long.
func HoldCPULane(s *Subscriber) (release func()) {
	l := lane.New(lane.Config{Name: "cpu", Width: 1})
	_, leave, err := l.Enter(context.Background())
	if err != nil {
		panic(err)
	}
	heldLanes.Store(s, l)
	return sync.OnceFunc(func() { heldLanes.Delete(s); leave() })
}

// heldLanes has the lanes of HoldCPULane by subscriber.
var heldLanes sync.Map

func init() {
	usual := cpuLane
	cpuLane = func(s *Subscriber) *lane.Lane {
		if l, ok := heldLanes.Load(s); ok {
			return l.(*lane.Lane)
		}
		return usual(s)
	}
}

// Brief returns the changes of a swap as the indexes read them.
func Brief(ctx context.Context, s Swap) iter.Seq[Change] { return s.brief(ctx) }
