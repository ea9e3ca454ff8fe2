package patch

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/commit"
)

// ErrNoVersion is returned when the dataset has no version to patch.
var ErrNoVersion = errors.New("the dataset has no version")

// ErrDeleted is returned when the newest version deletes the dataset, so that there is nothing to patch, or when a rollback would restore
// a version that does.
var ErrDeleted = errors.New("the version deletes the dataset")

// minBaseID is the least number of digits of an id in a base: as many as messages show.
const minBaseID = 12

// Base is the version that a patch is for. The zero Base is any version.
type Base struct {
	Version uint64
	ID      string // the first digits; if empty, only the number is compared
}

// Check returns an error if no version can have the base's id.
func (b Base) Check() error {
	most := 2 * len(dataset.VersionID{})
	switch {
	case b.ID == "":
		return nil
	case b.Version == 0:
		return fmt.Errorf("id %.60q stands without a version number; name both", b.ID)
	case len(b.ID) < minBaseID || len(b.ID) > most || strings.Trim(b.ID, "0123456789abcdef") != "":
		return fmt.Errorf("%.60q is no version id: want %d to %d lower-case hex digits; `freshet versions` shows them", b.ID, minBaseID, most)
	}
	return nil
}

// String returns "41", or "41 (0123456789ab)".
func (b Base) String() string {
	if b.ID == "" {
		return strconv.FormatUint(b.Version, 10)
	}
	return fmt.Sprintf("%d (%.*s)", b.Version, minBaseID, b.ID)
}

// Matches reports whether b names the version.
func (b Base) Matches(ref dataset.Ref) bool {
	return b.Version == 0 || b.Version == ref.Version && strings.HasPrefix(ref.ID.String(), b.ID)
}

// CheckNewest returns an error if a patch for b cannot be applied to newest.
func (b Base) CheckNewest(name string, newest dataset.VersionRecord) error {
	switch {
	case newest.Version == 0:
		return fmt.Errorf("patch dataset %q: %w; publish all of its records first", name, ErrNoVersion)
	case newest.Deleted:
		return fmt.Errorf("patch dataset %q: version %s: %w: %s; publish all of its records, or restore them with freshet rollback",
			name, newest.Ref(), ErrDeleted, newest.DeletedText())
	case !b.Matches(newest.Ref()):
		return fmt.Errorf("patch dataset %q: %w", name, baseError{b, newest.Ref()})
	}
	return nil
}

// baseError is the ErrConflict of a patch for another version than the newest. No other publisher need have been faster.
type baseError struct {
	base   Base
	newest dataset.Ref
}

func (e baseError) Error() string {
	text := fmt.Sprintf("the patch is for version %s, the newest is %s; ", e.base, e.newest)
	switch {
	case e.base.Version > e.newest.Version:
		return text + "there is no such version yet"
	case e.base.Version == e.newest.Version:
		return text + "the store was restored or created again: make the patch again from its version"
	}
	return text + "make the patch again from that"
}

func (baseError) Unwrap() error { return commit.ErrConflict }
