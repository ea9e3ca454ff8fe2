package refresh

import "time"

// maxUnserved bounds how many versions of a dataset are remembered one by one.
const maxUnserved = 64

// unserved lists the versions that are known and newer than the served one, in ascending order.
type unserved []knownVersion

// knownVersion is a version number and when the instance first knew of it.
type knownVersion struct {
	version uint64
	at      time.Time
}

// add appends a version. A full list replaces its last version, which then seems known for longer than it was, never for
// less.
func (u unserved) add(version uint64, at time.Time) unserved {
	switch last := len(u) - 1; {
	case last >= 0 && u[last].version >= version:
	case len(u) == maxUnserved:
		u[last].version = version
	default:
		u = append(u, knownVersion{version, at})
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
	return u[0].at
}
