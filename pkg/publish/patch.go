package publish

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/commit"
	"freshet.dev/pkg/publish/internal/patch"
)

// DefaultRemove is the member or column that names removals in a patch. Publish refuses inputs with such removals: a patch that is
// published as a whole dataset by mistake must not replace the dataset.
const DefaultRemove = "$remove"

// PatchInput is what one call of Patch applies. A record is added, or replaces the one with its key. A removal is a JSON object whose
// member called Remove is true; members other than it and the key are ignored. In CSV a removal is a row whose column called Remove is
// true or 1; where that is empty, false or 0, the row is a record, and the column no part of its value. CSV may lack the column only
// if Remove is the default. In Input.Records a removal is a record with Removed set and without a value.
type PatchInput struct {
	Input
	// Remove names the member or column that marks removals; if empty, DefaultRemove. With Input.Records it must be empty.
	Remove string
	// Base is the version that the patch is for: if the newest is another, Patch returns ErrConflict. 0 is any.
	Base uint64
	// BaseID is that version's id as text, or at least its first 12 digits; see ParseBase. If it is empty, only the number is
	// compared: after a restore of the store another version with that number passes.
	BaseID string
}

// PatchResult is what a Patch did. Created is false if the patch changes nothing and renews nothing (Input.ExpectEvery); Record is then
// the newest version.
type PatchResult struct {
	Result
	// Changes are those of the patch: those of Record if it was created, of the Preview if there is one, else zero.
	Changes dataset.Changes
	// Unchanged counts records that the dataset has as they are in the patch, Missing removals of keys that it does not have. Neither
	// is an error.
	Unchanged, Missing uint64
}

// CheckPatch is [CheckInput] for a patch.
func CheckPatch(name string, in PatchInput) error {
	if err := CheckInput(name, in.Input); err != nil {
		return err
	}
	if err := in.base().Check(); err != nil {
		return &InputError{
			Dataset: name, Problem: fmt.Sprintf("the version that the patch is for: %v", err),
		}
	}
	if in.Records != nil && in.Remove != "" {
		return &InputError{Dataset: name, Problem: "Remove describes Body, and Records is set", Hint: "leave it unset"}
	}
	return checkRemove(name, in.removeName(), in.keys())
}

// checkRemove refuses a member that would mark removals and be in the key.
func checkRemove(name, remove string, key []string) error {
	if !slices.Contains(key, remove) {
		return nil
	}
	return &InputError{
		Dataset: name, Problem: fmt.Sprintf("the member %q is named for both the key and removals", remove),
		Hint: "name two different ones",
	}
}

func (in PatchInput) removeName() string {
	if in.Remove == "" {
		return DefaultRemove
	}
	return in.Remove
}

func (in PatchInput) base() patch.Base { return patch.Base{Version: in.Base, ID: in.BaseID} }

// ParseBase returns the Base and the BaseID of a PatchInput from text: see ParseRef.
func ParseBase(text string) (version uint64, id string, err error) {
	if number, _, _ := strings.Cut(text, "@"); number == "0" {
		return 0, "", fmt.Errorf("%.60q: versions begin at 1; leave it out if the patch is for any version", text)
	}
	return ParseRef(text)
}

// ParseRef returns the number and the id of a version from text: "41", or "41@" and a version id or at least its first 12 digits. Without an
// id it is empty.
func ParseRef(text string) (version uint64, id string, err error) {
	number, id, hasID := strings.Cut(text, "@")
	version, err = strconv.ParseUint(number, 10, 63)
	switch {
	case err != nil:
		return 0, "", fmt.Errorf("%.60q names no version: want a whole number such as 41, or number and id such as 41@0123456789ab", text)
	case version == 0:
		return 0, "", fmt.Errorf("%.60q: versions begin at 1", text)
	case hasID && id == "":
		return 0, "", fmt.Errorf("%.60q: the @ has no id after it; add the id or leave the @ out", text)
	}
	if err := (patch.Base{Version: version, ID: id}).Check(); err != nil {
		return 0, "", err
	}
	return version, id, nil
}

// Patch makes the newest version of the dataset called name, with the changes in in, its next version. Its cost depends on the number of
// changes, not on the size of the dataset: it looks up the present records in the blocks that they may be in, and writes a delta. It
// returns the errors of Publish, [ErrNoVersion] if the dataset has no version, and [ErrLost].
//
// Patch writes no snapshot; Run does, or Compact. Only once 256 deltas have followed the last snapshot does Patch compact the dataset, or
// wait for a compaction in progress, before its own version; the time for that depends on the size of the dataset.
func (p *Publisher) Patch(ctx context.Context, name string, in PatchInput) (PatchResult, error) {
	p.fill(&in.Input)
	in.removals = in.removeName()
	if err := CheckPatch(name, in); err != nil {
		return PatchResult{}, err
	}
	race, err := p.committer.Start(ctx, commit.Patch, name, in.RequestID)
	if err != nil {
		return PatchResult{}, err
	}
	if err := in.base().CheckNewest(name, race.Newest); err != nil && !race.Repeated {
		return PatchResult{}, err
	}
	if err := p.rule(ctx, race, name, &in.Input); err != nil {
		return PatchResult{}, err
	}
	if in.ruling != nil {
		if err := checkRemove(name, in.removals, in.ruling.Key().Members); err != nil {
			return PatchResult{}, err
		}
	}
	folder, err := scratch.New(p.cfg.TempDir)
	if err != nil {
		return PatchResult{}, fmt.Errorf("patch dataset %q: %w", name, err)
	}
	defer folder.Discard(p.cfg.Log, name)
	meter := in.meter()
	job, err := patch.Read(ctx, patch.Deps{Builder: p.builder, History: p.history, Compactor: p.compactor}, patch.Spec{
		Dataset: name, Seed: uint64(race.Newest.Seed), Meta: p.meta(in.Input), Base: in.base(), Meter: meter, Folder: folder,
		DryRun: in.DryRun,
	}, in.content())
	if err != nil {
		return PatchResult{}, publicError(name, err)
	}
	defer job.Close() // of a file in the folder; a failure must not hide that the version is committed
	race.AllowShrink = in.AllowShrink
	if in.DryRun {
		previewed, err := preview(ctx, race, job)
		if err != nil {
			return PatchResult{}, err
		}
		return newPatchResult(previewed, job.Counts()), nil
	}
	made, err := race.Run(ctx, job)
	if err != nil {
		return PatchResult{}, publicError(name, err)
	}
	result := newPatchResult(newResult(made), job.Counts())
	meter.Report(build.Announcing, job.Entries())
	p.announce(context.WithoutCancel(ctx), &result.Result)
	p.background.compaction.Wake(name)
	return result, nil
}

func newPatchResult(result Result, counts patch.Counts) PatchResult {
	return PatchResult{Result: result, Changes: counts.Changes, Unchanged: counts.Unchanged, Missing: counts.Missing}
}
