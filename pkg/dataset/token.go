package dataset

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrToken is wrapped by the errors of [ParseToken].
var ErrToken = errors.New("not a version token")

// Token names a version of a dataset, so that a later read can ask for at least that version. Every answer to a publish has one. Its text
// form is "prices/17@" and the 40 digits of the version id; it needs no escaping in a header or in the query of a URL.
//
// A token is satisfied by its version, and by a version that has it in its history. The number alone satisfies no token: after a store was
// restored from an older copy, another version may have the number.
type Token struct {
	Dataset string
	Ref
}

// Token returns the token of the version.
func (r VersionRecord) Token() Token { return Token{r.Dataset, r.Ref()} }

// String returns the text form; it is empty for the zero token.
func (t Token) String() string {
	if t == (Token{}) {
		return ""
	}
	return t.Dataset + "/" + strconv.FormatUint(t.Version, 10) + "@" + t.Ref.ID.String()
}

// IsZero reports whether t is the zero token.
func (t Token) IsZero() bool { return t == Token{} }

// ParseToken parses the text form of a token. It accepts only the form that String returns. The error wraps [ErrToken].
func ParseToken(text string) (Token, error) {
	const want = "want dataset/number@id as a publish answers it, such as prices/17@ and the 40 digits of the id"
	bad := func(what string) (Token, error) {
		return Token{}, fmt.Errorf("%w: %.120q %s; %s", ErrToken, text, what, want)
	}
	name, version, ok := strings.Cut(text, "/")
	if !ok {
		return bad("has no /")
	}
	if err := CheckName(name); err != nil {
		return bad("begins with no name of a dataset")
	}
	number, id, ok := strings.Cut(version, "@")
	if !ok {
		return bad("has no @ and id: the number alone names no version")
	}
	t := Token{Dataset: name}
	var err error
	if t.Version, err = strconv.ParseUint(number, 10, 63); err != nil || t.Version == 0 || strconv.FormatUint(t.Version, 10) != number {
		return bad("has no version number from 1 on")
	}
	if err := t.Ref.ID.UnmarshalText([]byte(id)); err != nil || t.Ref.ID.IsZero() {
		return bad("has no whole version id")
	}
	return t, nil
}

// MarshalText implements [encoding.TextMarshaler].
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. Empty text is the zero token.
func (t *Token) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*t = Token{}
		return nil
	}
	*t, err = ParseToken(string(text))
	return err
}

// Ancestor returns the id of the version with the given number in the history of r, as far as r names it: r itself, the version before, and
// the versions that its deltas begin at. ok is false if r does not say.
func (r VersionRecord) Ancestor(version uint64) (id VersionID, ok bool) {
	switch deltas := r.DeltasFrom(version); {
	case version == r.Version:
		id = r.VersionID()
	case version+1 == r.Version && !r.Previous.IsZero():
		id = r.Previous
	case len(deltas) > 0:
		id = deltas[0].From
	}
	return id, !id.IsZero()
}
