package publish

import (
	"fmt"
	"slices"
	"strings"

	"freshet.dev/pkg/dataset"
)

// GateError is returned when a version does not meet the gates of its dataset: see Config.Settings. Nothing was published.
type GateError struct {
	Dataset string
	// Base is the newest version, with which the input was compared; zero if the dataset has none.
	Base dataset.Ref
	// Refusals are all gates that the version does not meet.
	Refusals []dataset.GateRefusal
}

// Error names the gates, the numbers and what to do, in one line.
func (e *GateError) Error() string {
	what := "the first version"
	if e.Base.Version > 0 {
		what = fmt.Sprintf("the version after %s", e.Base)
	}
	return fmt.Sprintf("dataset %q: %s is %v: %s", e.Dataset, what, ErrGate, refusalText(e.Refusals))
}

// Unwrap returns ErrGate.
func (*GateError) Unwrap() error { return ErrGate }

// refusalText names the gates, the numbers and what to do.
func refusalText(refusals []dataset.GateRefusal) string {
	var texts []string
	for _, r := range refusals {
		texts = append(texts, r.Gate+": "+r.Detail)
	}
	shrinks := func(r dataset.GateRefusal) bool { return r.Shrinks }
	if slices.ContainsFunc(refusals, shrinks) {
		texts = append(texts, "if the dataset is meant to shrink, repeat it with --allow-shrink and --reason TEXT "+
			"(allow_shrink=true and reason over HTTP, AllowShrink and Reason in Go)")
	}
	if !slices.ContainsFunc(refusals, func(r dataset.GateRefusal) bool { return !r.Shrinks }) {
		return strings.Join(texts, "; ")
	}
	return strings.Join(append(texts, "correct the input, or change the gate with freshet settings DATASET --set (package journal in Go)"), "; ")
}
