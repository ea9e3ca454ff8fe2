package refresh

import (
	"cmp"
	"fmt"
	"time"

	"freshet.dev/pkg/fleet"
)

// judgePinned is Judge for a dataset with a pin. Neither beacons nor newer versions change the state before the pin is older than
// Config.PinFor.
func (h *Health) judgePinned(version uint64, now, wall time.Time) Judgement {
	j := Judgement{State: fleet.Lagging, Since: h.PinnedSince}
	old := !wall.Before(h.PinnedUntil)
	if !old {
		j.Left = h.PinnedUntil.Sub(wall)
	}
	switch {
	case h.PinServed && old && h.Newest > version:
		j.Since = h.PinnedUntil
	case h.PinServed:
		j.State, j.Since = fleet.Pinned, now
	case h.Err != nil:
		j.State, j.Since = fleet.Failing, h.FailingSince
	case h.Quarantined != "":
		j.State, j.Since = fleet.Quarantined, h.QuarantinedSince
	case h.Refreshing:
		j.State, j.Since = fleet.Refreshing, h.RefreshingSince
	}
	if j.State == h.State {
		j.Since = h.Since
	}
	return j
}

// whyPinned is Why for a dataset with a pin; empty if Why has the description.
func (h *Health) whyPinned(state fleet.State) string {
	if h.Pin == nil {
		return ""
	}
	pin := h.Pin
	by := fmt.Sprintf("version %d is pinned by %s (journal entry %d)", pin.Version, cmp.Or(pin.By, "someone unnamed"), pin.Entry)
	if pin.Reason != "" {
		by += ": " + pin.Reason
	}
	switch {
	case state == fleet.Pinned:
		return by
	case state == fleet.Lagging && h.PinServed:
		return fmt.Sprintf("%s; the pin is older than %s (FRESHET_PIN_FOR), and version %d is newer: freshet unpin releases the instance",
			by, h.PinnedUntil.Sub(pin.At), h.Newest)
	case state == fleet.Refreshing:
		return fmt.Sprintf("version %d, to which the instance is pinned, is being loaded", pin.Version)
	case state == fleet.Lagging && h.PinKnown:
		return fmt.Sprintf("%s, and waits to be loaded", by)
	case state == fleet.Lagging:
		text := fmt.Sprintf("%s, and its record has not been found yet", by)
		if h.PinErr != nil {
			text += ": " + h.PinErr.Error()
		}
		return text
	}
	return ""
}

// PinWarning describes what is wrong about pins; empty if nothing is. Blind is why the instance may not receive that its pin was removed.
func (h *Health) PinWarning(state fleet.State, now time.Time) []string {
	var all []string
	if h.PinRefused != "" {
		all = append(all, h.PinRefused)
	}
	if h.PinStoreErr != nil {
		all = append(all, "the pins in the cache folder cannot be used, so a restart needs a relay to know them: "+h.PinStoreErr.Error())
	}
	if h.Pin == nil {
		return all
	}
	if state == fleet.Lagging {
		all = append(all, h.whyPinned(state))
	}
	if at, _ := h.blindAt(); !now.Before(at) {
		all = append(all, "that the pin was removed may not be known: "+h.whyBlind())
	}
	return all
}
