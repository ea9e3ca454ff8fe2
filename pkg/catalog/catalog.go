package catalog

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"freshet.dev/pkg/dataset"
	"github.com/redis/go-redis/v9"
)

const latestField = "latest"

const (
	// MaxVersions is the number of version records that the catalog keeps of a dataset.
	MaxVersions = 32
	// maxEntryBytes bounds the entries of a dataset. Redis rounds a string up by a fifth at most and takes some 130
	// bytes for each field, so that the whole stays below 64 KiB.
	maxEntryBytes = 48 << 10
)

var (
	// ErrNotFound is returned for a dataset that the catalog does not know. The store may know it.
	ErrNotFound = errors.New("not in the catalog")
	// ErrTrimmed is returned for a version record with so long a chain of deltas that the catalog does not keep it
	// whole. The store has it.
	ErrTrimmed = errors.New("too long for the catalog")
	// ErrConflict is returned by Replace when the newest version is of another store by then: both stores use the catalog.
	ErrConflict = errors.New("the catalog holds a version of another store")
	// ErrCorrupt is returned when a key of the catalog holds what freshet did not write.
	ErrCorrupt = errors.New("corrupt catalog")
)

//go:embed advance.lua
var advanceSource string

var advanceScript = redis.NewScript(advanceSource)

// Catalog is the catalog of one namespace in one Redis. Its methods may be called at the same time.
type Catalog struct {
	rdb  redis.UniversalClient
	keys keys
}

// New returns the catalog of the namespace in rdb, which stays the caller's to close. The namespace is one that
// [dataset.CheckNamespace] accepts; empty is the default namespace.
func New(rdb redis.UniversalClient, namespace string) *Catalog {
	return &Catalog{rdb: rdb, keys: newKeys(namespace)}
}

// Advance makes rec the newest version of its dataset, unless the catalog has that version or a later one; moved
// says which. It is one atomic script: whatever the order in which versions arrive, the catalog ends at the highest.
func (c *Catalog) Advance(ctx context.Context, rec dataset.VersionRecord) (moved bool, err error) {
	return c.advance(ctx, rec, "")
}

// Replace makes rec the newest version of its dataset in place of over, a version that the catalog has and that is not in the
// history of rec's store, and removes the entries that lead up to over. It is as Advance if the newest is another by now, and returns
// [ErrConflict] if that is of another store.
func (c *Catalog) Replace(ctx context.Context, rec dataset.VersionRecord, over dataset.Ref) (moved bool, err error) {
	begin := fmt.Sprintf("%0*d\n", versionDigits, over.Version)
	newest, err := c.Newest(ctx, []string{rec.Dataset})
	switch {
	case err == nil && !newest[rec.Dataset].ID.IsZero():
		begin += `{"id":"` + over.ID.String()
	case err != nil && !errors.Is(err, ErrCorrupt):
		return false, fmt.Errorf("index version %s: %w", rec.ID(), err) // the number alone may name another version
	}
	moved, err = c.advance(ctx, rec, begin)
	if err != nil || moved {
		return moved, err
	}
	// An entry that cannot be read proves no conflict; the next repair reads it.
	if newest, err := c.Latest(ctx, rec.Dataset); err == nil && !newest.StoreID.IsZero() && newest.StoreID != rec.StoreID {
		return false, fmt.Errorf("index version %s: %w: version %s of store %s, in place of version %s of store %s; give each store a FRESHET_NAMESPACE of its own, "+
			"or a Redis, and restart the publishers", rec.ID(), ErrConflict, newest.Ref(), newest.StoreID, rec.Ref(), rec.StoreID)
	}
	return false, nil
}

// advance runs the script. over is the begin of the entry that rec replaces; empty for none.
func (c *Catalog) advance(ctx context.Context, rec dataset.VersionRecord, over string) (moved bool, err error) {
	entry, trimmed, err := encodeEntry(rec)
	if err != nil {
		return false, fmt.Errorf("index version %s: %w", rec.ID(), err)
	}
	keys := []string{c.keys.datasets, c.keys.versions + rec.Dataset}
	moved, err = advanceScript.Run(ctx, c.rdb, keys, rec.Dataset, entry, trimmed, MaxVersions, maxEntryBytes, over).Bool()
	if err != nil {
		return false, fmt.Errorf("index version %s: %w", rec.ID(), explain(keys[1], err))
	}
	return moved, nil
}

// Latest returns the newest version record of the dataset. The error is [ErrNotFound], [ErrTrimmed], [ErrCorrupt],
// or one of the connection: in each case the store has the answer.
func (c *Catalog) Latest(ctx context.Context, name string) (dataset.VersionRecord, error) {
	fail := func(err error) (dataset.VersionRecord, error) {
		return dataset.VersionRecord{}, fmt.Errorf("look up the newest version of %s: %w", name, err)
	}
	if err := dataset.CheckName(name); err != nil {
		return fail(err)
	}
	key := c.keys.versions + name
	entry, err := c.rdb.HGet(ctx, key, latestField).Bytes()
	if err != nil {
		return fail(explain(key, err))
	}
	rec, whole, err := decodeEntry(name, entry)
	switch {
	case err != nil:
		return fail(corrupt(key, err))
	case !whole:
		return fail(ErrTrimmed)
	}
	return rec, nil
}

// Versions returns the newest version records of the dataset, newest first: at most limit of them, and at most
// [MaxVersions]; all that there are for a limit of 0. A record that was trimmed to save space has no deltas and does
// not pass its Check: it tells about a version but is not enough to load it. The error is as that of Latest, but for
// [ErrTrimmed].
func (c *Catalog) Versions(ctx context.Context, name string, limit int) ([]dataset.VersionRecord, error) {
	fail := func(err error) ([]dataset.VersionRecord, error) {
		return nil, fmt.Errorf("list the versions of %s: %w", name, err)
	}
	if err := dataset.CheckName(name); err != nil {
		return fail(err)
	}
	key := c.keys.versions + name
	fields, err := c.rdb.HGetAll(ctx, key).Result()
	if err != nil {
		return fail(explain(key, err))
	}
	if len(fields) == 0 {
		return fail(ErrNotFound)
	}
	records := make([]dataset.VersionRecord, 0, len(fields))
	for _, entry := range fields {
		rec, _, err := decodeEntry(name, []byte(entry))
		if err != nil {
			return fail(corrupt(key, err))
		}
		records = append(records, rec)
	}
	slices.SortFunc(records, func(a, b dataset.VersionRecord) int {
		if a.Version > b.Version {
			return -1
		}
		return 1
	})
	if limit > 0 {
		records = records[:min(limit, len(records))]
	}
	return records, nil
}

// Datasets returns the names of all datasets in the catalog, sorted.
func (c *Catalog) Datasets(ctx context.Context) ([]string, error) {
	names, err := c.rdb.SMembers(ctx, c.keys.datasets).Result()
	if err != nil {
		return nil, fmt.Errorf("list the datasets: %w", explain(c.keys.datasets, err))
	}
	slices.Sort(names)
	return names, nil
}

// explain turns what Redis says of the key into the package's errors.
func explain(key string, err error) error {
	switch {
	case errors.Is(err, redis.Nil):
		return ErrNotFound
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return corrupt(key, err)
	case redis.HasErrorPrefix(err, "CORRUPT"): // the script's, whose second word is the key
		if words := strings.Fields(err.Error()); len(words) > 1 {
			key = words[1]
		}
		return corrupt(key, err)
	}
	return err
}

// corrupt says what to do: everything in the catalog can be had again, from the store or from an instance.
func corrupt(key string, err error) error {
	return fmt.Errorf("%w: delete the key %s, a publisher or the instances write it again: %w", ErrCorrupt, key, err)
}
