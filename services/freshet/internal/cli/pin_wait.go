package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/nearest"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/overview"
	"freshet.dev/services/publisher"
)

// pinInterval is how long --wait pauses between two surveys.
const pinInterval = 200 * time.Millisecond

// pinned are the instances that a change of pins concerns.
type pinned struct {
	conn      *nats.Conn // nil without NATS
	namespace string
	selection fleet.Selection
	timeout   time.Duration
}

// open connects to the instances, and fails if a pin names instances or labels that none has. Without --wait, the command works without
// NATS.
func (f *pinFlags) open(ctx context.Context, p Process, in publisher.PinRequest, pins bool) (*pinned, error) {
	i := &pinned{namespace: f.namespace, selection: fleet.Selection{All: in.All, Instances: in.Instances, Labels: in.Labels}, timeout: f.timeout}
	verify := pins && !f.absent && !in.All
	if !verify && !f.wait {
		return i, nil
	}
	conn, err := dialFleet(ctx, f.nats)
	if err == nil {
		i.conn = conn
		if verify {
			err = i.exist(ctx)
		}
	}
	switch {
	case err == nil:
		return i, nil
	case f.wait, ctx.Err() != nil, exit.Of(err) == exit.NotFound, exit.Of(err) == exit.Usage:
		i.Close()
		return nil, err
	}
	fmt.Fprintf(p.Err, "freshet: warning: it is not known whether an instance matches (%s): %v\n", i.selection, err)
	return i, nil
}

// Close closes the connection.
func (i *pinned) Close() {
	if i.conn != nil {
		i.conn.Close()
	}
}

// exist returns an error with the nearest names unless running instances have all chosen names, or one has the labels.
func (i *pinned) exist(ctx context.Context) error {
	all, err := fleet.Survey(ctx, i.conn, fleet.SurveyOptions{Namespace: i.namespace})
	if err != nil {
		return err
	}
	if missing := i.selection.Missing(all); len(missing) > 0 {
		var names []string
		for _, one := range all {
			names = append(names, one.Instance)
		}
		slices.Sort(names)
		return exit.Errorf(exit.NotFound, "no instance %s answers%s%s; `freshet status` shows all instances, --absent pins one that starts later",
			missing[0], where(i.namespace), nearest.Hint(missing[0], slices.Compact(names)))
	}
	if len(i.selection.Labels) > 0 && len(i.selection.Filter(all)) == 0 {
		return fmt.Errorf("%w; --absent pins instances that start later", noneWithLabels(i.selection.Labels, i.namespace, labelsOf(all)))
	}
	return nil
}

// await waits until every running instance that the change concerns follows it.
func (i *pinned) await(ctx context.Context, p Process, got publisher.DatasetPins) error {
	until, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	for {
		behind, err := i.behind(until, got)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && len(behind) == 0:
			return nil
		case until.Err() != nil && err != nil:
			return exit.Errorf(exit.TimedOut, "the pins of %s are changed; after %s the instances are not known to follow: %w", got.Dataset, i.timeout, err)
		case until.Err() != nil:
			return exit.Errorf(exit.TimedOut, "the pins of %s are changed; after %s these instances do not follow: %s", got.Dataset, i.timeout, some(behind))
		}
		select {
		case <-time.After(pinInterval):
		case <-until.Done():
		}
	}
}

// behind returns the instances that do not follow the pins, each with its state.
func (i *pinned) behind(ctx context.Context, got publisher.DatasetPins) ([]string, error) {
	all, err := fleet.Survey(ctx, i.conn, fleet.SurveyOptions{Namespace: i.namespace, Dataset: got.Dataset})
	if err != nil && !overview.Surveyed(err) {
		return nil, err
	}
	var behind []string
	for _, one := range i.selection.Filter(all) {
		d, ok := one.Dataset(got.Dataset)
		if !ok || follows(one, d, got) {
			continue
		}
		text := fmt.Sprintf("%s (%s, serves version %d", one.Instance, d.State, d.Version)
		if d.Warning != "" {
			text += ": " + strings.TrimSpace(d.Warning)
		}
		behind = append(behind, text+")")
	}
	slices.Sort(behind)
	return behind, nil
}

// follows reports whether the instance serves the version of the pin that holds for it; if none does, whether it has no pin.
func follows(i fleet.Status, d fleet.DatasetStatus, got publisher.DatasetPins) bool {
	var entry, version uint64
	for _, one := range got.Pins {
		if one.Selects(i.Instance, i.Labels) && one.Entry > entry {
			entry, version = one.Entry, one.Version
		}
	}
	if entry == 0 {
		return d.Pin == nil
	}
	return d.Pin != nil && d.Pin.Entry >= entry && (d.Pin.Entry > entry || d.Version == version)
}
