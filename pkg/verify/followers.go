package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/wake"
	"freshet.dev/pkg/store"
)

// settlePause is the pause between two queries of a follower that may be about to get a version.
const settlePause = 200 * time.Millisecond

// follower is the event log or the catalog, as a copy of the newest versions.
type follower struct {
	kind   Kind
	what   string
	newest func(ctx context.Context, names []string) (map[string]dataset.Ref, error)
}

// followers returns the event log and the catalog, if there are any.
func (v *Verifier) followers() (all []follower) {
	if log := v.deps.Events; log != nil {
		all = append(all, follower{KindEventLog, "the event log", func(ctx context.Context, names []string) (map[string]dataset.Ref, error) {
			latest, err := log.Latest(ctx, names)
			newest := make(map[string]dataset.Ref, len(latest))
			for name, rec := range latest {
				newest[name] = rec.Ref()
			}
			return newest, err
		}})
	}
	if v.deps.Catalog != nil {
		all = append(all, follower{KindCatalog, "the catalog", v.deps.Catalog.Newest})
	}
	return all
}

// Followers compares the event log and the catalog with the newest versions of the named datasets. See Run for found and the errors. A
// version that is missing there is a finding if it is still missing after Config.Settle.
func (v *Verifier) Followers(ctx context.Context, names []string, found func(Finding) error) (Totals, error) {
	var t Totals
	until := time.Now().Add(v.cfg.Settle)
	for _, to := range v.followers() {
		want := map[string]dataset.Ref{}
		for _, name := range names {
			rec, err := v.store.Latest(ctx, name)
			switch {
			case err == nil:
				want[name] = rec.Ref()
			case !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged): // a damaged record has its own finding
				return t, fmt.Errorf("verify dataset %q: %w", name, err)
			}
		}
		findings, err := v.compareFollower(ctx, to, want, until)
		if err != nil {
			return t, err
		}
		for _, f := range findings {
			t.Findings++
			if err := found(f); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}

// compareFollower compares a follower with the newest versions in the store until it has them, or until the given time.
func (v *Verifier) compareFollower(ctx context.Context, to follower, want map[string]dataset.Ref, until time.Time) ([]Finding, error) {
	for {
		have, failed := v.query(ctx, to, want)
		findings := map[string]Finding{}
		for name, newest := range want {
			if failed != nil && have[name].Version == 0 {
				continue // it is not known whether the follower has a version
			}
			problem, err := v.behind(ctx, to, name, have[name], newest)
			if err != nil {
				return nil, err
			}
			if problem != "" {
				findings[name] = v.followerFinding(to, name, newest, problem)
			}
		}
		rest := time.Until(until)
		if len(findings) == 0 && failed == nil || rest <= 0 {
			return v.report(to, want, findings, failed), nil
		}
		if !wake.Wait(ctx, min(rest, settlePause), nil) {
			return nil, context.Cause(ctx)
		}
		if failed == nil {
			maps.DeleteFunc(want, func(name string, _ dataset.Ref) bool { return findings[name].Kind == "" })
		}
	}
}

func (v *Verifier) query(ctx context.Context, to follower, want map[string]dataset.Ref) (map[string]dataset.Ref, error) {
	ctx, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	return to.newest(ctx, slices.Sorted(maps.Keys(want)))
}

// behind says how a follower that ends with have differs from the newest version in the store; "" if it does not. A later version that the
// store has too was committed after newest was read.
func (v *Verifier) behind(ctx context.Context, to follower, name string, have, newest dataset.Ref) (string, error) {
	switch {
	case have.Version == newest.Version && (have.ID == newest.ID || have.ID.IsZero()):
		return "", nil // an entry of an earlier release has no id
	case have.Version == 0:
		return fmt.Sprintf("%s has no version of %s; the newest in the store is %s", to.what, name, newest), nil
	}
	rec, err := v.store.Version(ctx, name, have.Version)
	own := err == nil && (have.ID.IsZero() || rec.VersionID() == have.ID)
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged):
		return "", fmt.Errorf("verify dataset %q: read version %d: %w", name, have.Version, err)
	case own && have.Version > newest.Version:
		return "", nil
	case own:
		return fmt.Sprintf("%s ends with version %s of %s; the newest in the store is %s", to.what, have, name, newest), nil
	}
	return fmt.Sprintf("%s ends with version %s of %s, which is not in the store's history; the newest in the store is %s", to.what, have, name, newest), nil
}

func (v *Verifier) followerFinding(to follower, name string, newest dataset.Ref, problem string) Finding {
	f := Finding{
		Kind: to.kind, Dataset: name, Version: newest.Version, Problem: problem,
		Effect: "relays read the newest version from the store, which takes longer; nothing is lost",
		Remedy: "the publisher service repairs it automatically, and `freshet verify --repair` immediately",
	}
	if to.kind == KindEventLog {
		f.Effect = "instances learn of the newest version from the next beacon, and not from an event; nothing is lost"
	}
	return f
}

// report returns the findings in the order of names. If the query failed, one more finding stands for the datasets of which it returned
// nothing.
func (v *Verifier) report(to follower, want map[string]dataset.Ref, findings map[string]Finding, failed error) (all []Finding) {
	for _, name := range slices.Sorted(maps.Keys(findings)) {
		all = append(all, findings[name])
	}
	if failed != nil {
		names := slices.Sorted(maps.Keys(want))
		f := Finding{
			Kind: to.kind, Problem: fmt.Sprintf("%s could not be compared with the store: %v", to.what, failed),
			Effect: "it is not known whether it ends with the newest versions; the store has them, and nothing is lost",
			Remedy: "see that it runs and answers, then verify again",
		}
		if len(names) == 1 {
			f.Dataset, f.Version = names[0], want[names[0]].Version
		}
		all = append(all, f)
	}
	return all
}
