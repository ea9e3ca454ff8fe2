package subscribe

import (
	"errors"

	"freshet.dev/pkg/subscribe/internal/bounds"
	"freshet.dev/pkg/subscribe/internal/memory"
)

// ErrBounds is wrapped by the error of a version that the instance does not load because of its [Bounds].
var ErrBounds = bounds.ErrRefused

// Bounds are what an instance may keep in memory. A version outside of them is refused before anything is pulled, from what its record says;
// the version before stays served. The dataset is then in the state failing, with the bound and the numbers as its error. A newer version is
// tried at once. A version that MaxRecords or MaxBytes refuses is not tried again; one that the others refuse is tried with the usual pauses,
// because memory may become free. Bounds hold for versions in the cache folder too. 0 is no bound.
type Bounds struct {
	// MaxRecords bounds the records of each dataset.
	MaxRecords uint64
	// MaxBytes bounds the bytes of the table of each dataset, and MaxTotalBytes those of all tables together, as [table.EstimateBytes] says
	// and as the status shows them. Deltas add up to a quarter to that.
	MaxBytes, MaxTotalBytes int64
	// MinMemoryLeft is how many bytes must stay free after a load: of the control group's memory limit, of the memory that the machine has
	// available and of GOMEMLIMIT, the least. The load of a snapshot takes the new table while the one before is still served. Without a limit that can
	// be read, which only Linux and GOMEMLIMIT have, a warning is logged and the bound is not kept.
	MinMemoryLeft int64
}

// BoundNames returns the values of [Failure].Bound.
func BoundNames() []string {
	return []string{bounds.MaxRecords, bounds.MaxBytes, bounds.MaxTotalBytes, bounds.MinMemoryLeft}
}

// check returns the name of the first field that is negative; empty if none is.
func (b Bounds) check() string {
	switch {
	case b.MaxBytes < 0:
		return "MaxBytes"
	case b.MaxTotalBytes < 0:
		return "MaxTotalBytes"
	case b.MinMemoryLeft < 0:
		return "MinMemoryLeft"
	}
	return ""
}

// newBounds returns the bounds of the loader; nil for none.
func (s *Subscriber) newBounds() *bounds.Bounds {
	if s.cfg.Bounds == (Bounds{}) {
		return nil
	}
	left := s.cfg.memoryLeft
	if left == nil {
		left = memory.Process().Left
	}
	if s.cfg.Bounds.MinMemoryLeft > 0 {
		if room, err := left(); err != nil {
			s.cfg.Log.Warn("the bound on the memory left (FRESHET_MIN_MEMORY_LEFT) is not kept", "error", err)
		} else {
			s.cfg.Log.Info("memory left at the start", "bytes", room.Bytes, "limited_by", room.Limit)
		}
	}
	return bounds.New(bounds.Config(s.cfg.Bounds), left)
}

// refusedBy returns the bound that refused a version with err, and whether it did so before; empty if none did.
func refusedBy(err error) (bound string, repeated bool) {
	if r, ok := errors.AsType[*bounds.Refusal](err); ok {
		return r.Bound, r.Repeated
	}
	return "", false
}
