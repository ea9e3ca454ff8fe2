package subscribe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/pkg/table"
)

// members is the number of records that each version of a press changes, without their sum.
const members = 50

// group are the keys of the records that each version of a press changes: it sets all members to its own number, and
// the record "sum" to the sum of them, so that a reader can tell a mixture of two versions.
var group = func() (keys [][]byte) {
	keys = append(keys, []byte("sum"))
	for i := range members {
		keys = append(keys, fmt.Appendf(nil, "member/%02d", i))
	}
	return keys
}()

// groupValue returns the number that the version has for the i-th key of the group.
func groupValue(i int, version uint64) uint64 {
	if i == 0 {
		return members * version
	}
	return version
}

// groupNumber returns the number in a value of the group's.
func groupNumber(value []byte) (uint64, error) {
	text, ok := bytes.CutSuffix(value[bytes.LastIndexByte(value, ':')+1:], []byte("}"))
	if !ok {
		return 0, fmt.Errorf("%q holds no number", value)
	}
	return strconv.ParseUint(string(text), 10, 64)
}

// checkGroup returns an error if tab mixes versions or has another version's records.
func checkGroup(tab *table.Table) error {
	var values [members + 1][]byte
	if n := tab.GetMany(group, values[:]); n != len(group) {
		return fmt.Errorf("version %d has %d of the %d records that every version has", tab.Version(), n, len(group))
	}
	for i, value := range values {
		if n, err := groupNumber(value); err != nil || n != groupValue(i, tab.Version()) {
			return fmt.Errorf("version %d has %s for %s; %w", tab.Version(), value, group[i], err)
		}
	}
	return nil
}

// press publishes versions of a dataset as a pipeline does: by the library, into a store, the event log and the catalog.
type press struct {
	name      string
	records   int
	filler    []byte // the records that no version changes, as NDJSON
	publisher *publish.Publisher
	catalog   *catalog.Catalog
	last      dataset.VersionRecord
}

// newPress returns a press for a dataset with the group and n records of 100 bytes that no version changes.
func newPress(name string, records int, temp string, st store.Store, log *events.Log, rdb redis.UniversalClient) (*press, error) {
	p := &press{name: name, records: records, catalog: catalog.New(rdb, "")}
	for i := range records {
		at := len(p.filler)
		p.filler = fmt.Appendf(p.filler, `{"key":"filler/%07d","price":%d,"text":"`, i, i*7919%1_000_003)
		for x := uint64(i+1) * 0x9e3779b97f4a7c15; len(p.filler)-at < 98; x *= 0xbf58476d1ce4e5b9 {
			p.filler = append(p.filler, 'A'+byte(x>>60))
		}
		p.filler = append(p.filler, "\"}\n"...)
	}
	var err error
	p.publisher, err = publish.Open(publish.Config{TempDir: temp, Source: "press"}, publish.Deps{Store: st, Events: log, Catalog: p.catalog})
	return p, err
}

// groupChanges returns the records in which the version differs from the one before, as NDJSON.
func groupChanges(version uint64) string {
	var text strings.Builder
	for i, key := range group {
		fmt.Fprintf(&text, "{\"key\":%q,\"n\":%d}\n", key, groupValue(i, version))
	}
	return text.String()
}

// whole publishes the next version as a whole.
func (p *press) whole(ctx context.Context) error {
	text := append([]byte(groupChanges(p.last.Version+1)), p.filler...)
	result, err := p.publisher.Publish(ctx, p.name, publish.Input{Body: bytes.NewReader(text), Key: "key"})
	return p.published(result, err)
}

// patch publishes the next version as a patch.
func (p *press) patch(ctx context.Context) error {
	result, err := p.publisher.Patch(ctx, p.name, publish.PatchInput{
		Input: publish.Input{Body: strings.NewReader(groupChanges(p.last.Version + 1)), Key: "key"}, Base: p.last.Version,
	})
	return p.published(result.Result, err)
}

func (p *press) published(result publish.Result, err error) error {
	switch rec := result.Record; {
	case err != nil:
		return err
	case !result.Created, !result.Announced, !result.Indexed, len(result.Warnings) > 0, rec.Version != p.last.Version+1:
		return fmt.Errorf("after version %d: %+v", p.last.Version, result)
	case rec.Version > 1 && rec.Changes != dataset.Changes{Changed: members + 1}:
		return fmt.Errorf("version %d: %+v", rec.Version, rec.Changes)
	}
	p.last = result.Record
	return nil
}

// workshop is a world with a catalog, and a press in it.
type workshop struct {
	*world
	*press
	redis *servertest.RedisServer
	rdb   redis.UniversalClient
}

// newWorkshop returns a world with a press for the dataset prices, which has the given number of records and the group.
func newWorkshop(t *testing.T, records int) *workshop {
	t.Helper()
	w := &workshop{world: newWorld(t), redis: servertest.Redis(t)}
	var err error
	if w.rdb, err = catalog.Connect(w.redis.URL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.rdb.Close() })
	if w.press, err = newPress("prices", records, t.TempDir(), w.store, w.log, w.rdb); err != nil {
		t.Fatal(err)
	}
	return w
}

// first publishes the first version.
func (w *workshop) first() {
	w.t.Helper()
	if err := w.whole(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// patches publishes n versions as patches.
func (w *workshop) patches(n int) {
	w.t.Helper()
	for range n {
		if err := w.patch(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// pressing is how a burst is published.
type pressing struct {
	// Every version whose number is a multiple of Whole is published as a whole. The others, except for the first, are patches;
	// all of them if Whole is 0.
	Whole uint64
	// Compact runs a compactor in parallel, as services/publisher does.
	Compact bool
}

// burst makes another process publish versions as fast as possible, up to the given one.
func (w *workshop) burst(to uint64, how pressing) {
	w.t.Helper()
	cmd := child(w.t, "press", "STORE="+w.store.String(), "NATS="+w.nats.URL, "REDIS="+w.redis.URL, "TEMP_DIR="+w.t.TempDir(),
		fmt.Sprint("ORDER=", w.records, " ", to, " ", how.Whole, " ", how.Compact))
	if err := cmd.Run(); err != nil {
		w.t.Fatal(err)
	}
	last, err := w.store.Latest(w.t.Context(), w.name)
	if err != nil || last.Version != to {
		w.t.Fatalf("the last version is %s: %v", last.ID(), err)
	}
	w.last = last
}

func init() { children["press"] = pressChild }

func pressChild() (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	st, err := storeurl.Open(ctx, os.Getenv("STORE"))
	if err != nil {
		return err
	}
	defer st.Close()
	rdb, err := catalog.Connect(os.Getenv("REDIS"))
	if err != nil {
		return err
	}
	defer rdb.Close()
	nc, err := events.Connect(os.Getenv("NATS"), "press", slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer nc.Close()
	log, err := events.NewLog(nc, events.Config{})
	if err != nil {
		return err
	}
	var records int
	var to uint64
	var how pressing
	if _, err := fmt.Sscan(os.Getenv("ORDER"), &records, &to, &how.Whole, &how.Compact); err != nil {
		return err
	}
	p, err := newPress("prices", records, os.Getenv("TEMP_DIR"), st, log, rdb)
	if err != nil {
		return err
	}
	if p.last, err = st.Latest(ctx, p.name); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	ended := make(chan error, 1)
	if how.Compact {
		go func() { ended <- p.publisher.Run(ctx) }()
	} else {
		ended <- nil
	}
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()
	for p.last.Version < to {
		next := p.patch
		if version := p.last.Version + 1; version == 1 || how.Whole > 0 && version%how.Whole == 0 {
			next = p.whole
		}
		if err := next(ctx); err != nil {
			return err
		}
	}
	return nil
}
