package dataset

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// Checksum is the state checksum of a set of records: their number and the sum modulo 2^128 of their hashes. The
// zero Checksum is that of the empty set. Its text form is "<records>-<32 hex digits>".
type Checksum struct {
	Records uint64
	Hi, Lo  uint64
}

// Add adds a record, given in its encoding (see the package comment).
func (c *Checksum) Add(seed uint64, encoded []byte) {
	h := xxh3.Hash128Seed(encoded, seed)
	c.Merge(Checksum{Records: 1, Hi: h.Hi, Lo: h.Lo})
}

// Remove subtracts a record, given in its encoding. The record must have been added before.
func (c *Checksum) Remove(seed uint64, encoded []byte) {
	h := xxh3.Hash128Seed(encoded, seed)
	var borrow uint64
	c.Lo, borrow = bits.Sub64(c.Lo, h.Lo, 0)
	c.Hi, _ = bits.Sub64(c.Hi, h.Hi, borrow)
	c.Records--
}

// Merge adds every record of o. The two sets must have no key in common.
func (c *Checksum) Merge(o Checksum) {
	var carry uint64
	c.Lo, carry = bits.Add64(c.Lo, o.Lo, 0)
	c.Hi, _ = bits.Add64(c.Hi, o.Hi, carry)
	c.Records += o.Records
}

// String returns the text form.
func (c Checksum) String() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], c.Hi)
	binary.BigEndian.PutUint64(b[8:], c.Lo)
	return fmt.Sprintf("%d-%x", c.Records, b)
}

// MarshalText implements [encoding.TextMarshaler].
func (c Checksum) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It accepts only the form that String returns.
func (c *Checksum) UnmarshalText(text []byte) error {
	var d Checksum
	var sum string
	if _, err := fmt.Sscanf(string(text), "%d-%s", &d.Records, &sum); err != nil {
		return fmt.Errorf("%.80q is no state checksum: want <records>-<32 hex digits>", text)
	}
	b, err := hex.DecodeString(sum)
	if err != nil || len(b) != 16 {
		return fmt.Errorf("%.80q is no state checksum: want <records>-<32 hex digits>", text)
	}
	d.Hi, d.Lo = binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	if d.String() != string(text) {
		return fmt.Errorf("%.80q is no state checksum: its shortest form is %q", text, d)
	}
	*c = d
	return nil
}
