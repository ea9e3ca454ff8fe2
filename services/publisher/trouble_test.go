package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/services/publisher"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// broken is a store whose calls fail as a test decides.
type broken struct {
	store.Store
	mu  sync.Mutex
	err error // of everything
	put error // of PutVersion
}

func (b *broken) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *broken) Latest(ctx context.Context, name string) (dataset.VersionRecord, error) {
	if err := b.failure(); err != nil {
		return dataset.VersionRecord{}, err
	}
	return b.Store.Latest(ctx, name)
}

func (b *broken) Versions(ctx context.Context, name string, before uint64, limit int) ([]dataset.VersionRecord, error) {
	if err := b.failure(); err != nil {
		return nil, err
	}
	return b.Store.Versions(ctx, name, before, limit)
}

func (b *broken) Version(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error) {
	if err := b.failure(); err != nil {
		return dataset.VersionRecord{}, err
	}
	return b.Store.Version(ctx, name, version)
}

func (b *broken) Datasets(ctx context.Context) ([]string, error) {
	if err := b.failure(); err != nil {
		return nil, err
	}
	return b.Store.Datasets(ctx)
}

func (b *broken) PutVersion(ctx context.Context, rec dataset.VersionRecord) error {
	if b.put != nil {
		return b.put
	}
	return b.Store.PutVersion(ctx, rec)
}

func TestBackendTrouble(t *testing.T) {
	s := &broken{Store: openStore(t), err: errors.New("disk on fire")}
	p := newPublisher(t, s, nil)
	h := p.Handler()
	for _, path := range []string{"POST " + versions + "?key=id", "GET " + versions, "GET " + versions + "/1", "GET /v1/datasets"} {
		method, path, _ := strings.Cut(path, " ")
		rec := send(h, method, path, ndjson)
		wantProblem(t, rec, 503, "store-unavailable")
		if rec.Header().Get("Retry-After") == "" || strings.Contains(rec.Body.String(), "fire") {
			t.Errorf("%v %s", rec.Header(), rec.Body)
		}
	}
	s.err, s.put = nil, store.ErrExists
	wantProblem(t, send(h, "POST", versions+"?key=id", ndjson), 409, "conflict")
	if n, err := testutil.GatherAndCount(p.Registry(), "freshet_publisher_publish_failures_total"); n != 2 || err != nil {
		t.Errorf("%d kinds of failures are counted, %v", n, err)
	}
}

// partly is a store in which the newest version record of a dataset is damaged.
type partly struct {
	store.Store
	damaged string
}

func (p partly) Latest(ctx context.Context, name string) (dataset.VersionRecord, error) {
	if name == p.damaged {
		return dataset.VersionRecord{}, fmt.Errorf("read /secret/place: %w", store.ErrDamaged)
	}
	return p.Store.Latest(ctx, name)
}

func TestADamagedDatasetDoesNotHideTheOthers(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	for _, name := range []string{"cities", "prices"} {
		if rec := send(h, "POST", "/v1/datasets/"+name+"/versions?key=id", ndjson); rec.Code != 201 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	var logged strings.Builder
	h = newPublisher(t, partly{s, "cities"}, func(_ *publisher.Config, d *publisher.Deps) {
		d.Log = slog.New(slog.NewTextHandler(&logged, nil))
	}).Handler()
	rec := send(h, "GET", "/v1/datasets", "")
	list := decode[struct{ Datasets []publisher.Dataset }](t, rec).Datasets
	if rec.Code != 200 || len(list) != 2 || list[0].Dataset != "cities" || list[0].Latest != nil || !strings.Contains(list[0].Error, "damaged") ||
		list[1].Error != "" || list[1].Latest == nil || list[1].Latest.ID() != "prices/1" || strings.Contains(rec.Body.String(), "/secret/place") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if log := logged.String(); !strings.Contains(log, "dataset=cities") || !strings.Contains(log, "/secret/place") {
		t.Errorf("the log says %s", log)
	}
}

// downLog is an event log that reports no events and announces none.
type downLog struct{}

func (downLog) Announce(context.Context, dataset.VersionRecord) error {
	return errors.New("the event log is down")
}

func (l downLog) Supersede(ctx context.Context, rec, _ dataset.VersionRecord) error {
	return l.Announce(ctx, rec)
}

func (downLog) Last(context.Context, string) (dataset.VersionRecord, error) {
	return dataset.VersionRecord{}, nil
}

func (downLog) Latest(context.Context, []string) (map[string]dataset.VersionRecord, error) {
	return nil, nil
}

func (downLog) Ensure(context.Context) error { return nil }

func TestAnAnnouncementThatFailsIsAWarning(t *testing.T) {
	h := newPublisher(t, openStore(t), func(_ *publisher.Config, d *publisher.Deps) { d.Events = downLog{} }).Handler()
	rec := send(h, "POST", versions+"?key=id", ndjson)
	got := decode[publisher.Publication](t, rec)
	if rec.Code != 201 || got.Announced || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "the event log is down") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// slow is a store that takes its time to commit.
type slow struct {
	broken
	wait time.Duration
}

func (s *slow) PutVersion(ctx context.Context, rec dataset.VersionRecord) error {
	<-time.After(s.wait)
	return s.broken.PutVersion(ctx, rec)
}
