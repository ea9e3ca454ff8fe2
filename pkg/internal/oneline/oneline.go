// Package oneline joins errors to one whose text is one line: logs, statuses and reports contain it.
package oneline

import (
	"slices"
	"strings"
)

// Join is errors.Join, except that the texts are separated by a semicolon instead of a line end, also those of errors that errors.Join made.
// It returns nil if all errs are nil.
func Join(errs ...error) error {
	all := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	if len(all) == 0 {
		return nil
	}
	return joined(all)
}

type joined []error

func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, err := range j {
		texts[i] = err.Error()
	}
	return strings.ReplaceAll(strings.Join(texts, "; "), "\n", "; ")
}

func (j joined) Unwrap() []error { return j }
