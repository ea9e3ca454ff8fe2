package fleet

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
)

// AbilityDeleted is the ability to keep the table of a dataset that a version deletes. An instance without it loads that version like any
// other: it serves an empty table.
const AbilityDeleted = "deleted"

// Abilities returns the abilities of this release, for [Status].Abilities.
func Abilities() []string { return []string{AbilityDeleted} }

// Deletion says who deleted a dataset, and what the instance answers lookups from since.
type Deletion struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// At is the time of the delete, by the publisher's clock.
	At time.Time `json:"at"`
	// Dropped says that the delete drops tables.
	Dropped bool `json:"dropped,omitempty"`
	// Serves is the version whose table answers lookups: the one before the delete or, after a drop, the deleted one, which is empty. It
	// is zero if the instance has no table, because it was started after the delete.
	Serves dataset.Ref `json:"serves,omitzero"`
}

// String returns who deleted the dataset, and why, as one line.
func (d Deletion) String() string {
	return dataset.VersionRecord{By: d.By, Reason: d.Reason, Created: d.At}.DeletedText()
}

// Lacks reports whether the instance has the dataset, or may have it because its answer leaves datasets out, and lacks the ability.
func (s Status) Lacks(name, ability string) bool {
	_, has := s.Dataset(name)
	return (has || s.Omitted > 0) && !slices.Contains(s.Abilities, ability)
}

// Lacking surveys the instances, and returns those for which [Status.Lacks] holds for opts.Dataset. An error says that this is not known,
// because an instance does not answer readably or NATS is not connected.
func Lacking(ctx context.Context, nc *nats.Conn, opts SurveyOptions, ability string) ([]Status, error) {
	if err := dataset.CheckName(opts.Dataset); err != nil {
		return nil, fmt.Errorf("survey the instances: %w", err)
	}
	all, err := Survey(ctx, nc, opts)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(s Status) bool { return !s.Lacks(opts.Dataset, ability) }), nil
}
