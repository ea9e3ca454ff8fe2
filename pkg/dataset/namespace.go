package dataset

import (
	"errors"
	"fmt"
)

// MaxNamespaceBytes is the length of the longest namespace.
const MaxNamespaceBytes = 32

// ErrNamespace is wrapped by the errors of CheckNamespace.
var ErrNamespace = errors.New("not a namespace")

// CheckNamespace returns an error that wraps [ErrNamespace] if namespace is not valid. A namespace separates environments
// that share NATS and Redis. It is empty, which is the default namespace, or 1 to 32 bytes of a-z, 0-9, _ and -, the
// first a letter or digit.
func CheckNamespace(namespace string) error {
	if len(namespace) > MaxNamespaceBytes {
		return fmt.Errorf("%w: %.16q... has %d bytes, the most is %d", ErrNamespace, namespace, len(namespace), MaxNamespaceBytes)
	}
	for i := range len(namespace) {
		c := namespace[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && (c == '_' || c == '-'):
		default:
			return fmt.Errorf("%w: %q has %q at byte %d; use a-z, 0-9, _ and -, beginning with a letter or digit",
				ErrNamespace, namespace, c, i+1)
		}
	}
	return nil
}

// SubjectRoot returns the prefix of every NATS subject of the namespace. A subject of one namespace never matches a
// wildcard of another: in the default namespace, the token after the prefix is never "ns".
func SubjectRoot(namespace string) string {
	if namespace == "" {
		return "freshet.v1."
	}
	return "freshet.v1.ns." + namespace + "."
}
