package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/verify"
)

// failing is a store in which some objects cannot be opened.
type failing struct {
	store.Store
	fails func(dataset.Digest) error
}

func (f *failing) OpenObject(ctx context.Context, d dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	if err := f.fails(d); err != nil {
		return nil, err
	}
	return f.Store.OpenObject(ctx, d, offset, length)
}

// An object that cannot be read is no lost object. A store that does not answer ends the run.
func TestUnreadObjects(t *testing.T) {
	s := newDirSite(t)
	s.fill(t)
	broken := errors.New("input/output error")
	bad := s.record(t, 1).Snapshot.Digest
	f := &failing{Store: s.store, fails: func(d dataset.Digest) error {
		if d == bad {
			return broken
		}
		return nil
	}}
	findings, _ := s.verify(t, f)
	if len(findings) != 1 || findings[0].Kind != verify.KindUnread || !strings.Contains(findings[0].Problem, broken.Error()) ||
		!strings.HasPrefix(findings[0].Effect, "if it is damaged, versions 1 to 4 cannot be loaded") {
		t.Errorf("found %+v", findings)
	}

	f.fails = func(dataset.Digest) error { return broken }
	v := must(verify.New(verify.Config{TempDir: s.temp}, verify.Deps{Store: f}))
	_, err := v.Run(t.Context(), nil, func(f verify.Finding) error { return fmt.Errorf("found %+v", f) })
	if !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
}

// An object that another process repairs after the first look is no finding; neither are bytes that were damaged on their way.
func TestASecondLookDecides(t *testing.T) {
	s := newDirSite(t)
	s.fill(t)
	failed := map[dataset.Digest]bool{}
	f := &failing{Store: s.store, fails: func(d dataset.Digest) error {
		if failed[d] {
			return nil
		}
		failed[d] = true
		return fmt.Errorf("object %s: %w", d, store.ErrNotFound)
	}}
	// One reader at a time would be enough for this map; deltas are read by several.
	if findings, _ := s.verify(t, &oneByOne{Store: f, turn: make(chan struct{}, 1)}); len(findings) > 0 {
		t.Errorf("found %+v", findings)
	}
}

// oneByOne opens one object at a time.
type oneByOne struct {
	store.Store
	turn chan struct{}
}

func (o *oneByOne) OpenObject(ctx context.Context, d dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	o.turn <- struct{}{}
	defer func() { <-o.turn }()
	return o.Store.OpenObject(ctx, d, offset, length)
}

// restored is a store that an older copy replaces during a verification.
type restored struct {
	store.Store
	newest uint64
}

func (r *restored) Version(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error) {
	if version > r.newest {
		return dataset.VersionRecord{}, store.ErrNotFound
	}
	return r.Store.Version(ctx, name, version)
}

func (r *restored) Versions(ctx context.Context, name string, before uint64, _ int) ([]dataset.VersionRecord, error) {
	r.newest = 3 // from now on
	return r.Store.Versions(ctx, name, min(before, r.newest+1), 0)
}

func (r *restored) Latest(ctx context.Context, name string) (dataset.VersionRecord, error) {
	return r.Store.Version(ctx, name, r.newest)
}

func TestStoreIsReplaced(t *testing.T) {
	s := newDirSite(t)
	s.fill(t)
	v := must(verify.New(verify.Config{TempDir: s.temp}, verify.Deps{Store: &restored{s.store, 5}}))
	_, err := v.Run(t.Context(), nil, func(f verify.Finding) error { return fmt.Errorf("found %+v", f) })
	if err == nil || !strings.Contains(err.Error(), "replaced by an older copy") {
		t.Errorf("error is %v", err)
	}
}

// The end of the context ends a run, in all of its parts.
func TestContextEndsARun(t *testing.T) {
	s := newDirSite(t)
	s.fill(t)
	ctx, cancel := context.WithCancel(t.Context())
	f := &failing{Store: s.store, fails: func(dataset.Digest) error {
		cancel()
		return context.Cause(ctx)
	}}
	v := must(verify.New(verify.Config{TempDir: s.temp}, verify.Deps{Store: f}))
	if _, err := v.Run(ctx, nil, func(f verify.Finding) error { return fmt.Errorf("found %+v", f) }); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// ends is an event log and a catalog that end with given versions.
type ends struct {
	recs  map[string]dataset.VersionRecord
	err   error
	calls int
	// after is how many queries return nothing first.
	after int
}

func (e *ends) Latest(context.Context, []string) (map[string]dataset.VersionRecord, error) {
	if e.calls++; e.calls <= e.after {
		return nil, nil
	}
	return e.recs, e.err
}

func (e *ends) Newest(ctx context.Context, names []string) (map[string]dataset.Ref, error) {
	recs, err := e.Latest(ctx, names)
	newest := map[string]dataset.Ref{}
	for name, rec := range recs {
		newest[name] = rec.Ref()
	}
	return newest, err
}

func TestFollowers(t *testing.T) {
	s := newDirSite(t)
	s.fill(t)
	foreign := s.record(t, 5)
	foreign.Source = "another store's"
	ahead := s.record(t, 5)
	ahead.Version, ahead.Deltas, ahead.Snapshot.Version = 9, nil, 9
	for name, c := range map[string]struct {
		has    *ends
		settle time.Duration
		want   string // in the problem; empty if there is no finding
	}{
		"the newest":                  {&ends{recs: map[string]dataset.VersionRecord{"prices": s.record(t, 5)}}, time.Millisecond, ""},
		"about to be announced":       {&ends{recs: map[string]dataset.VersionRecord{"prices": s.record(t, 5)}, after: 1}, time.Minute, ""},
		"nothing":                     {&ends{}, time.Millisecond, "has no version of prices; the newest in the store is 5 ("},
		"an earlier one":              {&ends{recs: map[string]dataset.VersionRecord{"prices": s.record(t, 3)}}, time.Millisecond, "ends with version 3 ("},
		"another one":                 {&ends{recs: map[string]dataset.VersionRecord{"prices": foreign}}, time.Millisecond, "which is not in the store's history"},
		"a later one":                 {&ends{recs: map[string]dataset.VersionRecord{"prices": ahead}}, time.Millisecond, "which is not in the store's history"},
		"no answer":                   {&ends{err: errors.New("no route")}, time.Millisecond, "could not be compared with the store: no route"},
		"the newest and an error too": {&ends{recs: map[string]dataset.VersionRecord{"prices": s.record(t, 5)}, err: errors.New("event 7")}, time.Millisecond, "event 7"},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, deps := range map[verify.Kind]verify.Deps{
				verify.KindEventLog: {Store: s.store, Events: c.has}, verify.KindCatalog: {Store: s.store, Catalog: c.has},
			} {
				c.has.calls = 0
				v := must(verify.New(verify.Config{TempDir: s.temp, Settle: c.settle}, deps))
				var findings []verify.Finding
				totals, err := v.Followers(t.Context(), []string{"prices"}, func(f verify.Finding) error {
					findings = append(findings, f)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case c.want == "" && len(findings) > 0:
					t.Errorf("%s: found %+v", kind, findings)
				case c.want != "" && (len(findings) != 1 || findings[0].Kind != kind || findings[0].Dataset != "prices" || totals.Findings != 1 ||
					findings[0].Effect == "" || findings[0].Remedy == "" || !strings.Contains(findings[0].Problem, c.want)):
					t.Errorf("%s: found %+v, want %q", kind, findings, c.want)
				}
			}
		})
	}
}

// damaging is a store that damages the bytes of one object in transit, in the reads with the given numbers.
type damaging struct {
	store.Store
	digest dataset.Digest
	reads  int
	bad    []int
}

func (d *damaging) OpenObject(ctx context.Context, digest dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	body, err := d.Store.OpenObject(ctx, digest, offset, length)
	if err != nil || digest != d.digest {
		return body, err
	}
	if d.reads++; !slices.Contains(d.bad, d.reads) {
		return body, nil
	}
	b, err := io.ReadAll(body)
	b[len(b)/2] ^= 1
	return io.NopCloser(bytes.NewReader(b)), errors.Join(err, body.Close())
}

// A copy that is damaged twice in transit, while the object is whole in between, is not replayed: its object is not verified.
func TestDamagedCopyIsNotReplayed(t *testing.T) {
	s := newDirSite(t)
	s.fill(t)
	_, whole := s.verify(t, s.store)
	bad := s.delta(t, 3)
	findings, totals := s.verify(t, &damaging{Store: s.store, digest: bad.Digest, bad: []int{1, 3}})
	if len(findings) != 1 || findings[0].Kind != verify.KindDelta || findings[0].Object != bad || totals.Objects != whole.Objects-1 {
		t.Errorf("found %+v; %+v, want an object less than in %+v", findings, totals, whole)
	}
}
