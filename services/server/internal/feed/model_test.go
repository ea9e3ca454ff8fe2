package feed_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/services/server/internal/feed"
)

// TestModel serves random versions, rollbacks, reloads with another order, restored stores, replays, deletes and versions that are not kept,
// to readers in both formats that disconnect, pause and come back. At each version a reader has exactly the version's records.
func TestModel(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, func(c *feed.Config) { c.Heartbeat = 5 * time.Millisecond; c.Ahead = time.Millisecond })
			m := &model{site: s, rand: rand.New(rand.NewPCG(seed, 1))}
			done, end := context.WithCancel(t.Context())
			defer end()
			m.done = done
			var readers sync.WaitGroup
			all := make([]*modelReader, 6)
			for i := range all {
				all[i] = &modelReader{model: m, rand: rand.New(rand.NewPCG(seed, uint64(i)+2)), format: []string{"sse", "ndjson"}[i%2]}
				if i >= 4 {
					all[i].prefix = "key-1"
				}
				readers.Go(all[i].run)
			}
			for range 150 {
				m.step()
			}
			end()
			readers.Wait()
			resumed, resets := 0, 0
			for _, r := range all {
				resumed, resets = resumed+r.resumed, resets+r.resets
			}
			t.Logf("%d resumed, %d resets", resumed, resets)
			if resumed == 0 || resets < len(all) {
				t.Errorf("the model is too tame")
			}
		})
	}
}

type model struct {
	*site
	rand    *rand.Rand
	records records
	number  uint64
	done    context.Context // ends when the last version is served
	applied atomic.Int64    // versions by all readers
	paused  atomic.Int64    // readers that wait for versions
}

// step changes what is served.
func (m *model) step() {
	switch m.rand.IntN(12) {
	case 0:
		m.seed++ // a full load with another order
	case 1:
		if m.number > 1 {
			m.number -= 1 + m.rand.Uint64N(min(m.number-1, 3)) // the store was restored
		}
	case 2:
		if len(m.history) > 0 { // a rollback
			m.records = maps.Clone(m.history[m.rand.IntN(len(m.history))].records)
		}
	case 3:
		m.forget()
	case 4:
		if m.now() != nil {
			m.replay()
		}
		return
	case 5:
		m.number++
		m.remove(m.number, "model")
		return
	case 6:
		m.records = make(records)
	}
	if m.records == nil {
		m.records = make(records)
	}
	for range []int{0, 1, 5, 40}[m.rand.IntN(4)] {
		key := fmt.Sprint("key-", m.rand.IntN(200))
		if m.rand.IntN(4) == 0 {
			delete(m.records, key)
			continue
		}
		m.records[key] = fmt.Sprintf(`{"n":%d,"pad":"%s"}`, m.rand.Uint64(), strings.Repeat("x", m.rand.IntN(3000)))
	}
	m.number++
	m.serve(m.number, m.records)
	if before := m.applied.Load(); m.rand.IntN(3) == 0 {
		until(m.t, "a reader to apply a version", func() bool { return m.applied.Load() > before || m.paused.Load() > 0 })
	}
}

// modelReader connects again and again, and resumes.
type modelReader struct {
	*model
	rand            *rand.Rand
	format, prefix  string
	resumed, resets int
}

func (r *modelReader) run() {
	m := &mirror{t: r.t, of: r.world, prefix: r.prefix, records: make(records), position: "0"}
	for last := false; !last; {
		last = r.done.Err() != nil
		if !last || !r.has(m) {
			r.connect(m, last)
		}
	}
	if !r.has(m) {
		r.t.Errorf("a reader ends at %s, version %s is served", m.position, r.now().ref())
	}
	r.resets = m.resets
}

// has reports whether the mirror has the served version.
func (r *modelReader) has(m *mirror) bool {
	now := r.now()
	return now != nil && m.position == fmt.Sprintf("%d@%s", now.rec.Version, now.id)
}

// connect reads events until the reader has enough, or if last is true until it has the served version.
func (r *modelReader) connect(m *mirror, last bool) {
	query := url.Values{"records": {"true"}, "from": {m.position}, "format": {r.format}}
	if r.prefix != "" {
		query.Set("prefix", r.prefix)
	}
	header := []string{}
	if r.format == "sse" { // as an EventSource
		query.Set("from", "0")
		header = append(header, "Last-Event-ID", m.position)
	}
	m.batch = nil // a batch without its version was not applied
	res, cut := r.open("?"+query.Encode(), header...)
	defer cut()
	if !last {
		defer context.AfterFunc(r.done, cut)()
	}
	events := 1 + r.rand.IntN(60)
	for e, err := range read(res) {
		if err != nil {
			if !errors.Is(err, errEnd) && r.done.Err() == nil {
				r.t.Errorf("read: %v", err)
			}
			return
		}
		m.take(e)
		if e.Event == "version" {
			r.applied.Add(1)
			if e.From != nil {
				r.resumed++
			}
		}
		if last && r.has(m) {
			return
		}
		if events--; events == 0 && !last {
			return
		}
		if r.rand.IntN(100) == 0 { // a slow reader
			more := r.versions() + r.rand.IntN(5)
			r.paused.Add(1)
			until(r.t, "versions", func() bool { return r.versions() >= more || r.done.Err() != nil })
			r.paused.Add(-1)
		}
	}
}
