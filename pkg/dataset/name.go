package dataset

import (
	"errors"
	"fmt"
)

// ErrName is wrapped by every error that refuses a dataset name.
var ErrName = errors.New("not a dataset name")

// CheckName says why name is no dataset name; nil means that it is one. A dataset name is 1 to 64 bytes of
// a-z, 0-9, _ and -, the first a letter or digit: safe in a file name, a URL path and a NATS subject as it stands.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty; use 1 to %d of a-z, 0-9, _ and -", ErrName, MaxNameBytes)
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
