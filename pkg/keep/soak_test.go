package keep_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/internal/gone"
	"freshet.dev/pkg/internal/wake"
	"freshet.dev/pkg/keep"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/replay"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store"
)

// soakFor is how long the soak runs: 15 s, or as many seconds as GC_SECONDS has, with which scripts/test --long runs it longer.
func soakFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("GC_SECONDS")
	if text == "" {
		if testing.Short() {
			return 6 * time.Second
		}
		return 15 * time.Second
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("GC_SECONDS is %q: %v", text, err)
	}
	return time.Duration(n) * time.Second
}

// Collections in a loop beside publishes of few contents again and again, which reuse old objects, patches, compactions, rollbacks, replays,
// reads and restarts lose nothing: a verification has no finding, all kept versions can be read, and the store does not grow.
func TestSoak(t *testing.T) {
	r := newRig(t)
	end := time.Now().Add(soakFor(t))
	ctx, cancel := context.WithDeadline(t.Context(), end)
	defer cancel()
	names := []string{"prices", "cities"}
	for i, name := range names {
		r.publish(t, name, records(300, i))
		r.set(t, name, `{"keep_versions":3}`)
	}
	running := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	replayer := r.replayer(t)
	for _, name := range names {
		temp := t.TempDir()
		running.Go(func(ctx context.Context) error { return r.soakWrites(ctx, temp, name) })
		running.Go(func(ctx context.Context) error { return r.soakReplays(ctx, replayer, name) })
	}
	var most [4]int64 // bytes in the store, by quarter of the time
	begin := time.Now()
	runs, removed := 0, 0
	running.Go(func(ctx context.Context) error {
		for ctx.Err() == nil {
			report, err := r.collector.Run(ctx, keep.Request{Grace: keep.MinGrace})
			if ctx.Err() != nil {
				break
			}
			if err != nil {
				return err
			}
			runs++
			removed += report.Removed.Objects
			var bytes int64
			for o, err := range r.store.Objects(ctx) {
				if err == nil {
					bytes += o.Bytes
				}
			}
			quarter := min(3, int(4*time.Since(begin)/end.Sub(begin)))
			most[quarter] = max(most[quarter], bytes)
		}
		return nil
	})
	if err := running.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		newest, err := r.store.Latest(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		removed, err := gone.Of(t.Context(), r.store, name)
		if err != nil {
			t.Fatal(err)
		}
		list := r.readable(t, name)
		for v := uint64(1); v <= newest.Version; v++ {
			if _, ok := slices.BinarySearch(list, v); !ok && (!removed.Contains(v) || v+3 > newest.Version) {
				t.Errorf("version %d of %d of %s is not readable; gone are %s", v, newest.Version, name, removed.VersionRanges)
			}
		}
		t.Logf("%s has %d versions, %d of them readable", name, newest.Version, len(list))
	}
	r.clean(t)
	t.Logf("%d runs removed %d objects; the most bytes in the store in each quarter of the time: %d", runs, removed, most)
	if removed == 0 {
		t.Error("no object was removed")
	}
	if long := end.Sub(begin) >= time.Minute; long && most[3] > 3*most[1]/2 {
		t.Errorf("the store grows: at most %d bytes in the second quarter of the time, %d in the last", most[1], most[3])
	}
}

// soakWrites publishes, patches, compacts, rolls back and reads until ctx ends. It restarts its publisher now and then.
func (r *rig) soakWrites(ctx context.Context, temp, name string) error {
	var p *publish.Publisher
	var err error
	for i := 0; ctx.Err() == nil; i++ {
		if i%20 == 0 {
			settings := func(ctx context.Context, name string) (dataset.Settings, error) {
				current, err := r.journal.Settings(ctx, name)
				return current.Settings, err
			}
			if p, err = publish.Open(publish.Config{TempDir: temp, Workers: 1, MaxDeltas: 4, Settings: settings}, publish.Deps{Store: r.store}); err != nil {
				return err
			}
		}
		switch i % 5 {
		case 0: // one of three contents, whose files the store may have, or had
			_, err = p.Publish(ctx, name, publish.Input{Body: strings.NewReader(records(300, i%3)), Key: "id"})
		case 1, 2:
			value := i // a new one each time
			if i%5 == 1 {
				value %= 7
			}
			_, err = p.Patch(ctx, name, publish.PatchInput{Input: publish.Input{Body: strings.NewReader(fmt.Sprintf(`{"id":"1","value":%d}`, value)), Key: "id"}})
		case 3:
			_, err = p.Compact(ctx, name)
		case 4:
			err = r.soakRollback(ctx, p, name, uint64(1+i%4))
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("job %d of %s: %w", i, name, err)
		}
		if err := r.soakLoad(ctx, name); err != nil && ctx.Err() == nil {
			return fmt.Errorf("after job %d of %s: %w", i, name, err)
		}
	}
	return nil
}

// soakReplays sends the events of the last versions to a subject again and again, and writes that to the journal, as collections do. Then it
// reads what an instance pulls for a full replay.
func (r *rig) soakReplays(ctx context.Context, replayer *replay.Replayer, name string) error {
	for wake.Wait(ctx, 50*time.Millisecond, nil) {
		newest, err := store.NewestVersion(ctx, r.store, name)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		from := newest - min(newest-1, 20) // of which most are gone
		sent, err := replayer.Subject(context.WithoutCancel(ctx), replay.SubjectInput{Dataset: name, Subject: "copy", From: from, To: newest, Rate: replay.MaxRate})
		if err == nil && sent.Events != newest-from+1 {
			err = fmt.Errorf("%d events were sent", sent.Events)
		}
		if err == nil {
			err = r.soakLoad(ctx, name)
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("replay versions %d to %d of %s: %w", from, newest, name, err)
		}
	}
	return nil
}

// replayer returns a replayer of the store, on a NATS server.
func (r *rig) replayer(t *testing.T) *replay.Replayer {
	t.Helper()
	nc, err := events.Connect(servertest.NATS(t).URL, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	replayer, err := replay.New(replay.Config{}, replay.Deps{Store: r.store, Journal: r.journal, NATS: nc})
	if err != nil {
		t.Fatal(err)
	}
	return replayer
}

// soakRollback rolls back by some versions, which may be gone.
func (r *rig) soakRollback(ctx context.Context, p *publish.Publisher, name string, by uint64) error {
	newest, err := r.store.Latest(ctx, name)
	if err != nil || newest.Version <= by {
		return err
	}
	_, err = p.Rollback(ctx, publish.RollbackInput{Dataset: name, To: newest.Version - by, Reason: "soak"})
	if errors.Is(err, publish.ErrGone) && by >= 3 {
		return nil
	}
	return err
}

// soakLoad verifies all objects from which the newest version is loaded, as an instance pulls them.
func (r *rig) soakLoad(ctx context.Context, name string) error {
	newest, err := r.store.Latest(ctx, name)
	if err != nil {
		return err
	}
	for _, o := range newest.Chain() {
		if err := store.VerifyObject(ctx, r.store, o.Digest, o.Bytes); err != nil {
			return fmt.Errorf("version %d: %w", newest.Version, err)
		}
	}
	return nil
}
