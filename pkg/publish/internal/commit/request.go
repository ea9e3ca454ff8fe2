package commit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/clock"
	"freshet.dev/pkg/store"
)

const (
	// RequestVersions is how many of a dataset's newest versions are searched for a request id.
	RequestVersions = 1000
	// requestAge is how old these may be.
	requestAge = time.Hour
	// maxOld is how many versions in a row that are older than requestAge end the search: a single one may come from a wrong clock.
	maxOld = 8
	// requestPage is how many records the search reads first. Each page is twice as large as the one before, up to maxRequestPage.
	requestPage    = 8
	maxRequestPage = 128
)

// ErrRequestID is returned when a version has the request id, and other content.
var ErrRequestID = errors.New("the request id was used before, for another request")

// request searches the version that an earlier call with the same request id made.
type request struct {
	id       string
	searched uint64 // the newest version that find has searched
	existing dataset.VersionRecord
}

// find returns that version if there is one up to newest. It remembers the version, which may be too old for a later search.
func (r *request) find(ctx context.Context, st store.Store, newest dataset.VersionRecord) (rec dataset.VersionRecord, found bool, err error) {
	if r.existing.Version > 0 {
		return r.existing, true, nil
	}
	if r.id == "" || newest.Version <= r.searched {
		return dataset.VersionRecord{}, false, nil
	}
	page, old := []dataset.VersionRecord{newest}, 0
	size := uint64(requestPage)
	for before := newest.Version; ; {
		for _, rec := range page {
			if rec.RequestID == r.id {
				r.existing = rec
				return rec, true, nil
			}
			if old++; clock.Now().Sub(rec.Created) <= requestAge {
				old = 0
			}
		}
		if before <= r.searched+1 || old >= maxOld || newest.Version-before >= RequestVersions {
			r.searched = newest.Version
			return dataset.VersionRecord{}, false, nil
		}
		limit := min(before-1-r.searched, size)
		size = min(2*size, maxRequestPage)
		page, err = st.Versions(ctx, newest.Dataset, before, int(limit))
		if _, damaged := errors.AsType[store.RecordErrors](err); err != nil && !damaged {
			return dataset.VersionRecord{}, false, fmt.Errorf("look for the request %s in the versions of dataset %q: %w", r.id, newest.Dataset, err)
		}
		before -= limit
	}
}
