package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// A key that several members of a record make is their texts, joined by colons. In a text ~ is written as ~0 and : as ~1, so that no two
// rows of texts make the same key, and the keys that begin with the same texts share a prefix that no other key has: "de:" is that of the
// country de. A text is the content of a JSON string, or the digits of a JSON number.
const (
	keySeparator = ':'
	keyEscape    = '~'
)

// JoinKey returns the key that members with these texts make: JoinKey("de", "7") is "de:7". The text of a single member is the key itself,
// without escapes.
func JoinKey(texts ...string) string {
	parts := make([][]byte, len(texts))
	for i, text := range texts {
		parts[i] = []byte(text)
	}
	return string(AppendKey(nil, parts...))
}

// AppendKey appends the key that JoinKey returns.
func AppendKey(dst []byte, texts ...[]byte) []byte {
	if len(texts) == 1 {
		return append(dst, texts[0]...)
	}
	for i, text := range texts {
		if i > 0 {
			dst = append(dst, keySeparator)
		}
		dst = appendEscaped(dst, text)
	}
	return dst
}

func appendEscaped(dst, text []byte) []byte {
	for {
		i := bytes.IndexAny(text, "~:")
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(append(dst, text[:i]...), keyEscape, '0')
		if text[i] == keySeparator {
			dst[len(dst)-1] = '1'
		}
		text = text[i+1:]
	}
}

// CheckKeyMembers returns an error if members cannot be those of a key: more than [MaxKeyMembers], an empty name, or one that comes twice.
// No members at all are fine.
func CheckKeyMembers(members []string) error {
	if len(members) > MaxKeyMembers {
		return fmt.Errorf("the key has %d members, the most is %d", len(members), MaxKeyMembers)
	}
	for i, name := range members {
		switch {
		case name == "":
			return errors.New("a member of the key has no name")
		case len(name) > maxNameBytes:
			return fmt.Errorf("the name of a member of the key, %.64q..., has %d bytes, the most is %d", name, len(name), maxNameBytes)
		case slices.Contains(members[:i], name):
			return fmt.Errorf("the key has the member %.64q twice", name)
		}
	}
	return nil
}
