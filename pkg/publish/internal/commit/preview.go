package commit

import (
	"context"

	"freshet.dev/pkg/dataset"
)

// Preview is what a race would end with.
type Preview struct {
	Proposal
	Newest dataset.VersionRecord // the version before, the zero record if there is none
	// Repeated is true if a version has the request id. Record is that version.
	Repeated bool
	// Refused are the gates that the version does not meet, Allowed those that AllowShrink passes.
	Refused, Allowed []dataset.GateRefusal
}

// Preview prepares the version that job makes, and judges it. It writes nothing to the store, and competes with no other publisher.
func (r *Race) Preview(ctx context.Context, job Job) (Preview, error) {
	newest, err := r.committer.records.Newest(ctx, r.dataset) // reading the input may have taken long
	if err != nil {
		return Preview{}, err
	}
	existing, found, err := r.request.find(ctx, r.committer.store, newest)
	if err != nil {
		return Preview{}, err
	}
	if found {
		return Preview{Proposal: Proposal{Record: existing}, Newest: newest, Repeated: true}, r.checkRepeat(ctx, existing, job)
	}
	made, err := job.Prepare(ctx, newest)
	if err != nil || !made.Create {
		return Preview{Proposal: made, Newest: newest}, err
	}
	v, err := r.judge(ctx, newest, made)
	return Preview{Proposal: made, Newest: newest, Refused: v.refused, Allowed: v.allowed}, err
}
