package dataset

import (
	"encoding/hex"
	"fmt"
)

// Digest is the SHA-256 of an object's bytes and names the object. Its text form is 64 lower-case hex digits.
type Digest [32]byte

// ParseDigest parses the text form of a digest.
func ParseDigest(text string) (Digest, error) {
	var d Digest
	err := d.UnmarshalText([]byte(text))
	return d, err
}

// String returns the text form.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It accepts only the form that String returns.
func (d *Digest) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(d) || hex.EncodeToString(b) != string(text) {
		return fmt.Errorf("%.80q is no digest: want 64 lower-case hex digits of SHA-256", text)
	}
	*d = Digest(b)
	return nil
}

// IsZero reports whether d is the zero digest, which names no object.
func (d Digest) IsZero() bool { return d == Digest{} }
