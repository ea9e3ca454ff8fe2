package tracking

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// sink is a client that drops its pushes.
type sink struct{ bytes atomic.Int64 }

func (*sink) Protocol() int { return 3 }

func (s *sink) Push(b []byte) bool {
	s.bytes.Add(int64(len(b)))
	return true
}

func tracking(tracker *Tracker, command ...string) *Session {
	s := tracker.Register(&sink{})
	args := [][]byte{[]byte("client"), []byte("tracking"), []byte("on")}
	for _, a := range command {
		args = append(args, []byte(a))
	}
	s.Command(nil, args)
	return s
}

func bytesOf(keys []string) [][]byte {
	b := make([][]byte, len(keys))
	for i, k := range keys {
		b[i] = []byte(k)
	}
	return b
}

// BenchmarkRead compares what Read costs a client that does not track, one that reads a key again, one whose keys are new, and one whose keys
// make others fall out, with a map behind one mutex.
func BenchmarkRead(b *testing.B) {
	keys := bytesOf(numbered("cities:0000000", 100_000))
	run := func(name string, limit int, tracks bool) {
		b.Run(name, func(b *testing.B) {
			tracker := newTracker(b, limit, "cities")
			s := tracker.Register(&sink{})
			if tracks {
				s = tracking(tracker)
			}
			i := 0
			for b.Loop() {
				if i++; s.Tracking() {
					s.Read(keys[i%len(keys)])
				}
			}
		})
	}
	run("off", 1<<20, false)
	run("tracked", 1<<20, true)
	run("evicting", 10_000, true)
	b.Run("mutex-and-map", func(b *testing.B) {
		var mu sync.Mutex
		m := make(map[string]map[*sink]struct{})
		s := &sink{}
		i := 0
		for b.Loop() {
			i++
			key := keys[i%len(keys)]
			mu.Lock()
			clients := m[string(key)]
			if clients == nil {
				clients = make(map[*sink]struct{})
				m[string(key)] = clients
			}
			clients[s] = struct{}{}
			mu.Unlock()
		}
	})
}

// BenchmarkChanged is the cost of one change with 100,000 tracked keys of 1,000 clients, 100 each, for changes that clients have read, for others, and
// with clients in BCAST mode; and of one that nothing tracks.
func BenchmarkChanged(b *testing.B) {
	const clients, each = 1000, 100
	read := numbered("0000000", clients*each)
	full, keys, others := bytesOf(numbered("cities:0000000", len(read))), bytesOf(read), bytesOf(numbered("other00", len(read)))
	walk := func(b *testing.B, tracker *Tracker, keys [][]byte, again func()) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			if n += len(keys); again != nil {
				b.StopTimer()
				again()
				b.StartTimer()
			}
			tracker.Changed(b.Context(), "cities", func(yield func([]byte) bool) {
				for _, k := range keys {
					if !yield(k) {
						return
					}
				}
			})
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/change")
	}
	fill := func(tracker *Tracker, sessions []*Session) {
		for i, k := range full {
			sessions[i%clients].Read(k)
		}
	}
	open := func(tracker *Tracker, command ...string) []*Session {
		sessions := make([]*Session, clients)
		for i := range sessions {
			sessions[i] = tracking(tracker, command...)
		}
		return sessions
	}
	b.Run("off", func(b *testing.B) { walk(b, newTracker(b, 1<<20, "cities"), keys, nil) })
	b.Run("read", func(b *testing.B) {
		tracker := newTracker(b, 1<<20, "cities")
		sessions := open(tracker)
		walk(b, tracker, keys, func() { fill(tracker, sessions) })
	})
	b.Run("not-read", func(b *testing.B) {
		tracker := newTracker(b, 1<<20, "cities")
		fill(tracker, open(tracker))
		walk(b, tracker, others, nil)
	})
	b.Run("bcast-1-prefix", func(b *testing.B) { // each change goes to 1,000 clients
		tracker := newTracker(b, 1<<20, "cities")
		open(tracker, "bcast", "prefix", "cities:")
		walk(b, tracker, keys[:5000], nil)
	})
	b.Run("bcast-1000-prefixes", func(b *testing.B) {
		tracker := newTracker(b, 1<<20, "cities")
		for i := range clients {
			tracking(tracker, "bcast", "prefix", fmt.Sprintf("cities:0000000%03d", i))
		}
		walk(b, tracker, keys, nil)
	})
}

// BenchmarkTrackedKeyMemory reports the bytes of a tracked key of 16 bytes, for one client and for each of further ones.
func BenchmarkTrackedKeyMemory(b *testing.B) {
	const n = 500_000
	for b.Loop() {
		tracker := newTracker(b, 10*n, "cities")
		a, others := tracking(tracker), []*Session{tracking(tracker), tracking(tracker), tracking(tracker)}
		heap := func() float64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return float64(m.HeapAlloc)
		}
		key := []byte("cities:0123456789abcdef")
		each := func(s *Session) {
			for i := range n {
				copy(key[7:], fmt.Sprintf("%016x", uint64(i)*0x9e3779b97f4a7c15))
				s.Read(key)
			}
		}
		before := heap()
		each(a)
		one := heap()
		for _, s := range others {
			each(s)
		}
		b.ReportMetric((one-before)/n, "B/key")
		b.ReportMetric((heap()-one)/n/float64(len(others)), "B/further-client")
		runtime.KeepAlive(tracker)
	}
}
