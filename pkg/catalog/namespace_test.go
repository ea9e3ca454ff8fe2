package catalog_test

import (
	"errors"
	"slices"
	"testing"

	"freshet.dev/pkg/catalog"
)

// TestNamespacesAreSeparate has three environments in one Redis with a dataset and an instance of the same names. It also checks the keys:
// the default namespace has the keys of v0.1, and all keys of a namespace have one hash tag.
func TestNamespacesAreSeparate(t *testing.T) {
	ctx, _, rdb, _ := open(t)
	tags := map[string]string{"": "{catalog}", "a": "{catalog:a}", "b": "{catalog:b}"}
	versions := map[string]uint64{"": 3, "a": 5, "b": 7}
	var want []string
	for namespace, version := range versions {
		c := catalog.New(rdb, namespace)
		if _, err := c.Latest(ctx, "cities"); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("namespace %q starts with %v, want ErrNotFound", namespace, err)
		}
		if moved, err := c.Advance(ctx, record(version, 1)); err != nil || !moved {
			t.Fatalf("namespace %q: moved %v, %v", namespace, moved, err)
		}
		if err := c.RecordInstance(ctx, "i", []byte("of "+namespace)); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"datasets", "versions:cities", "instances", "instance:i"} {
			want = append(want, "freshet:v1:"+tags[namespace]+":"+key)
		}
	}
	keys, err := rdb.Keys(ctx, "*").Result()
	slices.Sort(keys)
	if slices.Sort(want); err != nil || !slices.Equal(keys, want) {
		t.Errorf("the keys are\n%q\nwant\n%q (%v)", keys, want, err)
	}
	for namespace, version := range versions {
		c := catalog.New(rdb, namespace)
		if rec, err := c.Latest(ctx, "cities"); err != nil || rec.Version != version {
			t.Errorf("the newest of namespace %q is %d, %v; want %d", namespace, rec.Version, err, version)
		}
		if all, err := c.Versions(ctx, "cities", 0); err != nil || len(all) != 1 {
			t.Errorf("namespace %q has %d versions, %v", namespace, len(all), err)
		}
		if newest, err := c.Newest(ctx, []string{"cities"}); err != nil || newest["cities"].Version != version {
			t.Errorf("the newest of namespace %q are %v, %v", namespace, newest, err)
		}
		if names, err := c.Datasets(ctx); err != nil || !slices.Equal(names, []string{"cities"}) {
			t.Errorf("the datasets of namespace %q are %v, %v", namespace, names, err)
		}
		all, err := c.Instances(ctx)
		if err != nil || len(all) != 1 || string(all[0].Status) != "of "+namespace {
			t.Errorf("the instances of namespace %q are %+v, %v", namespace, all, err)
		}
	}
	// After a restore the version of one environment decreases, and the others do not change.
	restored := record(2, 1)
	if moved, err := catalog.New(rdb, "a").Replace(ctx, restored, record(5, 1).Ref()); err != nil || !moved {
		t.Fatalf("replace: moved %v, %v", moved, err)
	}
	versions["a"] = 2
	for namespace, version := range versions {
		if newest, err := catalog.New(rdb, namespace).Newest(ctx, []string{"cities"}); err != nil || newest["cities"].Version != version {
			t.Errorf("after a restore of namespace a the newest of namespace %q is %v, %v; want %d", namespace, newest, err, version)
		}
	}
	if err := catalog.New(rdb, "a").ForgetInstance(ctx, "i"); err != nil {
		t.Fatal(err)
	}
	for namespace, left := range map[string]int{"": 1, "a": 0, "b": 1} {
		if all, err := catalog.New(rdb, namespace).Instances(ctx); err != nil || len(all) != left {
			t.Errorf("namespace %q has the instances %+v, %v; want %d", namespace, all, err, left)
		}
	}
}
