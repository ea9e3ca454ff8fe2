package dataset

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// StoreID identifies a store. It is random, and fixed when the store is created. A copy of a store has the id of the
// original. Its text form is 32 lower-case hex digits. The zero StoreID means that the store has no id or that it is unknown.
type StoreID [16]byte

// NewStoreID returns a random store id.
func NewStoreID() StoreID {
	var id StoreID
	_, _ = rand.Read(id[:]) // documented never to fail
	return id
}

// IsZero reports whether id is the zero id.
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

// UnmarshalText implements [encoding.TextUnmarshaler]. It accepts only the form that String returns.
func (id *StoreID) UnmarshalText(text []byte) error { return decodeID(id[:], text, "store id") }

// VersionID identifies a version by its content: 160 bits of SHA-256 over its record, which contains the id of the version
// before (see [VersionRecord.VersionID]). Its text form is 40 lower-case hex digits. The zero VersionID means none or unknown.
type VersionID [20]byte

// IsZero reports whether id is the zero id.
func (id VersionID) IsZero() bool { return id == VersionID{} }

// String returns the text form; it is empty for the zero id.
func (id VersionID) String() string {
	if id.IsZero() {
		return ""
	}
	return hex.EncodeToString(id[:])
}

// Short returns the first 12 hex digits, for display.
func (id VersionID) Short() string {
	text := id.String()
	return text[:min(12, len(text))]
}

// MarshalText implements [encoding.TextMarshaler].
func (id VersionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It accepts only the form that String returns.
func (id *VersionID) UnmarshalText(text []byte) error { return decodeID(id[:], text, "version id") }

func decodeID(id, text []byte, kind string) error {
	if len(text) == 0 {
		clear(id)
		return nil
	}
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(id) || hex.EncodeToString(b) != string(text) {
		return fmt.Errorf("%.80q is no %s: want %d lower-case hex digits", text, kind, 2*len(id))
	}
	copy(id, b)
	return nil
}

// Ref identifies a version. Numbers order versions; the id distinguishes two versions with the same number.
type Ref struct {
	Version uint64    `json:"version"`
	ID      VersionID `json:"id,omitzero"`
}

// String returns "<version> (<first digits of the id>)", or the number alone if the id is unknown.
func (r Ref) String() string {
	if r.ID.IsZero() {
		return fmt.Sprint(r.Version)
	}
	return fmt.Sprintf("%d (%s)", r.Version, r.ID.Short())
}

// idPrefix is the domain separator of version ids.
const idPrefix = "freshet version record 1\n"

// VersionID returns the id of the version. It is SHA-256, cut to 160 bits, over two parts:
//
//   - The head: the record's members as compact JSON, sorted by name, without "id", "snapshot" and "deltas", but with
//     "delta", the digest of the version's own delta, if it has one.
//   - The SHA-256 of the list of objects: {"snapshot":...,"deltas":[...]} as compact JSON.
//
// The head contains the store id and the id of the version before, so an id covers the whole history. A later release may
// add members to the record: an earlier one keeps them in [VersionRecord].Extra and hashes them. It may not add members
// to the objects.
//
// Releases before store ids wrote records without one. The id of such a record is the hash of its stored bytes.
func (r VersionRecord) VersionID() VersionID {
	if r.StoreID.IsZero() {
		stored, err := json.Marshal(plainRecord(r))
		if err != nil {
			return VersionID{} // only for a record that Check refuses
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

// head returns the first input of the version id's hash.
func (r VersionRecord) head() ([]byte, error) {
	own, hasDelta := r.OwnDelta()
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

// Ref returns the number and the id of the version.
func (r VersionRecord) Ref() Ref { return Ref{r.Version, r.VersionID()} }

// plainRecord has the fields of a VersionRecord without its methods.
type plainRecord VersionRecord

// MarshalJSON implements [json.Marshaler]. The first member of a record with a store id is "id", the version id.
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

// UnmarshalJSON implements [json.Unmarshaler]. It does not verify the member "id"; [DecodeVersionRecord] does.
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

// knownMembers lists the members of a record's JSON that this release defines.
var knownMembers = []string{
	"id", "store_id", "previous", "dataset", "version", "seed", "state", "payload_bytes", "snapshot", "deltas", "changes", "created",
	"source", "labels", "expect_every_ns", "request_id", "by", "reason", "restores", "deleted", "dropped",
}

// checkID returns an error if the member "id" of text is not the id of r, the record decoded from text. A record without a
// store id has no such member.
func (r VersionRecord) checkID(text []byte) error {
	var named struct {
		ID VersionID `json:"id"`
	}
	if err := json.Unmarshal(text, &named); err != nil {
		return fmt.Errorf("%w: %w", ErrVersionRecord, err)
	}
	if r.StoreID.IsZero() {
		if !named.ID.IsZero() {
			return fmt.Errorf("%w: %s: the record has the id %q and no store id", ErrVersionRecord, r.ID(), named.ID)
		}
		return nil
	}
	if id := r.VersionID(); named.ID != id {
		return fmt.Errorf("%w: %s: the record says that its id is %q, its content has the id %q", ErrVersionRecord, r.ID(), named.ID, id)
	}
	return nil
}
