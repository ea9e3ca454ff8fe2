package fleet

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// maxText is how many bytes are left of each error and warning in a status for which there is no room otherwise. The
// instance's own log has them whole.
const maxText = 200

// Encode returns s as JSON of at most most bytes. What does not fit goes: the ends of long errors and warnings, then the
// relays, then datasets, first those in the least grave states. The error says that not even the instance's name fits.
func (s Status) Encode(most int) ([]byte, error) {
	data, err := json.Marshal(s)
	if err != nil || len(data) <= most {
		return data, err
	}
	s.Datasets, s.Relays = slices.Clone(s.Datasets), slices.Clone(s.Relays)
	for i := range s.Datasets {
		d := &s.Datasets[i]
		for _, text := range []*string{&d.Error, &d.Warning, &d.LastError, &d.LastPull.GaveUp} {
			*text = cut(*text)
		}
	}
	for i := range s.Relays {
		s.Relays[i].Error = cut(s.Relays[i].Error)
	}
	if data, err = json.Marshal(s); err != nil || len(data) <= most {
		return data, err
	}
	s.Relays = nil
	slices.SortStableFunc(s.Datasets, func(a, b DatasetStatus) int { return a.State.gravity() - b.State.gravity() })
	all := s.Datasets
	// The most datasets that fit lie between fits and fails.
	fits, fails := -1, len(all)+1
	var best []byte
	for fits+1 < fails {
		n := (fits + fails) / 2
		s.Datasets, s.Omitted = all[:n], len(all)-n
		if data, err = json.Marshal(s); err != nil {
			return nil, err
		}
		if len(data) <= most {
			fits, best = n, data
		} else {
			fails = n
		}
	}
	if best == nil {
		return nil, fmt.Errorf("the status of instance %.60q does not fit into %d bytes", s.Instance, most)
	}
	return best, nil
}

// gravity orders states, the gravest first. One that is not known here, because the instance is of a later release, may
// be anything.
func (s State) gravity() int { return slices.Index(States[:], s) }

// cut returns the begin of a long text.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "..."
}
