package publish

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/pkg/table"
	"freshet.dev/scripts/benchmarks/internal/proc"
)

// cost is the cost of a step in its own process.
type cost struct {
	Nanoseconds int64
	// Peak is the peak of resident memory, Resident its value at the end after a collection, and Before its value at the start.
	Peak, Resident, Before int64
	// Bytes is the size of the written or read object.
	Bytes int64
	// Records and Payload are those of the version, Changed is the number of changed records. TableBytes is the size that the table
	// reports.
	Records, Payload, Changed, TableBytes int64
}

// child runs one step in this process.
func child(ctx context.Context, part, folder string) (cost, error) {
	before, err := proc.Resident()
	if err != nil {
		return cost{}, err
	}
	st, err := storeurl.Open(ctx, storeIn(folder))
	if err != nil {
		return cost{}, err
	}
	defer st.Close()
	var c cost
	var t *table.Table
	start := time.Now()
	switch part {
	case "publish":
		c, err = publishInput(ctx, st, folder)
	case "load":
		t, c, err = loadLatest(ctx, st)
	default:
		err = fmt.Errorf("no part is called %q", part)
	}
	if err != nil {
		return cost{}, err
	}
	c.Nanoseconds, c.Before = int64(time.Since(start)), before
	if c.Peak, err = proc.PeakResident(); err != nil {
		return cost{}, err
	}
	runtime.GC()
	debug.FreeOSMemory()
	c.Resident, err = proc.Resident()
	runtime.KeepAlive(t)
	return c, err
}

// publishInput publishes the input file with a publisher's default settings.
func publishInput(ctx context.Context, st store.Store, folder string) (cost, error) {
	f, err := os.Open(inputIn(folder))
	if err != nil {
		return cost{}, err
	}
	defer f.Close()
	p, err := publish.Open(publish.Config{TempDir: folder}, publish.Deps{Store: st})
	if err != nil {
		return cost{}, err
	}
	result, err := p.Publish(ctx, name, publish.Input{Body: f, Format: publish.FormatNDJSON, Key: "key"})
	if err != nil {
		return cost{}, err
	}
	rec := result.Record
	return cost{
		Bytes: rec.Snapshot.Bytes, Records: int64(rec.State.Records), Changed: int64(rec.Changes.Added + rec.Changes.Changed + rec.Changes.Removed),
	}, nil
}

// loadLatest loads the newest version from the store.
func loadLatest(ctx context.Context, st store.Store) (*table.Table, cost, error) {
	rec, err := st.Latest(ctx, name)
	if err != nil {
		return nil, cost{}, err
	}
	body, err := st.OpenObject(ctx, rec.Snapshot.Digest, 0, -1)
	if err != nil {
		return nil, cost{}, err
	}
	defer body.Close()
	r, err := snapshot.NewReader(body, snapshot.Expect(rec.Snapshot))
	if err != nil {
		return nil, cost{}, err
	}
	t, err := table.Load(ctx, r, table.Config{Version: rec.Version})
	if err != nil {
		return nil, cost{}, err
	}
	return t, cost{Bytes: rec.Snapshot.Bytes, Records: int64(t.Len()), Payload: t.PayloadBytes(), TableBytes: t.Bytes()}, nil
}
