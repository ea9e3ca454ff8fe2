package dataset

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"
)

var (
	// ErrRecord is wrapped by the errors of CheckKey and Record.Check.
	ErrRecord = errors.New("not a record")
	// ErrEncoding is returned when bytes are not the encoding of a record.
	ErrEncoding = errors.New("malformed record encoding")
)

// Record is a key and its value. In a delta, Removed marks a removal, which has no value.
type Record struct {
	Key     []byte
	Value   []byte
	Removed bool
}

// CheckKey returns an error that wraps [ErrRecord] if key is empty or too long for a record.
func CheckKey(key []byte) error {
	switch {
	case len(key) == 0:
		return fmt.Errorf("%w: the key is empty", ErrRecord)
	case len(key) > MaxKeyBytes:
		return fmt.Errorf("%w: the key %.32q... has %d bytes, the most is %d", ErrRecord, key, len(key), MaxKeyBytes)
	}
	return nil
}

// Check returns an error that wraps [ErrRecord] if r is not a valid record.
func (r Record) Check() error {
	if err := CheckKey(r.Key); err != nil {
		return err
	}
	switch {
	case len(r.Value) > MaxValueBytes:
		return fmt.Errorf("%w: the value of key %.64q has %d bytes, the most is %d", ErrRecord, r.Key, len(r.Value), MaxValueBytes)
	case r.Removed && len(r.Value) > 0:
		return fmt.Errorf("%w: the removal of key %.64q has a value", ErrRecord, r.Key)
	}
	return nil
}

// EncodedBytes returns the length of r's encoding.
func (r Record) EncodedBytes() int {
	n := uvarintBytes(uint64(len(r.Key))<<1) + len(r.Key)
	if !r.Removed {
		n += uvarintBytes(uint64(len(r.Value))) + len(r.Value)
	}
	return n
}

// AppendRecord appends the encoding of r to dst. r must pass [Record.Check].
func AppendRecord(dst []byte, r Record) []byte {
	if r.Removed {
		dst = binary.AppendUvarint(dst, uint64(len(r.Key))<<1|1)
		return append(dst, r.Key...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Key))<<1)
	dst = binary.AppendUvarint(dst, uint64(len(r.Value)))
	dst = append(dst, r.Key...)
	return append(dst, r.Value...)
}

// DecodeRecord returns the first record of b, and the length of its encoding. The record aliases b; DecodeRecord does
// not allocate. It returns [ErrEncoding] for any bytes other than those that AppendRecord writes for a record that
// passes [Record.Check].
func DecodeRecord(b []byte) (Record, int, error) {
	k, n := shortUvarint(b, 2*MaxKeyBytes+1)
	if n == 0 {
		return Record{}, 0, ErrEncoding
	}
	klen, removed := int(k>>1), k&1 == 1
	var vlen int
	if !removed {
		v, m := shortUvarint(b[n:], MaxValueBytes)
		if m == 0 {
			return Record{}, 0, ErrEncoding
		}
		vlen, n = int(v), n+m
	}
	end := n + klen + vlen
	if klen == 0 || end > len(b) {
		return Record{}, 0, ErrEncoding
	}
	mid := n + klen
	return Record{Key: b[n:mid:mid], Value: b[mid:end:end], Removed: removed}, end, nil
}

// shortUvarint decodes a uvarint of at most limit. n is 0 if b does not begin with one in its shortest form.
func shortUvarint(b []byte, limit uint64) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 && uint64(b[0]) <= limit {
		return uint64(b[0]), 1
	}
	v, n = binary.Uvarint(b)
	if n <= 0 || v > limit || n != uvarintBytes(v) {
		return 0, 0
	}
	return v, n
}

func uvarintBytes(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// Hash returns the XXH3-64 of key with seed. It orders records and assigns them to partitions.
func Hash(seed uint64, key []byte) uint64 {
	return xxh3.HashSeed(key, seed)
}
