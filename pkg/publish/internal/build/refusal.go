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

// InputError returns err as an *input.Refusal if it refuses the input, else with what failed.
func InputError(name, doing string, err error) error {
	if r, ok := errors.AsType[*input.Refusal](err); ok {
		return r
	}
	if d, ok := errors.AsType[*spill.DuplicateError](err); ok {
		return &input.Refusal{
			Line: d.Second, Key: string(d.Key),
			Problem: fmt.Sprintf("the key stands on line %d already", d.First),
			Hint:    "a key may come once; remove one of the two records, or name a member as the key that tells them apart",
		}
	}
	return fmt.Errorf("%s of dataset %q: %w", doing, name, err)
}

// GroupTooLarge refuses a record with which no instance could load the version.
func GroupTooLarge(line int, key []byte) error {
	return &input.Refusal{
		Line: line, Key: string(key),
		Problem: fmt.Sprintf("the records whose keys have hashes with the same %d leading bits as this key's have more than %d bytes, so that no instance could load the version",
			dataset.GroupBits, dataset.MaxGroupBytes),
		Hint: "publish shorter values for such keys, or other keys", Err: snapshot.ErrGroupSize,
	}
}
