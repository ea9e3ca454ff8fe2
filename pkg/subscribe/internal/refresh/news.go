package refresh

import "time"

// maxNews is how many versions are remembered one by one.
const maxNews = 64

// news are versions that are known and not served, ascending, each with when it became known.
type news []known

type known struct {
	version uint64
	at      time.Time
}

// add takes note of a version. When there are too many, the last stands for it: that seems to have been known for longer
// than it was, never for less.
func (n news) add(version uint64, at time.Time) news {
	switch last := len(n) - 1; {
	case last >= 0 && n[last].version >= version:
	case len(n) == maxNews:
		n[last].version = version
	default:
		n = append(n, known{version, at})
	}
	return n
}

// after returns those above the version.
func (n news) after(version uint64) news {
	for len(n) > 0 && n[0].version <= version {
		n = n[1:]
	}
	if len(n) == 0 {
		return nil
	}
	return n
}

// upTo returns those not above the version.
func (n news) upTo(version uint64) news {
	for len(n) > 0 && n[len(n)-1].version > version {
		n = n[:len(n)-1]
	}
	return n
}

// since returns when the first of them became known; zero if there is none.
func (n news) since() time.Time {
	if len(n) == 0 {
		return time.Time{}
	}
	return n[0].at
}
