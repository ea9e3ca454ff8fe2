package commit

import (
	"context"
	"fmt"

	"freshet.dev/pkg/dataset"
)

// SettingsOf returns the settings of a dataset. A nil SettingsOf stands for the zero Settings.
type SettingsOf func(ctx context.Context, dataset string) (dataset.Settings, error)

// GateError is returned when a version does not meet its gates.
type GateError struct {
	Dataset  string
	Base     dataset.Ref // the version before; zero if there is none
	Refusals []dataset.GateRefusal
}

func (e *GateError) Error() string {
	return fmt.Sprintf("dataset %q: %d gates refuse the version after %s", e.Dataset, len(e.Refusals), e.Base)
}

// verdict is what the gates of a dataset say about a version.
type verdict struct {
	refused []dataset.GateRefusal
	allowed []dataset.GateRefusal // gates about shrinking that AllowShrink passes
}

// judge judges made, the version after newest. Content equal to newest's meets every gate.
func (r *Race) judge(ctx context.Context, newest dataset.VersionRecord, made Proposal) (v verdict, err error) {
	rec, before := made.Record, &newest
	switch {
	case newest.Version == 0:
		before = nil
	case newest.State == rec.State:
		return v, nil
	}
	var settings dataset.Settings
	if of := r.committer.settings; of != nil {
		if settings, err = of(ctx, r.dataset); err != nil {
			return v, fmt.Errorf("read the settings of dataset %q: %w", r.dataset, err)
		}
	}
	refusals, err := r.judgeContent(ctx, settings.Gates, made.Content)
	if err != nil {
		return v, err
	}
	for _, refusal := range append(settings.Gates.Judge(before, rec, made.Content.ChangedBytes), refusals...) {
		if refusal.Shrinks && r.AllowShrink {
			v.allowed = append(v.allowed, refusal)
		} else {
			v.refused = append(v.refused, refusal)
		}
	}
	return v, nil
}

// refuse returns a *GateError if made, the version after newest, does not meet the gates. Stale is true instead if newest is no longer the
// newest version: compared with that, made may meet them.
func (r *Race) refuse(ctx context.Context, newest dataset.VersionRecord, made Proposal) (stale bool, err error) {
	v, err := r.judge(ctx, newest, made)
	if err != nil || len(v.refused) == 0 {
		return false, err
	}
	now, err := r.committer.records.Newest(ctx, r.dataset)
	switch {
	case err != nil:
		return false, err
	case now.Ref() != newest.Ref():
		return true, nil
	}
	return false, &GateError{Dataset: r.dataset, Base: refOf(newest), Refusals: v.refused}
}

// refOf returns the ref of rec; the zero Ref for the zero record, whose hash is not zero.
func refOf(rec dataset.VersionRecord) dataset.Ref {
	if rec.Version == 0 {
		return dataset.Ref{}
	}
	return rec.Ref()
}
