package input

import (
	"fmt"

	"freshet.dev/pkg/dataset"
)

// CheckRecord returns a *Refusal if r, the record of a sequence with the given number, cannot be published. Any bytes within the limits
// are a key or a value.
func CheckRecord(number int, r dataset.Record, removals bool) error {
	var problem, hint string
	switch {
	case len(r.Key) == 0:
		problem, hint = "the key is empty", "a key has 1 byte at least"
	case len(r.Key) > dataset.MaxKeyBytes:
		problem = fmt.Sprintf("the key has %d bytes, the most is %d", len(r.Key), dataset.MaxKeyBytes)
		hint = "use shorter keys"
	case len(r.Value) > dataset.MaxValueBytes:
		problem = fmt.Sprintf("the value has %d bytes, the most is %d", len(r.Value), dataset.MaxValueBytes)
		hint = "split it into several records"
	case r.Removed && !removals:
		problem, hint = "the record is a removal, and this publishes all records", "publish it as a patch, or leave the record out"
	case r.Removed && len(r.Value) > 0:
		problem, hint = "the removal has a value", "leave the value of a removal empty"
	default:
		return nil
	}
	key := string(r.Key)
	if len(key) > dataset.MaxKeyBytes {
		key = key[:32] + "..."
	}
	return &Refusal{Record: number, Key: key, Problem: problem, Hint: hint, Err: dataset.ErrRecord}
}
