package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
)

const smallDisk = 2 << 20

// Invariant: an instance whose cache folder is on a full disk goes on serving the newest version, is fresh, and warns of what a restart
// would begin with; which is what it had there before. When there is room again, it keeps what it serves.
func TestFaultDiskIsFullAtTheCache(t *testing.T) {
	onSmallDisk(t, smallDisk, func(t *testing.T, folder string) {
		cache := filepath.Join(folder, "cache")
		tr := newTrial(t, "disk full at the cache folder", setting{cache: func(n int) string {
			if n == 1 {
				return cache
			}
			return ""
		}})
		hit := tr.instances[0]
		kept := tr.newest()
		tr.cached(kept)
		tr.begin()
		began := time.Now()
		free := fill(t, folder)
		tr.publish()
		tr.await("the disk is full", fresh(tr.newest()))
		tr.await("it says what that means", warned, hit)
		hit.kill()
		if hit.floor != kept {
			t.Errorf("the cache folder has version %d, want %d", hit.floor, kept)
		}
		hit.start()
		tr.await("it was started again", fresh(tr.newest()))
		tr.publish()
		tr.await("the disk is still full", fresh(tr.newest()))
		tr.await("it says so again", warned, hit)
		tr.end()
		free()
		tr.publish()
		tr.healed()
		tr.never(began, fleet.Failing, fleet.Overdue, fleet.Waiting)
		tr.neverSaid(tr.instances[1:], began, fleet.Blind) // the other was, until it had asked the event log
		tr.cached(tr.newest())
		tr.await("there is nothing to warn of", func(d fleet.DatasetStatus) error {
			if d.Warning != "" {
				return fmt.Errorf("it warns: %s", d.Warning)
			}
			return nil
		})
	})
}

// warned is the condition that the status has a warning.
func warned(d fleet.DatasetStatus) error {
	if d.Warning == "" {
		return errors.New("it does not warn")
	}
	return nil
}

// Invariant: a store whose disk is full takes no version, and says so to who publishes; what is there is served, and is the newest, so
// that the instances are fresh. When there is room again, publishing goes on with the number after the last.
func TestFaultDiskIsFullAtTheStore(t *testing.T) {
	onSmallDisk(t, smallDisk, func(t *testing.T, folder string) {
		tr := newTrial(t, "disk full at the store", setting{store: "dir://" + filepath.Join(folder, "store")})
		v := tr.newest()
		tr.begin()
		began := time.Now()
		free := fill(t, folder)
		for _, by := range []struct{ method, path string }{{http.MethodPatch, ""}, {http.MethodPost, "/versions"}} {
			text, next := tr.change(50)
			if by.method == http.MethodPost {
				text = lines(next)
			}
			status, _, body, err := do(t.Context(), by.method, tr.Publisher.URL+"/v1/datasets/"+tr.name+by.path+"?key=key", "application/x-ndjson", []byte(text))
			if err != nil || status < 500 {
				t.Errorf("publish to a full disk: %d %s %v; want that the publisher refuses", status, body, err)
			}
		}
		wait(t, blindAfter+late)
		tr.await("the disk is full", fresh(v))
		restarted := tr.instances[1]
		restarted.kill()
		restarted.start()
		tr.await("one was started again", fresh(v))
		tr.end()
		free()
		tr.publish()
		tr.healed()
		tr.never(began, fleet.Failing, fleet.Overdue)
		tr.neverSaid(tr.instances[:1], began, fleet.Blind)
	})
}
