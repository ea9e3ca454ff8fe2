package dataset

import (
	"errors"
	"fmt"
)

// ErrName is wrapped by the errors of CheckName.
var ErrName = errors.New("not a dataset name")

// CheckName returns an error that wraps [ErrName] if name is not a dataset name. A dataset name is 1 to 64 bytes of
// a-z, 0-9, _ and -, the first a letter or digit. It needs no escaping in a file name, a URL path or a NATS subject.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: the name is empty; use 1 to %d of a-z, 0-9, _ and -", ErrName, MaxNameBytes)
	case len(name) > MaxNameBytes:
		return fmt.Errorf("%w: %.16q... has %d bytes, the most is %d", ErrName, name, len(name), MaxNameBytes)
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && (c == '_' || c == '-'):
		default:
			return fmt.Errorf("%w: %q has %q at byte %d; use a-z, 0-9, _ and -, beginning with a letter or digit",
				ErrName, name, c, i+1)
		}
	}
	return nil
}
