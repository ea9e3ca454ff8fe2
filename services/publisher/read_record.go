package publisher

import (
	"context"
	"net/http"
	"strconv"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/internal/web"
)

// readRecord answers GET /v1/datasets/{name}/records/{key}.
func (p *Publisher) readRecord(r *http.Request, name string) (answerFunc, error) {
	query, err := web.Query(r, "version")
	if err != nil {
		return nil, err
	}
	version, err := number(query, "version", 0)
	if err != nil {
		return nil, err
	}
	key := r.PathValue("key")
	if err := dataset.CheckKey([]byte(key)); err != nil {
		return nil, web.Refuse(http.StatusBadRequest, "bad-key", "%v", err).With("dataset", name)
	}
	return func(ctx context.Context, w http.ResponseWriter) error {
		v, err := p.history.Open(ctx, name, version)
		if err != nil {
			return err
		}
		values, err := v.Get(ctx, []byte(key))
		if err != nil {
			return err
		}
		setVersion(w, v.Record())
		value := values[0]
		if value == nil {
			return web.Refuse(http.StatusNotFound, "unknown-key", "version %d of dataset %s has no record with the key %q", v.Record().Version, name, key).
				With("dataset", name).With("key", key).With("version", v.Record().Version)
		}
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		if isObject(value) {
			h.Set("Content-Type", "application/json")
		}
		h.Set("Content-Length", strconv.Itoa(len(value)))
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		limitAnswer(w)
		_, _ = w.Write(value) // it fails only when the client has left
		return nil
	}, nil
}

// isObject decides as a server does: by the first and the last byte.
func isObject(value []byte) bool {
	n := len(value)
	return n > 1 && value[0] == '{' && value[n-1] == '}'
}

// KeyList is a page of the keys of a version, in the order of their hashes.
type KeyList struct {
	Dataset string            `json:"dataset"`
	Version uint64            `json:"version"`
	ID      dataset.VersionID `json:"id,omitzero"`
	Keys    []Key             `json:"keys"`
	// Next is the parameter cursor of the next page; absent on the last. A page may have fewer keys than the limit, or none, and a Next.
	Next string `json:"next,omitempty"`
}

// readKeys answers GET /v1/datasets/{name}/keys.
func (p *Publisher) readKeys(r *http.Request, name string) (answerFunc, error) {
	query, err := web.Query(r, "version", "prefix", "limit", "cursor")
	if err != nil {
		return nil, err
	}
	version, err := number(query, "version", 0)
	if err != nil {
		return nil, err
	}
	limit, err := limitOf(query, maxLimit)
	if err != nil {
		return nil, err
	}
	after, err := cursorOf(query, "version")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, w http.ResponseWriter) error {
		v, err := p.history.Open(ctx, name, version)
		if err != nil {
			return err
		}
		page, err := v.Keys(ctx, []byte(query.Get("prefix")), after, limit)
		if err != nil {
			return err
		}
		list := KeyList{Dataset: name, Version: v.Record().Version, ID: v.Record().VersionID(), Keys: make([]Key, len(page.Keys)), Next: cursor(page.Next)}
		for i, key := range page.Keys {
			list.Keys[i] = newKey(key)
		}
		return writeAnswer(w, list)
	}, nil
}

// Size is the answer to GET /v1/datasets/{name}/size.
type Size struct {
	Dataset string            `json:"dataset"`
	Version uint64            `json:"version"`
	ID      dataset.VersionID `json:"id,omitzero"`
	// Records and PayloadBytes count the records, and the bytes of their keys and values.
	Records      uint64 `json:"records"`
	PayloadBytes uint64 `json:"payload_bytes"`
	// SnapshotVersion and SnapshotBytes are of the snapshot, Deltas and DeltaBytes of the deltas that an instance without any data pulls.
	SnapshotVersion uint64 `json:"snapshot_version"`
	SnapshotBytes   int64  `json:"snapshot_bytes"`
	Deltas          int    `json:"deltas"`
	DeltaBytes      int64  `json:"delta_bytes"`
	// TableBytes is an estimate of the memory of the table in an instance, after a load; many deltas add up to a quarter.
	TableBytes int64 `json:"table_bytes"`
	// Growth are the sizes of the versions up to this one, newest first.
	Growth []VersionSize `json:"growth"`
}

// VersionSize is the size of one of several versions.
type VersionSize struct {
	Version      uint64 `json:"version"`
	Created      string `json:"created"`
	Records      uint64 `json:"records"`
	PayloadBytes uint64 `json:"payload_bytes"`
	TableBytes   int64  `json:"table_bytes"`
	// DeltaBytes is absent if the version has no delta.
	DeltaBytes int64 `json:"delta_bytes,omitempty"`
}

// growthVersions is the default of the parameter last.
const growthVersions = 10

// readSize answers GET /v1/datasets/{name}/size.
func (p *Publisher) readSize(r *http.Request, name string) (answerFunc, error) {
	query, err := web.Query(r, "version", "last")
	if err != nil {
		return nil, err
	}
	version, err := number(query, "version", 0)
	if err != nil {
		return nil, err
	}
	last, err := number(query, "last", growthVersions)
	if err != nil {
		return nil, err
	}
	if last > maxLimit {
		return nil, web.Refuse(http.StatusBadRequest, "bad-parameter", "last is %d; want at most %d", last, maxLimit)
	}
	return func(ctx context.Context, w http.ResponseWriter) error {
		s, err := p.history.Size(ctx, name, version, int(last))
		if err != nil {
			return err
		}
		rec := s.Version
		answer := Size{
			Dataset: name, Version: rec.Version, ID: rec.VersionID(), Records: rec.State.Records, PayloadBytes: rec.PayloadBytes,
			SnapshotVersion: s.Snapshot.Version, SnapshotBytes: s.Snapshot.Bytes, Deltas: len(s.Deltas), DeltaBytes: s.DeltaBytes(),
			TableBytes: s.TableBytes, Growth: make([]VersionSize, len(s.Growth)),
		}
		for i, g := range s.Growth {
			answer.Growth[i] = VersionSize{
				Version: g.Version.Version, Created: g.Version.Created.UTC().Format(timeFormat), Records: g.Version.State.Records,
				PayloadBytes: g.Version.PayloadBytes, TableBytes: g.TableBytes, DeltaBytes: g.DeltaBytes,
			}
		}
		return writeAnswer(w, answer)
	}, nil
}
