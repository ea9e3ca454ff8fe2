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
	// maxEntryBytes bounds the entries of a dataset. Redis rounds a string up by a fifth at most and uses about 130
	// bytes for each field, so a dataset stays below 64 KiB.
	maxEntryBytes = 48 << 10
)

var (
	// ErrNotFound is returned for a dataset that is not in the catalog. It may be in the store.
	ErrNotFound = errors.New("not in the catalog")
	// ErrTrimmed is returned for a version record that the catalog keeps without its deltas, because the chain is too long. The store
	// has the whole record.
	ErrTrimmed = errors.New("too long for the catalog")
	// ErrConflict is returned by Replace when the newest version belongs to another store: two stores use the catalog.
	ErrConflict = errors.New("the catalog holds a version of another store")
	// ErrCorrupt is returned when freshet did not write the value of a key of the catalog.
	ErrCorrupt = errors.New("corrupt catalog")
)

//go:embed advance.lua
var advanceSource string

var advanceScript = redis.NewScript(advanceSource)

// Catalog is the catalog of one namespace in one Redis. Its methods are safe for concurrent use.
type Catalog struct {
	rdb  redis.UniversalClient
	keys keys
}

// New returns the catalog of the namespace in rdb. The caller still closes rdb. [dataset.CheckNamespace] must accept the namespace; empty
// is the default namespace.
func New(rdb redis.UniversalClient, namespace string) *Catalog {
	return &Catalog{rdb: rdb, keys: newKeys(namespace)}
}

// Advance makes rec the newest version of its dataset and returns true, unless the catalog has that version or a later one. It is one
// atomic script, so the catalog ends at the highest version in whatever order versions arrive.
func (c *Catalog) Advance(ctx context.Context, rec dataset.VersionRecord) (moved bool, err error) {
	return c.advance(ctx, rec, "")
}

// Replace makes rec the newest version of its dataset in place of over, and removes the entries that lead up to over. The version over is
// in the catalog but not in the history of rec's store. If the newest version is no longer over, Replace does what Advance does, and
// returns [ErrConflict] if the newest version belongs to another store.
func (c *Catalog) Replace(ctx context.Context, rec dataset.VersionRecord, over dataset.Ref) (moved bool, err error) {
	prefix := fmt.Sprintf("%0*d\n", versionDigits, over.Version)
	newest, err := c.Newest(ctx, []string{rec.Dataset})
	switch {
	case err == nil && !newest[rec.Dataset].ID.IsZero():
		prefix += `{"id":"` + over.ID.String()
	case err != nil && !errors.Is(err, ErrCorrupt):
		return false, fmt.Errorf("index version %s: %w", rec.ID(), err) // the number without the id may name another version
	}
	moved, err = c.advance(ctx, rec, prefix)
	if err != nil || moved {
		return moved, err
	}
	// An entry that cannot be read proves no conflict. The next repair reads it again.
	if newest, err := c.Latest(ctx, rec.Dataset); err == nil && !newest.StoreID.IsZero() && newest.StoreID != rec.StoreID {
		return false, fmt.Errorf("index version %s: %w: version %s of store %s, in place of version %s of store %s; give each store its own FRESHET_NAMESPACE "+
			"or Redis, and restart the publishers", rec.ID(), ErrConflict, newest.Ref(), newest.StoreID, rec.Ref(), rec.StoreID)
	}
	return false, nil
}

// advance runs the script. over is a prefix of the entry that rec replaces; empty for none.
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

// Latest returns the newest version record of the dataset. It fails with [ErrNotFound], [ErrTrimmed], [ErrCorrupt], or an error of the
// connection. After any of them the caller reads the store instead.
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

// Versions returns at most limit version records of the dataset, newest first. A limit of 0 returns all records in the catalog, which are
// at most [MaxVersions]. A trimmed record has no deltas and does not pass its Check: it describes a version but is not enough to load it.
// Versions fails with the errors of Latest, except [ErrTrimmed].
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

// explain returns the package's error for an error of Redis about the key.
func explain(key string, err error) error {
	switch {
	case errors.Is(err, redis.Nil):
		return ErrNotFound
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return corrupt(key, err)
	case redis.HasErrorPrefix(err, "CORRUPT"): // an error of the script, whose second word is the key
		if words := strings.Fields(err.Error()); len(words) > 1 {
			key = words[1]
		}
		return corrupt(key, err)
	}
	return err
}

// corrupt adds the remedy. Publishers and instances write all keys of the catalog again.
func corrupt(key string, err error) error {
	return fmt.Errorf("%w: delete the key %s; a publisher or the instances write it again: %w", ErrCorrupt, key, err)
}
