package refresh

import (
	"cmp"
	"slices"
	"time"
)

// maxUnserved bounds how many versions of a dataset are remembered one by one.
const maxUnserved = 64

// unserved lists the versions that are known and newer than the served one, in ascending order. A lower version may have become
// known after a higher one.
type unserved []knownVersion

// knownVersion is a version number and when the instance first knew of it.
type knownVersion struct {
	version uint64
	at      time.Time
}

// add inserts a version, unless the list has it. A full list replaces its last version by a higher one, which then seems known for
// longer than it was, never for less. It takes no lower one.
func (u unserved) add(version uint64, at time.Time) unserved {
	i, listed := slices.BinarySearchFunc(u, version, func(k knownVersion, v uint64) int { return cmp.Compare(k.version, v) })
	switch {
	case listed:
	case len(u) < maxUnserved:
		u = slices.Insert(u, i, knownVersion{version, at})
	case i == len(u):
		u[i-1].version = version
	}
	return u
}

// after returns the versions above version.
func (u unserved) after(version uint64) unserved {
	for len(u) > 0 && u[0].version <= version {
		u = u[1:]
	}
	if len(u) == 0 {
		return nil
	}
	return u
}

// upTo returns the versions not above version.
func (u unserved) upTo(version uint64) unserved {
	for len(u) > 0 && u[len(u)-1].version > version {
		u = u[:len(u)-1]
	}
	return u
}

// since returns when the first of the versions became known; zero if the list is empty.
func (u unserved) since() time.Time {
	if len(u) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(u, func(a, b knownVersion) int { return a.at.Compare(b.at) }).at
}
