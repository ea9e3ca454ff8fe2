package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/nearest"
)

// Planned is the state of an instance in a dry run that would replay. The others have the state of a replay that they would refuse.
const Planned fleet.ReplayState = "planned"

// InstancesInput says what instances take in again.
type InstancesInput struct {
	Dataset string
	// Selection chooses the instances.
	Selection fleet.Selection
	// Version is the version that they must serve, 0 for any. ID is that version's id as text, or its first digits; empty for any.
	Version uint64
	ID      string
	// From is the version since which callbacks get the changes; 0 for all records. Instances pull the snapshot for it.
	From uint64
	// Full makes instances pull the snapshot, and replace their table.
	Full bool
	// Wait bounds the wait for all instances; 0 means 10 minutes.
	Wait time.Duration
	// DryRun says to do nothing, and report what instances would do.
	DryRun bool
	// Begun, if not nil, is called before the first request to an instance. Ended, if not nil, is called for each instance when its outcome is
	// known.
	Begun func(Begun)
	Ended func(fleet.ReplayOutcome)
	Audit
}

// Begun describes a replay that begins.
type Begun struct {
	RequestID string `json:"request_id"`
	// Entry is the number of the journal entry about the replay; absent in a dry run.
	Entry uint64 `json:"entry,omitempty"`
	// Instances is how many instances get a request. First and Last are the versions that are sent to a subject, and Versions is how many.
	Instances int    `json:"instances,omitempty"`
	First     uint64 `json:"first,omitempty"`
	Last      uint64 `json:"last,omitempty"`
	Versions  uint64 `json:"versions,omitempty"`
	// Warnings say what failed after the entry was written, and which instances could not be read.
	Warnings []string `json:"warnings,omitempty"`
}

// Instances makes the chosen instances take the version that they serve in again. It returns one outcome for each chosen instance that
// has the dataset: [fleet.ReplayVerdict] judges them. An instance that does not do it is no error of Instances.
//
// The error is an [ErrInput], [ErrUnknownDataset], [ErrUnknownVersion], [ErrNoInstance], [ErrRequestID], [ErrNATS] or one of the store. If
// NATS goes down in the middle, the outcomes so far come with an [ErrNATS].
func (r *Replayer) Instances(ctx context.Context, in InstancesInput) ([]fleet.ReplayOutcome, error) {
	in.fill()
	if err := in.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	ref, err := r.wanted(ctx, in)
	if err != nil {
		return nil, err
	}
	chosen, warnings, err := r.choose(ctx, in)
	if err != nil {
		return nil, err
	}
	begun := Begun{RequestID: in.RequestID, Instances: len(chosen), Warnings: warnings}
	if in.DryRun {
		in.begun(begun)
		return r.plan(ctx, in, ref, chosen), nil
	}
	appended, err := r.record(ctx, in.Dataset, in.Audit, Entry{
		Version: ref.Version, ID: ref.ID, FromVersion: in.From, Full: in.Full, Selection: &in.Selection, Instances: len(chosen),
	})
	if err != nil {
		return nil, err
	}
	begun.Entry, begun.Warnings = appended.Entry.Number, append(begun.Warnings, appended.Warnings...)
	in.begun(begun)
	outcomes, err := fleet.Replay(ctx, r.deps.NATS, fleet.ReplayOptions{
		Namespace: r.cfg.Namespace, Instances: chosen, Wait: in.Wait, Ended: in.Ended,
		Request: fleet.ReplayRequest{
			ID: in.RequestID, Dataset: in.Dataset, Version: ref.Version, VersionID: ref.ID, From: in.From, Full: in.Full, By: in.By, Reason: in.Reason,
		},
	})
	if errors.Is(err, fleet.ErrDisconnected) {
		err = fmt.Errorf("%w: %w; journal entry %d has the replay; instances that got the request go on; repeat it with the request id %s", ErrNATS, err,
			appended.Entry.Number, in.RequestID)
	}
	r.cfg.Log.InfoContext(ctx, "replayed to instances", "dataset", in.Dataset, "instances", len(chosen), "done", done(outcomes), "full", in.Full,
		"by", in.By, "reason", in.Reason, "request", in.RequestID)
	return outcomes, err
}

func done(outcomes []fleet.ReplayOutcome) (n int) {
	for _, o := range outcomes {
		if o.State == fleet.ReplayDone {
			n++
		}
	}
	return n
}

func (in InstancesInput) begun(b Begun) {
	if in.Begun != nil {
		in.Begun(b)
	}
}

func (in InstancesInput) check() error {
	if err := in.Selection.Check(); err != nil {
		return err
	}
	switch {
	case in.Version > 0 && in.From >= in.Version:
		return fmt.Errorf("the changes since version %d end at version %d; name an earlier version", in.From, in.Version)
	case in.ID != "" && in.Version == 0:
		return errors.New("the id of a version requires its number")
	case in.Wait < 0:
		return fmt.Errorf("the time to wait is %v; it cannot be negative", in.Wait)
	}
	return in.Audit.check()
}

// wanted returns the version that the instances must serve; zero for any.
func (r *Replayer) wanted(ctx context.Context, in InstancesInput) (dataset.Ref, error) {
	newest, err := r.newest(ctx, in.Dataset)
	if err != nil {
		return dataset.Ref{}, err
	}
	if in.From > newest {
		return dataset.Ref{}, unknownVersion(in.Dataset, in.From, newest)
	}
	if in.Version == 0 {
		return dataset.Ref{}, nil
	}
	return r.ref(ctx, in.Dataset, in.Version, in.ID, newest)
}

// choose returns the chosen instances that have the dataset, and warnings about those that could not be read.
func (r *Replayer) choose(ctx context.Context, in InstancesInput) (chosen []fleet.Status, warnings []string, err error) {
	all, err := fleet.Survey(ctx, r.deps.NATS, fleet.SurveyOptions{Namespace: r.cfg.Namespace, Dataset: in.Dataset})
	switch {
	case errors.Is(err, fleet.ErrDisconnected):
		return nil, nil, fmt.Errorf("%w: %w; nothing was replayed", ErrNATS, err)
	case errors.Is(err, fleet.ErrNoAnswer):
		return nil, nil, fmt.Errorf("%w: %w", ErrNoInstance, err)
	case errors.Is(err, fleet.ErrUnreadable):
		warnings = append(warnings, err.Error())
	case err != nil:
		return nil, nil, err
	}
	if err := exist(in.Selection, all); err != nil {
		return nil, nil, err
	}
	for _, i := range in.Selection.Filter(all) {
		if _, ok := i.Dataset(in.Dataset); ok || i.Omitted > 0 {
			chosen = append(chosen, i)
		} else if len(in.Selection.Instances) > 0 {
			return nil, nil, fmt.Errorf("%w: instance %s does not have the dataset %s", ErrUnknownDataset, i.Instance, in.Dataset)
		}
	}
	if len(chosen) == 0 {
		return nil, nil, fmt.Errorf("%w: none of the chosen instances (%s) has the dataset %s", ErrUnknownDataset, in.Selection, in.Dataset)
	}
	return chosen, warnings, nil
}

// exist returns an [ErrNoInstance], with the nearest names, if no instance has a chosen name or the labels.
func exist(s fleet.Selection, all []fleet.Status) error {
	const status = "`freshet status --wide` shows the names and labels of all instances"
	if missing := s.Missing(all); len(missing) > 0 {
		var names []string
		for _, i := range all {
			names = append(names, i.Instance)
		}
		slices.Sort(names)
		return fmt.Errorf("%w: no instance %s answers%s; %s", ErrNoInstance, missing[0], nearest.Hint(missing[0], slices.Compact(names)), status)
	}
	switch {
	case len(s.Filter(all)) > 0:
		return nil
	case len(s.Labels) == 0:
		return fmt.Errorf("%w: no instance answers", ErrNoInstance)
	}
	var known []string
	for _, i := range all {
		for name, value := range i.Labels {
			known = append(known, name+"="+value)
		}
	}
	slices.Sort(known)
	known = slices.Compact(known)
	hint := ""
	for name, value := range s.Labels {
		if pair := name + "=" + value; !slices.Contains(known, pair) && hint == "" {
			hint = nearest.Hint(pair, known)
		}
	}
	return fmt.Errorf("%w: no instance has the labels %s%s; %s", ErrNoInstance, fleet.FormatLabels(s.Labels), hint, status)
}

// plan returns what the instances would do. The bytes to pull are those of the served version's record in the store.
func (r *Replayer) plan(ctx context.Context, in InstancesInput, ref dataset.Ref, chosen []fleet.Status) (outcomes []fleet.ReplayOutcome) {
	for _, i := range chosen {
		d, _ := i.Dataset(in.Dataset)
		o := fleet.ReplayOutcome{Instance: i.Instance, Host: i.Host, PID: i.PID, Run: i.Run, Labels: i.Labels}
		o.State, o.Version, o.ID = Planned, d.Version, d.ID
		refuse := func(format string, args ...any) { o.State, o.Error = fleet.ReplayRefused, fmt.Sprintf(format, args...) }
		switch {
		case i.Run == "":
			o.State, o.Error = fleet.ReplayUnable, "its release has no replays"
		case d.Version == 0:
			refuse("it serves no version yet")
		case ref.Version > 0 && (d.Version != ref.Version || d.ID != ref.ID):
			refuse("it serves version %s, and not version %s", dataset.Ref{Version: d.Version, ID: d.ID}, ref)
		case in.From >= d.Version:
			refuse("it serves version %d, so there are no changes since version %d", d.Version, in.From)
		case in.Full || in.From > 0:
			r.planPull(ctx, in, &o, refuse)
		}
		if in.Ended != nil {
			in.Ended(o)
		}
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// planPull adds what the instance would pull.
func (r *Replayer) planPull(ctx context.Context, in InstancesInput, o *fleet.ReplayOutcome, refuse func(string, ...any)) {
	rec, err := r.deps.Store.Version(ctx, in.Dataset, o.Version)
	switch {
	case err != nil:
		refuse("the record of version %d could not be read: %v", o.Version, err)
	case rec.VersionID() != o.ID:
		refuse("it serves version %s, which is not in the store's history", dataset.Ref{Version: o.Version, ID: o.ID})
	case in.From > 0 && fleet.NoChangesSince(rec, in.From) != "":
		refuse("%s", fleet.NoChangesSince(rec, in.From))
	default:
		o.Full, o.Deltas = true, len(rec.Chain())-1
		for _, object := range rec.Chain() {
			o.PulledBytes += object.Bytes
		}
	}
}
