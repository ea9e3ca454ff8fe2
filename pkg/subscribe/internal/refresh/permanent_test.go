package refresh

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// tooLarge is an error that every attempt at a version repeats.
type tooLarge struct{ error }

func (tooLarge) Permanent() bool { return true }

// A version that every attempt refuses is attempted once, and says why; a newer version is attempted at once.
func TestPermanentFailureIsNotRetried(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.load = func(_ context.Context, rec dataset.VersionRecord, _ func()) error {
			if rec.Version == 2 || rec.Version == 3 {
				return tooLarge{errors.New("too large")}
			}
			return nil
		}
		r.start(config)
		r.announce("prices", 1)
		r.serves("prices", 1)
		r.announce("prices", 2)
		pass(24 * time.Hour)
		r.serves("prices", 1)
		r.is("prices", fleet.Failing)
		if h := r.engine.Health("prices"); h.Err == nil || !strings.Contains(h.Err.Error(), "too large") || h.Newest != 2 {
			t.Errorf("health is %+v", h)
		}
		r.wantLoads("prices/1", "prices/2")
		r.announce("prices", 3)
		pass(24 * time.Hour)
		r.wantLoads("prices/1", "prices/2", "prices/3")
		r.announce("prices", 4)
		r.serves("prices", 4) // at once
		r.wantLoads("prices/1", "prices/2", "prices/3", "prices/4")
	})
}
