package settings

import (
	"errors"
	"fmt"
	"math"
	"net"
	"strings"

	"freshet.dev/pkg/dataset"
	"github.com/dustin/go-humanize"
)

// Bytes is a number of bytes, written as digits alone or with a unit: 256MiB, 1GiB, 500kB.
type Bytes int64

var errBytes = errors.New("not a number of bytes")

// UnmarshalText implements [encoding.TextUnmarshaler].
func (b *Bytes) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(strings.TrimSpace(string(text)))
	if err != nil || n > math.MaxInt64 {
		return errBytes
	}
	*b = Bytes(n)
	return nil
}

// String returns the number with a unit.
func (b Bytes) String() string { return humanize.IBytes(uint64(max(b, 0))) }

// List is a list of texts, separated by commas. Parsing drops space around a text, and empty texts.
type List []string

// UnmarshalText implements [encoding.TextUnmarshaler].
func (l *List) UnmarshalText(text []byte) error {
	*l = nil
	for item := range strings.SplitSeq(string(text), ",") {
		if item = strings.TrimSpace(item); item != "" {
			*l = append(*l, item)
		}
	}
	return nil
}

// CheckListen returns an error unless address, to listen on, is host:port.
func CheckListen(address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("%w: FRESHET_LISTEN is %q: want host:port, such as 127.0.0.1:8480 or :8480", ErrSettings, address)
	}
	return nil
}

// CheckNamespace returns an error unless namespace, the value of FRESHET_NAMESPACE, is valid.
func CheckNamespace(namespace string) error {
	if err := dataset.CheckNamespace(namespace); err != nil {
		return fmt.Errorf("%w: FRESHET_NAMESPACE: %w", ErrSettings, err)
	}
	return nil
}

// CheckBetween returns an error if the value of the variable is below least or above most.
func CheckBetween[N ~int | ~int64](variable string, value, least, most N) error {
	if value > most {
		return fmt.Errorf("%w: %s is %v: want at most %v", ErrSettings, variable, value, most)
	}
	return CheckAtLeast(variable, value, least)
}

// CheckAtLeast returns an error if the value of the variable is below least.
func CheckAtLeast[N ~int | ~int64](variable string, value, least N) error {
	if value < least {
		return fmt.Errorf("%w: %s is %v: want at least %v", ErrSettings, variable, value, least)
	}
	return nil
}
