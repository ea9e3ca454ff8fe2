package fleet

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// maxText is the length, in bytes, to which Encode truncates errors and warnings of a status that is too long. The log of
// the instance has the whole texts.
const maxText = 200

// Encode returns s as JSON of at most limit bytes. It drops parts of a longer status, in this order: the ends of long errors
// and warnings, the relays, datasets, those in the least severe states first. It never drops labels, because instances are chosen
// by them. It returns an error if not even the instance's name and labels fit.
func (s Status) Encode(limit int) ([]byte, error) {
	data, err := json.Marshal(s)
	if err != nil || len(data) <= limit {
		return data, err
	}
	s.Datasets, s.Relays = slices.Clone(s.Datasets), slices.Clone(s.Relays)
	for i := range s.Datasets {
		d := &s.Datasets[i]
		for _, text := range []*string{&d.Error, &d.Warning, &d.LastError, &d.LastPull.Fallback} {
			*text = truncate(*text)
		}
	}
	for i := range s.Relays {
		s.Relays[i].Error = truncate(s.Relays[i].Error)
	}
	if data, err = json.Marshal(s); err != nil || len(data) <= limit {
		return data, err
	}
	s.Relays = nil
	slices.SortStableFunc(s.Datasets, func(a, b DatasetStatus) int { return a.State.severity() - b.State.severity() })
	all := s.Datasets
	// Invariant: fits datasets fit, fails datasets do not.
	fits, fails := -1, len(all)+1
	var best []byte
	for fits+1 < fails {
		n := (fits + fails) / 2
		s.Datasets, s.Omitted = all[:n], len(all)-n
		if data, err = json.Marshal(s); err != nil {
			return nil, err
		}
		if len(data) <= limit {
			fits, best = n, data
		} else {
			fails = n
		}
	}
	if best == nil {
		return nil, fmt.Errorf("the status of instance %.60q does not fit into %d bytes", s.Instance, limit)
	}
	return best, nil
}

// severity returns the rank of s, 0 for the most severe state. It is -1 for an unknown state of a later release, which may be
// severe.
func (s State) severity() int { return slices.Index(States[:], s) }

// truncate truncates a text to maxText bytes.
func truncate(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "..."
}
