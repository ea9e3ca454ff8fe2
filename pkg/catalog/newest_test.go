package catalog_test

import (
	"fmt"
	"math"
	"testing"

	"freshet.dev/pkg/dataset"

	"github.com/google/go-cmp/cmp"
)

func TestNewestOfMany(t *testing.T) {
	ctx, s, rdb, c := open(t)
	var names []string
	want := map[string]dataset.Ref{}
	for i := range 1200 {
		name := fmt.Sprintf("set-%d", i)
		names = append(names, name)
		if i%3 == 0 {
			continue
		}
		rec := record(uint64(i), 0)
		rec.Dataset = name
		if _, err := c.Advance(ctx, rec); err != nil {
			t.Fatal(err)
		}
		want[name] = dataset.Ref{Version: uint64(i)}
	}
	largest := record(math.MaxUint64, 1)
	if _, err := c.Advance(ctx, largest); err != nil {
		t.Fatal(err)
	}
	names, want["cities"] = append(names, "cities"), dataset.Ref{Version: math.MaxUint64}
	got, err := c.Newest(ctx, names)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := c.Newest(ctx, nil); err != nil || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := c.Newest(ctx, []string{"No"}); err == nil {
		t.Error("a bad name is accepted")
	}

	// An incomplete or unreadable dataset counts as missing, and Advance repairs it if possible.
	for name, damage := range map[string]func() error{
		"out of the set": func() error { return rdb.SRem(ctx, datasetsKey, "cities").Err() },
		"no newest":      func() error { return rdb.HDel(ctx, citiesKey, "latest").Err() },
		"gone":           func() error { return rdb.Del(ctx, citiesKey).Err() },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Newest(ctx, []string{"cities", "set-1"}); err != nil || got["cities"].Version != 0 || got["set-1"].Version != 1 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if _, err := c.Advance(ctx, largest); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Newest(ctx, []string{"cities"}); err != nil || got["cities"].Version != math.MaxUint64 {
			t.Errorf("%s, after Advance: %v, %v", name, got, err)
		}
	}
	for name, damage := range map[string]func() error{
		"no entry": func() error {
			if err := rdb.Del(ctx, citiesKey).Err(); err != nil {
				return err
			}
			return rdb.HSet(ctx, citiesKey, "latest", "99999999999999999999\nx").Err()
		},
		"no hash": func() error {
			if err := rdb.Del(ctx, citiesKey).Err(); err != nil {
				return err
			}
			return rdb.Set(ctx, citiesKey, "x", 0).Err()
		},
		"no set": func() error {
			if err := rdb.Del(ctx, datasetsKey).Err(); err != nil {
				return err
			}
			return rdb.Set(ctx, datasetsKey, "x", 0).Err()
		},
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Newest(ctx, []string{"cities"}); err != nil || got["cities"].Version != 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	s.Kill()
	if _, err := c.Newest(ctx, []string{"cities"}); err == nil {
		t.Error("a dead server answers")
	}
}
