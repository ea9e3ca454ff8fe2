package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// cost adds a row to the table of faults: the time after mended until every instance followed the store in the last phase, and the
// states that instances reported since began, with the longest duration of each.
func (w *restoration) cost(fault string, began, mended time.Time) {
	var order []string
	longest := map[string]time.Duration{}
	for _, i := range w.fleet {
		last, since := "", time.Time{}
		for _, c := range i.claims() {
			if c.to.Before(began) {
				continue
			}
			if c.State != last {
				last, since = c.State, c.from
			}
			if !slices.Contains(order, c.State) {
				order = append(order, c.State)
			}
			longest[c.State] = max(longest[c.State], c.to.Sub(since))
		}
	}
	var seen []string
	for _, state := range order {
		seen = append(seen, fmt.Sprintf("%s %.2fs", state, longest[state].Seconds()))
	}
	table.add(row{Fault: fault, Heal: max(0, w.followed.Sub(mended)), Seen: strings.Join(seen, ", ")})
}
