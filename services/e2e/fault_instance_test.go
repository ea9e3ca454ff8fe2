package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
)

// Invariant: an instance that is killed in the middle of a refresh comes back with the version that it served, says from where it has
// it and that there is a newer one, and goes on to that.
func TestFaultInstanceIsKilledInMidRefresh(t *testing.T) {
	var line *proxy
	tr := newTrial(t, "instance killed in mid-refresh", setting{behind: &line})
	v := tr.newest()
	tr.cached(v)
	tr.begin()
	line.part() // the bytes of the version do not come
	tr.publish()
	began := time.Now()
	tr.await("the refresh hangs", saying(fleet.Refreshing, v))
	killed := tr.instances[0]
	killed.kill()
	killed.start()
	tr.await("it was started again", func(d fleet.DatasetStatus) error {
		if d.From != fleet.Cache {
			return errors.New("it does not say that it serves from its cache folder")
		}
		return saying(fleet.Refreshing, v)(d)
	}, killed)
	tr.never(began.Add(late), fleet.Fresh)
	tr.end()
	line.heal()
	tr.healed()
}

// cached waits until the cache folders contain the version.
func (tr *trial) cached(v uint64) {
	tr.t.Helper()
	for _, i := range tr.instances {
		eventually(tr.t, func(context.Context) error {
			if inCache(i.cache, tr.name) != v {
				return errors.New("the version is not in the cache folder yet")
			}
			return nil
		})
	}
}

// Invariant: whatever has become of its cache folder, an instance starts, serves nothing of it that is not exactly a committed
// version, and is fresh once a relay answers.
func TestFaultCacheFolderIsDamaged(t *testing.T) {
	edit := func(t *testing.T, path string, change func([]byte) []byte) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, change(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	objects := func(change func([]byte) []byte) func(t *testing.T, folder string) {
		return func(t *testing.T, folder string) {
			t.Helper()
			all, err := filepath.Glob(filepath.Join(folder, "*.object"))
			if err != nil || len(all) == 0 {
				t.Fatalf("there are no objects in %s: %v", folder, err)
			}
			for _, path := range all {
				edit(t, path, change)
			}
		}
	}
	record := func(change func([]byte) []byte) func(t *testing.T, folder string) {
		return func(t *testing.T, folder string) {
			t.Helper()
			edit(t, filepath.Join(folder, "version.json"), change)
		}
	}
	for _, damage := range []struct {
		what string
		do   func(t *testing.T, folder string)
	}{
		{"objects cut short", objects(func(b []byte) []byte { return b[:len(b)/2] })},
		{"objects empty", objects(func([]byte) []byte { return nil })},
		{"a bit flipped in the objects", objects(func(b []byte) []byte { b[len(b)/3] ^= 4; return b })},
		{"version record cut short", record(func(b []byte) []byte { return b[:len(b)/2] })},
		{"version record is no JSON", record(func(b []byte) []byte { return bytes.Repeat([]byte{0}, len(b)) })},
		{"version record of another version", record(func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"version":`), []byte(`"version":1`), 1)
		})},
		{"objects removed", func(t *testing.T, folder string) {
			t.Helper()
			all, _ := filepath.Glob(filepath.Join(folder, "*.object"))
			for _, path := range all {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"a file in the place of the folder", func(t *testing.T, folder string) {
			t.Helper()
			err := os.RemoveAll(folder)
			if err == nil {
				err = os.WriteFile(folder, []byte("?"), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(damage.what, func(t *testing.T) {
			var line *proxy
			tr := newTrial(t, "cache folder damaged: "+damage.what, setting{behind: &line})
			v := tr.newest()
			tr.cached(v)
			hit := tr.instances[0]
			tr.begin()
			hit.kill()
			hit.comesBackWith(0)
			damage.do(t, filepath.Join(hit.cache, tr.name))
			line.part()
			hit.start()
			began := time.Now()
			tr.await("it serves nothing that is damaged", func(d fleet.DatasetStatus) error {
				if d.Version != 0 {
					return errors.New("it serves something")
				}
				if d.State != fleet.Refreshing && d.State != fleet.Failing {
					return errors.New("it does not say that there is a version which it does not serve: " + string(d.State))
				}
				return nil
			}, hit)
			tr.neverSaid([]*subject{hit}, began, fleet.Fresh)
			tr.end()
			line.heal()
			tr.healed()
		})
	}
}
