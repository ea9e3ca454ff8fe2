package publish_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/servertest"
	"github.com/google/go-cmp/cmp"
)

// servers are a real event log and catalog.
type servers struct {
	nats  *servertest.NATSServer
	redis *servertest.RedisServer
	log   *events.Log
	index *catalog.Catalog
}

func newServers(t *testing.T) *servers {
	t.Helper()
	s := &servers{nats: servertest.NATS(t), redis: servertest.Redis(t)}
	nc, err := events.Connect(s.nats.URL, "publish-test", slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if s.log, err = events.NewLog(nc, events.Config{}); err != nil {
		t.Fatal(err)
	}
	rdb, err := catalog.Connect(s.redis.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	s.index = catalog.New(rdb, "")
	return s
}

// announced returns the versions of the dataset in the event log, in its order.
func (s *servers) announced(t *testing.T, name string) (versions []uint64) {
	t.Helper()
	for e, err := range s.log.History(t.Context(), name, 1) {
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, e.Record.Version)
	}
	return versions
}

// indexed returns the versions of the dataset in the catalog, newest first.
func (s *servers) indexed(t *testing.T, name string) (versions []uint64) {
	t.Helper()
	recs, err := s.index.Versions(t.Context(), name, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range recs {
		versions = append(versions, rec.Version)
	}
	return versions
}

func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

// The next publish, even one that creates no version, announces and indexes in order the versions that were committed while the event
// log and the catalog were down.
func TestAnnouncesWhatWasMissed(t *testing.T) {
	s := newServers(t)
	r := newRig(t, func(c *publish.Config, d *publish.Deps) {
		c.AnnounceTimeout = 500 * time.Millisecond
		d.Events, d.Catalog = s.log, s.index
	})
	patient, err := publish.Open(publish.Config{TempDir: r.temp}, publish.Deps{Store: r.store, Events: s.log, Catalog: s.index})
	if err != nil {
		t.Fatal(err)
	}
	first, err := patient.Publish(t.Context(), "prices", input(`{"id":"a"}`))
	if err != nil || !first.Announced || !first.Indexed || len(first.Warnings) > 0 {
		t.Fatalf("%+v: %v", first, err)
	}
	equal(t, "announced", []uint64{1}, s.announced(t, "prices"))

	s.nats.Kill()
	s.redis.Kill()
	for i := range 3 {
		result := r.text(t, "prices", fmt.Sprintf(`{"id":"a","v":%d}`, i))
		if !result.Created || result.Announced || result.Indexed || len(result.Warnings) != 2 {
			t.Errorf("with the servers gone: %+v", result)
		}
		for _, w := range result.Warnings {
			if !strings.Contains(w, fmt.Sprintf("version prices/%d is committed but was not", i+2)) {
				t.Errorf("warning is %q", w)
			}
		}
	}
	s.nats.Start()
	s.redis.Start()
	again, err := patient.Publish(t.Context(), "prices", input(`{"id":"a","v":2}`))
	if err != nil || again.Created || again.Record.Version != 4 || !again.Announced || !again.Indexed || len(again.Warnings) > 0 {
		t.Errorf("%+v: %v", again, err)
	}
	equal(t, "announced", []uint64{1, 2, 3, 4}, s.announced(t, "prices"))
	equal(t, "indexed", []uint64{4, 3, 2, 1}, s.indexed(t, "prices"))
	latest, err := s.log.Latest(t.Context(), []string{"prices"})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "event", again.Record, latest["prices"])

	// So is a catalog that was wiped.
	s.redis.Wipe()
	if result, err := patient.Publish(t.Context(), "prices", input(`{"id":"a","v":2}`)); err != nil || !result.Indexed {
		t.Errorf("%+v: %v", result, err)
	}
	equal(t, "indexed", []uint64{4, 3, 2, 1}, s.indexed(t, "prices"))
}

// emptyLog is an event log that reports no events.
type emptyLog struct{}

func (emptyLog) Supersede(context.Context, dataset.VersionRecord, dataset.VersionRecord) error {
	return nil
}

func (emptyLog) Last(context.Context, string) (dataset.VersionRecord, error) {
	return dataset.VersionRecord{}, nil
}

func (emptyLog) Latest(context.Context, []string) (map[string]dataset.VersionRecord, error) {
	return nil, nil
}

func (emptyLog) Ensure(context.Context) error { return nil }

// emptyCatalog is a catalog that reports no versions.
type emptyCatalog struct{}

func (emptyCatalog) Replace(context.Context, dataset.VersionRecord, dataset.Ref) (bool, error) {
	return true, nil
}

func (emptyCatalog) Newest(context.Context, []string) (map[string]dataset.Ref, error) {
	return nil, nil
}

func (emptyCatalog) Latest(context.Context, string) (dataset.VersionRecord, error) {
	return dataset.VersionRecord{}, catalog.ErrNotFound
}

// deaf is an event log that blocks until the context ends.
type deaf struct{ emptyLog }

func (deaf) Announce(ctx context.Context, _ dataset.VersionRecord) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// plain records announced or indexed versions.
type plain struct {
	err  error
	told []uint64
}

// plainLog and plainCatalog report no versions.
type (
	plainLog struct {
		emptyLog
		*plain
	}
	plainCatalog struct {
		emptyCatalog
		*plain
	}
)

func (p *plain) Announce(_ context.Context, rec dataset.VersionRecord) error {
	p.told = append(p.told, rec.Version)
	return p.err
}

func (p *plain) Advance(ctx context.Context, rec dataset.VersionRecord) (bool, error) {
	return true, p.Announce(ctx, rec)
}

func TestAnnouncingIsBoundedInTime(t *testing.T) {
	index := &plain{}
	r := newRig(t, func(c *publish.Config, d *publish.Deps) {
		c.AnnounceTimeout = 10 * time.Millisecond
		d.Events, d.Catalog = deaf{}, plainCatalog{plain: index}
	})
	result := r.text(t, "prices", `{"id":"a"}`)
	if !result.Created || result.Announced || !result.Indexed || len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], "deadline exceeded") {
		t.Errorf("%+v", result)
	}
	equal(t, "indexed", []uint64{1}, index.told)
}

// Equal content is announced again: the publisher that committed it may have died before it could.
func TestEqualContentIsAnnounced(t *testing.T) {
	log, index := &plain{err: errors.New("no")}, &plain{}
	r := newRig(t, func(_ *publish.Config, d *publish.Deps) {
		d.Events, d.Catalog = plainLog{plain: log}, plainCatalog{plain: index}
	})
	if result := r.text(t, "prices", `{"id":"a"}`); !result.Created || result.Announced {
		t.Errorf("%+v", result)
	}
	log.err = nil
	if result := r.text(t, "prices", `{"id":"a"}`); result.Created || !result.Announced || !result.Indexed || len(result.Warnings) > 0 {
		t.Errorf("%+v", result)
	}
	equal(t, "announced", []uint64{1, 1}, log.told)
	equal(t, "indexed", []uint64{1, 1}, index.told)
}

// forgetful is an event log that fails to report its events while why is set.
type forgetful struct {
	plain
	why  error
	last dataset.VersionRecord
}

func (f *forgetful) Announce(ctx context.Context, rec dataset.VersionRecord) error {
	f.last = rec
	return f.plain.Announce(ctx, rec)
}

func (*forgetful) Ensure(context.Context) error { return nil }

func (f *forgetful) Supersede(ctx context.Context, rec, _ dataset.VersionRecord) error {
	return f.Announce(ctx, rec)
}

func (f *forgetful) Latest(context.Context, []string) (map[string]dataset.VersionRecord, error) {
	return nil, f.why
}

func (f *forgetful) Last(context.Context, string) (dataset.VersionRecord, error) {
	if f.why != nil {
		return dataset.VersionRecord{}, f.why
	}
	return f.last, nil
}

// While it is not known which versions the event log lacks, no later version is announced: nothing would announce them afterwards. A
// last event that cannot be read blocks nothing.
func TestAnnouncesNothingAfterAGap(t *testing.T) {
	log := &forgetful{}
	r := newRig(t, func(_ *publish.Config, d *publish.Deps) { d.Events = log })
	r.text(t, "prices", `{"id":"a","v":1}`)
	log.why = errors.New("not yet")
	for v := 2; v <= 3; v++ {
		result := r.text(t, "prices", fmt.Sprintf(`{"id":"a","v":%d}`, v))
		if result.Announced || len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], "was not announced to the event log: not yet") {
			t.Errorf("%+v", result)
		}
	}
	equal(t, "announced", []uint64{1}, log.told)
	log.why = nil
	if result := r.text(t, "prices", `{"id":"a","v":4}`); !result.Announced || len(result.Warnings) > 0 {
		t.Errorf("%+v", result)
	}
	equal(t, "announced", []uint64{1, 2, 3, 4}, log.told)

	log.why = fmt.Errorf("look: %w", &events.EventError{Dataset: "prices", Err: dataset.ErrEvent})
	if result := r.text(t, "prices", `{"id":"a","v":5}`); !result.Announced || len(result.Warnings) > 0 {
		t.Errorf("%+v", result)
	}
	equal(t, "announced", []uint64{1, 2, 3, 4, 5}, log.told)
}
