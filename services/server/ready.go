package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"freshet.dev/pkg/fleet"
)

// readiness is what /readyz?verbose reports of a dataset, for the operator of a load balancer.
type readiness struct {
	State      fleet.State `json:"state"`
	Since      time.Time   `json:"since"`
	Version    uint64      `json:"version"`
	Newest     uint64      `json:"newest"`
	AgeSeconds float64     `json:"age_seconds"`
	// BehindSeconds is how long a newer version has been known and not served.
	BehindSeconds float64 `json:"behind_seconds,omitempty"`
	Error         string  `json:"error,omitempty"`
}

// ready returns an error unless the instance should get requests. It should if every dataset has a table and no dataset has been
// behind for longer than the configured lag. Its first indexes must be built. A deleted dataset keeps its table. The map is for the answer, with all datasets if verbose is
// set.
func (s *Server) ready(_ context.Context, verbose bool) (map[string]any, error) {
	now := time.Now()
	detail := make(map[string]any)
	waiting, lagging, deleted := make(map[string]string), make(map[string]string), make(map[string]string)
	all := make(map[string]readiness, len(s.datasets))
	var without, late, gone []string
	for _, d := range s.deps.Source.Status().Datasets {
		behind := d.Behind(now)
		all[d.Dataset] = readiness{
			State: d.State, Since: d.Since, Version: d.Version, Newest: d.Newest, AgeSeconds: d.AgeSeconds,
			BehindSeconds: behind.Seconds(), Error: d.Error,
		}
		why := string(d.State)
		switch {
		case d.Error != "":
			why += ": " + d.Error
		case d.Version == 0 && d.Warning != "":
			why += ": " + d.Warning
		}
		switch {
		case d.Version == 0:
			without, waiting[d.Dataset] = append(without, d.Dataset), why
		case d.Deleted != nil && d.Deleted.Serves.Version == 0:
			gone, deleted[d.Dataset] = append(gone, fmt.Sprintf("%s is %s", d.Dataset, d.Deleted)), d.Deleted.String()
		case s.cfg.ReadyMaxLag > 0 && behind > s.cfg.ReadyMaxLag:
			late, lagging[d.Dataset] = append(late, d.Dataset), fmt.Sprintf("version %d is served, %d has been known for %s; %s",
				d.Version, d.Newest, behind.Round(time.Second), why)
		}
	}
	if verbose {
		detail["datasets"] = all
	} else if len(without)+len(late)+len(gone) == 0 {
		detail["datasets"] = len(all)
	}
	var reasons []string
	if len(without) > 0 {
		detail["waiting"] = waiting
		reasons = append(reasons, "no version is served yet of: "+strings.Join(without, ", "))
	}
	if names := s.indexing(); len(names) > 0 {
		detail["indexing"] = names
		reasons = append(reasons, "the indexes (FRESHET_INDEXES) are being built of: "+strings.Join(names, ", "))
	}
	if len(gone) > 0 {
		detail["deleted"] = deleted
		reasons = append(reasons, strings.Join(gone, ", ")+", and this instance has no table of it; leave it out of FRESHET_DATASETS, or publish it again")
	}
	if len(late) > 0 {
		detail["lagging"] = lagging
		reasons = append(reasons, fmt.Sprintf("behind for more than %s (FRESHET_READY_MAX_LAG) with: %s", s.cfg.ReadyMaxLag, strings.Join(late, ", ")))
	}
	if len(reasons) > 0 {
		return detail, fmt.Errorf("%s", strings.Join(reasons, "; "))
	}
	return detail, nil
}
