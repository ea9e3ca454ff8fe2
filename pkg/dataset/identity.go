package dataset

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// StoreID names a store. It is drawn when the store is created. A copy of a store has the id of the original. As text it
// is 32 lower-case hex digits; the zero StoreID means that the store has none, or that it is not known.
type StoreID [16]byte

// NewStoreID draws a store id.
func NewStoreID() StoreID {
	var id StoreID
	_, _ = rand.Read(id[:]) // never fails, its documentation says
	return id
}

// IsZero reports whether id names no store.
func (id StoreID) IsZero() bool { return id == StoreID{} }

// String returns the text form; it is empty for the zero id.
func (id StoreID) String() string {
	if id.IsZero() {
		return ""
	}
	return hex.EncodeToString(id[:])
}

// MarshalText implements [encoding.TextMarshaler].
func (id StoreID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It accepts what String returns and nothing else.
func (id *StoreID) UnmarshalText(text []byte) error { return decodeID(id[:], text, "store id") }

// VersionID names a version by what it holds: 160 bits of SHA-256 over its record, which contains the id of the version
// before (see [VersionRecord.VersionID]). As text it is 40 lower-case hex digits; the zero VersionID means none or unknown.
type VersionID [20]byte

// IsZero reports whether id names no version.
func (id VersionID) IsZero() bool { return id == VersionID{} }

// String returns the text form; it is empty for the zero id.
func (id VersionID) String() string {
	if id.IsZero() {
		return ""
	}
	return hex.EncodeToString(id[:])
}

// Short returns the first 12 hex digits, for people.
func (id VersionID) Short() string {
	text := id.String()
	return text[:min(12, len(text))]
}

// MarshalText implements [encoding.TextMarshaler].
func (id VersionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It accepts what String returns and nothing else.
func (id *VersionID) UnmarshalText(text []byte) error { return decodeID(id[:], text, "version id") }

func decodeID(id, text []byte, what string) error {
	if len(text) == 0 {
		clear(id)
		return nil
	}
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(id) || hex.EncodeToString(b) != string(text) {
		return fmt.Errorf("%.80q is no %s: want %d lower-case hex digits", text, what, 2*len(id))
	}
	copy(id, b)
	return nil
}

// Ref names a version: the number orders versions, the id tells them apart.
type Ref struct {
	Version uint64    `json:"version"`
	ID      VersionID `json:"id,omitzero"`
}

// String returns "<version> (<first digits of the id>)", or the number alone if the id is not known.
func (r Ref) String() string {
	if r.ID.IsZero() {
		return fmt.Sprint(r.Version)
	}
	return fmt.Sprintf("%d (%s)", r.Version, r.ID.Short())
}

// idPrefix separates these hashes from all others.
const idPrefix = "freshet version record 1\n"

// VersionID returns the id of the version. It is SHA-256, cut to 160 bits, over two parts:
//
//   - The head: the record's members as compact JSON, sorted by name, without "id", "snapshot" and "deltas", but with
//     "delta", the digest of the version's own delta, if it has one.
//   - The SHA-256 of the list of objects: {"snapshot":...,"deltas":[...]} as compact JSON.
//
// The head contains the store id and the id of the version before, so an id covers the whole history. A later release may
// add members to the record, which an earlier one hashes without knowing them ([VersionRecord].Extra); it may not add
// members to the objects.
//
// The id of a record without a store id, which a release before store ids wrote, is the hash of its stored bytes.
func (r VersionRecord) VersionID() VersionID {
	if r.StoreID.IsZero() {
		stored, err := json.Marshal(plainRecord(r))
		if err != nil {
			return VersionID{} // a record that Check refuses
		}
		sum := sha256.Sum256(stored)
		return VersionID(sum[:len(VersionID{})])
	}
	list, err := json.Marshal(struct {
		Snapshot Object   `json:"snapshot"`
		Deltas   []Object `json:"deltas"`
	}{r.Snapshot, r.Deltas})
	if err != nil {
		return VersionID{}
	}
	head, err := r.head()
	if err != nil {
		return VersionID{}
	}
	h := sha256.New()
	h.Write([]byte(idPrefix))
	h.Write(head)
	listSum := sha256.Sum256(list)
	h.Write(listSum[:])
	return VersionID(h.Sum(nil)[:len(VersionID{})])
}

// head returns the first part of what the version id is computed over.
func (r VersionRecord) head() ([]byte, error) {
	own, hasDelta := r.ownDelta()
	r.Snapshot, r.Deltas = Object{}, nil
	text, err := json.Marshal(plainRecord(r))
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	delete(members, "snapshot")
	for name, value := range r.Extra {
		members[name] = value
	}
	if hasDelta {
		if members["delta"], err = json.Marshal(own.Digest); err != nil {
			return nil, err
		}
	}
	return json.Marshal(members) // sorts the names
}

// ownDelta returns the delta that leads to r's version; ok is false if the record names none.
func (r VersionRecord) ownDelta() (o Object, ok bool) {
	if n := len(r.Deltas); n > 0 {
		return r.Deltas[n-1], true
	}
	return Object{}, false
}

// Ref returns the number and the id of the version.
func (r VersionRecord) Ref() Ref { return Ref{r.Version, r.VersionID()} }

// plainRecord has the fields of a VersionRecord and none of its methods.
type plainRecord VersionRecord

// MarshalJSON implements [json.Marshaler]. A record with a store id begins with the member "id", the version id.
func (r VersionRecord) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(plainRecord(r))
	if err != nil || r.StoreID.IsZero() {
		return text, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"id":"%s",`, r.VersionID())
	if len(r.Extra) == 0 {
		b.Write(text[1:])
		return b.Bytes(), nil
	}
	b.Write(text[1 : len(text)-1])
	extra, err := json.Marshal(r.Extra)
	if err != nil {
		return nil, err
	}
	b.WriteByte(',')
	b.Write(extra[1:])
	return b.Bytes(), nil
}

// UnmarshalJSON implements [json.Unmarshaler]. It does not compare the member "id" with the content: DecodeVersionRecord does.
func (r *VersionRecord) UnmarshalJSON(text []byte) error {
	var plain plainRecord
	if err := json.Unmarshal(text, &plain); err != nil {
		return err
	}
	if !plain.StoreID.IsZero() {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(text, &members); err != nil {
			return err
		}
		for _, name := range knownMembers {
			delete(members, name)
		}
		if len(members) > 0 {
			plain.Extra = members
		}
	}
	*r = VersionRecord(plain)
	return nil
}

// knownMembers are the members of a record's JSON that this release knows.
var knownMembers = []string{
	"id", "store_id", "previous", "dataset", "version", "seed", "state", "payload_bytes", "snapshot", "deltas", "changes", "created",
	"source", "labels", "expect_every_ns", "request_id",
}

// checkID says why the record in text, decoded as r, does not have the id that it names. A record without a store id names none.
func (r VersionRecord) checkID(text []byte) error {
	var named struct {
		ID VersionID `json:"id"`
	}
	if err := json.Unmarshal(text, &named); err != nil {
		return fmt.Errorf("%w: %w", ErrVersionRecord, err)
	}
	if r.StoreID.IsZero() {
		if !named.ID.IsZero() {
			return fmt.Errorf("%w: %s: it names the id %q and no store id", ErrVersionRecord, r.ID(), named.ID)
		}
		return nil
	}
	if is := r.VersionID(); named.ID != is {
		return fmt.Errorf("%w: %s: it names the id %q, its content has the id %q", ErrVersionRecord, r.ID(), named.ID, is)
	}
	return nil
}
