package dataset_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestRecordEncoding(t *testing.T) {
	long := bytes.Repeat([]byte("k"), 64)
	for name, c := range map[string]struct {
		record dataset.Record
		want   string // hex
	}{
		"record":       {dataset.Record{Key: []byte("ab"), Value: []byte("xyz")}, "04" + "03" + "6162" + "78797a"},
		"empty value":  {dataset.Record{Key: []byte("a"), Value: []byte{}}, "02" + "00" + "61"},
		"removal":      {dataset.Record{Key: []byte("ab"), Removed: true}, "05" + "6162"},
		"two-byte key": {dataset.Record{Key: long, Value: []byte("v")}, "8001" + "01" + hex.EncodeToString(long) + "76"},
	} {
		t.Run(name, func(t *testing.T) {
			b := dataset.AppendRecord(nil, c.record)
			if got := hex.EncodeToString(b); got != c.want {
				t.Errorf("encoding is %s, want %s", got, c.want)
			}
			if c.record.EncodedBytes() != len(b) {
				t.Errorf("EncodedBytes is %d, want %d", c.record.EncodedBytes(), len(b))
			}
		})
	}
}

func TestRecordEncodingRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := dataset.Record{Key: rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "key"), Removed: rapid.Bool().Draw(t, "removed")}
		if !r.Removed {
			r.Value = rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value")
		}
		rest := rapid.SliceOf(rapid.Byte()).Draw(t, "rest")
		b := dataset.AppendRecord(nil, r)
		got, n, err := dataset.DecodeRecord(append(b, rest...))
		if err != nil || n != len(b) {
			t.Fatalf("decoded %d of %d bytes: %v", n, len(b), err)
		}
		if !bytes.Equal(got.Key, r.Key) || !bytes.Equal(got.Value, r.Value) || got.Removed != r.Removed {
			t.Fatalf("decoded %v, want %v", got, r)
		}
		for cut := range b {
			if _, _, err := dataset.DecodeRecord(b[:cut]); !errors.Is(err, dataset.ErrEncoding) {
				t.Fatalf("cut at %d of %d: error is %v", cut, len(b), err)
			}
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte{2, 0, 'a'})
	f.Add([]byte{0x82, 0x00, 0, 'a'}) // a uvarint that is not in its shortest form
	f.Add([]byte{3, 'a'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, n, err := dataset.DecodeRecord(b)
		if err != nil {
			return
		}
		if err := r.Check(); err != nil {
			t.Fatalf("decoded an invalid record: %v", err)
		}
		if again := dataset.AppendRecord(nil, r); !bytes.Equal(again, b[:n]) {
			t.Fatalf("%x decodes to a record with the encoding %x", b[:n], again)
		}
	})
}

func TestRecordLimits(t *testing.T) {
	key, big := []byte("k"), make([]byte, dataset.MaxValueBytes+1)
	for name, c := range map[string]struct {
		record dataset.Record
		want   string // empty: accepted
	}{
		"longest":            {dataset.Record{Key: make([]byte, dataset.MaxKeyBytes), Value: big[1:]}, ""},
		"empty key":          {dataset.Record{Value: key}, "the key is empty"},
		"key too long":       {dataset.Record{Key: make([]byte, dataset.MaxKeyBytes+1)}, "has 1025 bytes, the most is 1024"},
		"value too long":     {dataset.Record{Key: key, Value: big}, `the value of key "k" has 1048577 bytes`},
		"removal with value": {dataset.Record{Key: key, Value: key, Removed: true}, "has a value"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.record.Check()
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				b := dataset.AppendRecord(nil, c.record)
				if len(b) > dataset.MaxEncodedBytes {
					t.Errorf("%d bytes, over MaxEncodedBytes", len(b))
				}
				if _, n, err := dataset.DecodeRecord(b); err != nil || n != len(b) {
					t.Errorf("decoded %d of %d bytes: %v", n, len(b), err)
				}
				return
			}
			if !errors.Is(err, dataset.ErrRecord) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want ErrRecord with %q", err, c.want)
			}
		})
	}
}

func TestChecksumIsIndependentOfOrderAndUpdates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		records := rapid.SliceOfNDistinct(rapid.StringN(1, 8, 20), 1, 40, rapid.ID).Draw(t, "keys")
		split := rapid.IntRange(0, len(records)).Draw(t, "split")
		enc := func(k string) []byte {
			return dataset.AppendRecord(nil, dataset.Record{Key: []byte(k), Value: []byte("v" + k)})
		}
		var forward, backward, left, right dataset.Checksum
		for i, k := range records {
			forward.Add(seed, enc(k))
			backward.Add(seed, enc(records[len(records)-1-i]))
			if i < split {
				left.Add(seed, enc(k))
			} else {
				right.Add(seed, enc(k))
			}
		}
		left.Merge(right)
		if forward != backward || forward != left {
			t.Fatalf("%v, %v and %v differ", forward, backward, left)
		}
		var back dataset.Checksum
		text, _ := forward.MarshalText()
		if err := back.UnmarshalText(text); err != nil || back != forward {
			t.Fatalf("%s reads as %v: %v", text, back, err)
		}
		for _, k := range records {
			forward.Remove(seed, enc(k))
		}
		if forward != (dataset.Checksum{}) {
			t.Fatalf("after removing everything it is %v", forward)
		}
	})
}

func TestTextForms(t *testing.T) {
	var c dataset.Checksum
	for _, bad := range []string{"", "5", "5-", "5-00", "-1-" + strings.Repeat("0", 32), "05-" + strings.Repeat("0", 32), "5-" + strings.Repeat("A", 32), "5-" + strings.Repeat("0", 32) + " "} {
		if err := c.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was accepted as a state checksum", bad)
		}
	}
	for _, bad := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("G", 64), strings.Repeat("A", 64), strings.Repeat("0", 65)} {
		if _, err := dataset.ParseDigest(bad); err == nil {
			t.Errorf("%q was accepted as a digest", bad)
		}
	}
	var s dataset.Seed
	for _, bad := range []string{"", "1", strings.Repeat("g", 16), strings.Repeat("A", 16), "+000000000000001"} {
		if err := s.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was accepted as a seed", bad)
		}
	}
	if diff := cmp.Diff("00000000000000ff", string(must(dataset.Seed(255).MarshalText()))); diff != "" {
		t.Error(diff)
	}
}

func TestNames(t *testing.T) {
	for _, good := range []string{"a", "0", "prices-eu_2", strings.Repeat("x", 64)} {
		if err := dataset.CheckName(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "A", "-a", "_a", "a.b", "a/b", "..", "a b", "é", "a*", "a>", strings.Repeat("x", 65)} {
		if err := dataset.CheckName(bad); !errors.Is(err, dataset.ErrName) {
			t.Errorf("%q: error is %v, want ErrName", bad, err)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
