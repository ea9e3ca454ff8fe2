package snapshot

import (
	"fmt"

	"freshet.dev/pkg/dataset"
)

// Totals are the totals of a file from its footer.
type Totals struct {
	// Entries counts records and, in a delta, removals. Removals counts only removals.
	Entries, Removals uint64
	// RawBytes is the sum of the entries' encoded lengths, PayloadBytes that of their keys' and values' lengths.
	RawBytes, PayloadBytes uint64
	// State is the state checksum of a snapshot's records, or of the version that a delta leads to.
	State dataset.Checksum
	// Base is the state checksum of the version that a delta applies to; zero in a snapshot.
	Base dataset.Checksum
	// FileBytes and Digest are the file's size and SHA-256. The footer does not contain them.
	FileBytes int64
	Digest    dataset.Digest
}

func (t Totals) append(b []byte) []byte {
	b = le.AppendUint64(b, t.Entries)
	b = le.AppendUint64(b, t.Removals)
	b = le.AppendUint64(b, t.RawBytes)
	b = le.AppendUint64(b, t.PayloadBytes)
	b = appendChecksum(b, t.State)
	return appendChecksum(b, t.Base)
}

func parseTotals(b []byte) Totals {
	return Totals{
		Entries: le.Uint64(b), Removals: le.Uint64(b[8:]), RawBytes: le.Uint64(b[16:]), PayloadBytes: le.Uint64(b[24:]),
		State: parseChecksum(b[32:]), Base: parseChecksum(b[56:]),
	}
}

// plausible returns an error if no file of the given kind can have the totals t, whatever its entries are.
func (t Totals) plausible(k Kind) error {
	switch {
	case t.Removals > t.Entries:
		return fmt.Errorf("%d of %d entries are removals", t.Removals, t.Entries)
	case t.PayloadBytes > t.RawBytes:
		return fmt.Errorf("%d payload bytes in %d raw bytes", t.PayloadBytes, t.RawBytes)
	case k == Delta:
		return t.plausibleDelta()
	}
	return t.plausibleSnapshot()
}

func (t Totals) plausibleSnapshot() error {
	switch {
	case t.Removals != 0:
		return fmt.Errorf("%d removals in a snapshot", t.Removals)
	case t.Base != dataset.Checksum{}:
		return fmt.Errorf("a base state %v in a snapshot", t.Base)
	case t.State.Records != t.Entries:
		return fmt.Errorf("%d entries, but a state of %d records", t.Entries, t.State.Records)
	}
	return nil
}

func (t Totals) plausibleDelta() error {
	upserts := t.Entries - t.Removals
	switch {
	case t.Entries == 0 && t.Base != t.State:
		return fmt.Errorf("no entries, but they lead from state %v to %v", t.Base, t.State)
	case t.Removals > t.Base.Records:
		return fmt.Errorf("%d removals from a base of %d records", t.Removals, t.Base.Records)
	case t.State.Records+t.Removals < t.Base.Records, t.State.Records+t.Removals-t.Base.Records > upserts:
		return fmt.Errorf("%d upserts and %d removals cannot lead from %d records to %d",
			upserts, t.Removals, t.Base.Records, t.State.Records)
	}
	return nil
}

// check returns an error if t, the totals of a file of the given kind, differ from got, the tally of its entries.
func (t Totals) check(k Kind, got Tally) error {
	want := Tally{Entries: t.Entries, Removals: t.Removals, RawBytes: t.RawBytes, PayloadBytes: t.PayloadBytes, State: t.State}
	if k == Delta {
		want.State = got.State // the state that a delta leads to does not follow from its entries alone
	}
	if want != got {
		return fmt.Errorf("%w: the footer says %d entries, %d removals, %d raw and %d payload bytes, state %v; the blocks have %d, %d, %d, %d, %v",
			ErrCorrupt, want.Entries, want.Removals, want.RawBytes, want.PayloadBytes, want.State,
			got.Entries, got.Removals, got.RawBytes, got.PayloadBytes, got.State)
	}
	return nil
}
