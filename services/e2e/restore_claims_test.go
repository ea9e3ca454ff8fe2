package e2e

import (
	"testing"
	"time"
)

// These are the invariants of all claims that instances made from the begin of a test to its end.

// settles is the time after the programs of a store are ready in which every instance receives a beacon of that store or becomes blind.
const settles = 3*shortBeacon + late

// checkClaims holds the claims of all instances against each other:
//
//   - one version id names one content, on whichever instance and in whatever state;
//   - two instances that report to be fresh at the same time serve the same, except that one may be behind in number for three periods
//     of the beacon, which is how long an instance may trust the last beacon;
//   - after the time settled, two instances that report to be fresh on the same number serve the same, without exception;
//   - no instance returns to a version id that it has left since the time exchanged.
func (w *restoration) checkClaims(exchanged, settled time.Time) {
	w.t.Helper()
	all := make([][]claim, len(w.fleet))
	contents := map[string]digest{}
	for n, i := range w.fleet {
		i.unpolled()
		all[n] = i.claims()
		w.t.Logf("%s made %d claims", i.name, len(all[n]))
		for _, c := range all[n] {
			was, known := contents[c.ID]
			if known && was != c.content {
				w.t.Errorf("%s serves other content under an id that was seen with another: %v", i.name, c.said)
				return
			}
			contents[c.ID] = c.content
		}
		checkFlaps(w.t, i.name, all[n], exchanged)
	}
	for a := range all {
		for b := a + 1; b < len(all); b++ {
			w.checkPair(w.fleet[a].name, w.fleet[b].name, all[a], all[b], settled)
		}
	}
}

// checkPair compares two instances where their reports overlap in time.
func (w *restoration) checkPair(nameA, nameB string, as, bs []claim, settled time.Time) {
	w.t.Helper()
	var since time.Time // since when they differ, and both say fresh
	for len(as) > 0 && len(bs) > 0 {
		a, b := as[0], bs[0]
		if a.to.Before(b.to) {
			as = as[1:]
		} else {
			bs = bs[1:]
		}
		if a.to.Before(b.from) || b.to.Before(a.from) {
			continue
		}
		begins, ends := later(a.from, b.from), earlier(a.to, b.to)
		if a.State != "fresh" || b.State != "fresh" || a.content == b.content {
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = begins
		}
		same := a.Version == b.Version && begins.After(settled)
		if same || ends.Sub(since) > 3*shortBeacon+late {
			w.t.Errorf("%s and %s both say fresh and differ, for %v by now: %v; %v", nameA, nameB, ends.Sub(since).Round(time.Millisecond), a.said, b.said)
			return
		}
	}
}

// checkFlaps fails the test if the instance returned to a version id that it had left.
func checkFlaps(t *testing.T, name string, claims []claim, exchanged time.Time) {
	t.Helper()
	left := map[string]bool{}
	last := ""
	for _, c := range claims {
		if c.from.Before(exchanged) || c.ID == last {
			continue
		}
		if left[c.ID] {
			t.Errorf("%s flaps: it came back to what it had left: %v", name, c.said)
			return
		}
		left[last] = last != ""
		last = c.ID
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
