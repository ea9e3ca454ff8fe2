package dataset

import (
	"errors"
	"fmt"
)

// MaxNamespaceBytes is the length of the longest namespace.
const MaxNamespaceBytes = 32

// ErrNamespace is wrapped by every error that refuses a namespace.
var ErrNamespace = errors.New("not a namespace")

// CheckNamespace says why namespace is none; nil means that it is one. A namespace keeps an environment apart from others
// on the same NATS and Redis. It is empty, which is the default namespace, or 1 to 32 bytes of a-z, 0-9, _ and -, the
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

// SubjectRoot returns the beginning of every NATS subject of the namespace. No subject of one namespace matches a wildcard
// of another: no subject of the default namespace has "ns" in that place.
func SubjectRoot(namespace string) string {
	if namespace == "" {
		return "freshet.v1."
	}
	return "freshet.v1.ns." + namespace + "."
}
