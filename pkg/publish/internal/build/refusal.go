package build

import (
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/input"
	"freshet.dev/pkg/publish/internal/spill"
	"freshet.dev/pkg/snapshot"
)

// ErrEmpty is returned when the input has no record.
var ErrEmpty = errors.New("no records")

// at returns r for the record on the given line of in, or with the given number.
func (in Input) at(line int, r *input.Refusal) *input.Refusal {
	if in.Files == nil {
		r.Record = line
		return r
	}
	at := in.Places.of(line)
	return at.set(r, at.line)
}

// Failure returns err as an *input.Refusal if it refuses in, else with what failed.
func (in Input) Failure(name, doing string, err error) error {
	if r, ok := errors.AsType[*input.Refusal](err); ok {
		return r
	}
	if d, ok := errors.AsType[*spill.DuplicateError](err); ok {
		r := &input.Refusal{
			Key: string(d.Key), Problem: fmt.Sprintf("record %d has the key already", d.First),
			Hint: "a key may come once; yield one of the two records",
		}
		if in.Files != nil {
			r.Problem = in.Places.of(d.First).already(in.Places.of(d.Second))
			r.Hint = "a key may come once; remove one of the two records, or name a member as the key that tells them apart"
		}
		return in.at(d.Second, r)
	}
	return fmt.Errorf("%s of dataset %q: %w", doing, name, err)
}

// GroupTooLarge refuses a record with which no instance could load the version.
func GroupTooLarge(key []byte) *input.Refusal {
	return &input.Refusal{
		Key: string(key),
		Problem: fmt.Sprintf("the records whose keys have hashes with the same %d leading bits as this key's have more than %d bytes, so that no instance could load the version",
			dataset.GroupBits, dataset.MaxGroupBytes),
		Hint: "publish shorter values for such keys, or other keys", Err: snapshot.ErrGroupSize,
	}
}
