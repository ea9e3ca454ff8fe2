package publish

import (
	"fmt"
	"strconv"
	"strings"

	"freshet.dev/pkg/dataset"
)

// minBaseID is how many digits of an id a base has at least: as many as messages show.
const minBaseID = 12

// ParseBase returns the Base and the BaseID of a PatchInput from text: "41", or "41@" and a version id or at least its first 12
// digits.
func ParseBase(text string) (version uint64, id string, err error) {
	number, id, hasID := strings.Cut(text, "@")
	version, err = strconv.ParseUint(number, 10, 63)
	switch {
	case err != nil:
		return 0, "", fmt.Errorf("%.60q names no version: want a whole number such as 41, or number and id such as 41@0123456789ab", text)
	case version == 0:
		return 0, "", fmt.Errorf("%.60q: versions begin at 1; leave it out if the patch is for any version", text)
	case hasID && id == "":
		return 0, "", fmt.Errorf("%.60q: the @ has no id after it; add the id or leave the @ out", text)
	}
	if err := (base{version, id}).check(); err != nil {
		return 0, "", err
	}
	return version, id, nil
}

// base is the version that a patch is for; the zero base is any version.
type base struct {
	version uint64
	id      string // the first digits; if empty, only the number is compared
}

func (in PatchInput) base() base { return base{in.Base, in.BaseID} }

// check returns an error if b is of no form that a version can have.
func (b base) check() error {
	most := 2 * len(dataset.VersionID{})
	switch {
	case b.id == "":
		return nil
	case b.version == 0:
		return fmt.Errorf("id %.60q stands without a version number; name both", b.id)
	case len(b.id) < minBaseID || len(b.id) > most || strings.Trim(b.id, "0123456789abcdef") != "":
		return fmt.Errorf("%.60q is no version id: want %d to %d lower-case hex digits; `freshet versions` shows them", b.id, minBaseID, most)
	}
	return nil
}

// String returns "41", or "41 (0123456789ab)".
func (b base) String() string {
	if b.id == "" {
		return strconv.FormatUint(b.version, 10)
	}
	return fmt.Sprintf("%d (%.*s)", b.version, minBaseID, b.id)
}

// is reports whether b names the version.
func (b base) is(ref dataset.Ref) bool {
	return b.version == 0 || b.version == ref.Version && strings.HasPrefix(ref.ID.String(), b.id)
}

// checkBase says why a patch for the version base cannot be applied to newest.
func checkBase(name string, newest dataset.VersionRecord, base base) error {
	switch {
	case newest.Version == 0:
		return fmt.Errorf("patch dataset %q: %w; publish all of its records first", name, ErrNoVersion)
	case !base.is(newest.Ref()):
		return fmt.Errorf("patch dataset %q: %w", name, baseError{base, newest.Ref()})
	}
	return nil
}

// baseError is the ErrConflict of a patch that is for another version than the newest. No other publisher need have been faster.
type baseError struct {
	base   base
	newest dataset.Ref
}

func (e baseError) Error() string {
	text := fmt.Sprintf("the patch is for version %s, the newest is %s; ", e.base, e.newest)
	switch {
	case e.base.version > e.newest.Version:
		return text + "there is no such version yet"
	case e.base.version == e.newest.Version:
		return text + "the store was restored or created again: make the patch again from its version"
	}
	return text + "make the patch again from that"
}

func (baseError) Unwrap() error { return ErrConflict }
