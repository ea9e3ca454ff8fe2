package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/store"
)

// undone is what the instance did for one patch or rollback, with times in nanoseconds.
type undone struct {
	Committed int64 // from the start of the request to the version record in the store
	Served    int64 // from the version record in the store to the swap
	Load      int64 // the part of Served from the event's arrival in the instance
	Pulled    int64 // bytes
	PID       int
}

// undoer patches and rolls back a dataset, and waits for the instance.
type undoer struct {
	*patcher
	store store.Store
	name  string
	count int // records
	newest,
	generation int
}

// measure calls send, which makes the next version, and waits until the instance serves that.
func (u *undoer) measure(ctx context.Context, send func() (dataset.VersionRecord, error)) (undone, error) {
	pause(ctx, undoPause)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	u.newest++
	committed := make(chan time.Time, 1)
	watching := make(chan struct{})
	go func() {
		defer close(committed)
		close(watching)
		for ctx.Err() == nil {
			if _, err := u.store.Version(ctx, u.name, uint64(u.newest)); err == nil {
				committed <- time.Now()
				return
			}
			time.Sleep(100 * time.Microsecond)
		}
	}()
	<-watching
	began := time.Now()
	rec, err := send()
	if err == nil && rec.Version != uint64(u.newest) {
		err = fmt.Errorf("version %d was made, want %d", rec.Version, u.newest)
	}
	if err != nil {
		return undone{}, err
	}
	at, ok := <-committed
	if !ok {
		return undone{}, fmt.Errorf("version %d is not in the store", u.newest)
	}
	for {
		r, err := u.reports.Next(ctx)
		switch {
		case err != nil:
			return undone{}, fmt.Errorf("wait for version %d: %w", u.newest, err)
		case r.Error != "":
			return undone{}, fmt.Errorf("%s cannot serve version %d: %s", r.Instance, r.Version, r.Error)
		case r.Kind == fleet.OfSwap && r.Version == uint64(u.newest):
			return undone{
				Committed: int64(at.Sub(began)), Served: int64(r.Served.Sub(at)), Load: int64(r.Duration), Pulled: r.PulledBytes, PID: r.PID,
			}, nil
		}
	}
}

// patch makes the next version with the given number of changes.
func (u *undoer) patch(ctx context.Context, changes int) (undone, error) {
	u.generation++
	return u.measure(ctx, func() (dataset.VersionRecord, error) {
		rec, _, _, _, err := u.send(ctx, u.name, u.count, changes, u.generation)
		return rec, err
	})
}

// rollback makes the next version with the content of the one so many versions before the newest.
func (u *undoer) rollback(ctx context.Context, by int) (undone, error) {
	url := fmt.Sprintf("%s/v1/datasets/%s/rollback?to=%d&reason=benchmark", u.publisher, u.name, u.newest-by)
	return u.measure(ctx, func() (rec dataset.VersionRecord, err error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
		if err != nil {
			return rec, err
		}
		status, answer, err := do(req)
		if err != nil {
			return rec, err
		}
		var is struct {
			Record dataset.VersionRecord `json:"version_record"`
		}
		if err = json.Unmarshal(answer, &is); err == nil && status != http.StatusCreated {
			err = errors.New("not created")
		}
		if err != nil {
			return rec, fmt.Errorf("roll back %s: %w: %d %.500s", u.name, err, status, answer)
		}
		return is.Record, nil
	})
}
