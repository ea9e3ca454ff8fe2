package dataset_test

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
)

// BenchmarkEvent measures how the deltas of a version record affect the cost of encoding its event and of decoding it.
func BenchmarkEvent(b *testing.B) {
	for _, deltas := range []int{1, 64, 256} {
		rec := dataset.VersionRecord{Dataset: "prices", Version: 1000, Created: time.Now(), Source: "bench"}
		for v := rec.Version - uint64(deltas); v <= rec.Version; v++ {
			rec.Deltas = append(rec.Deltas, dataset.Object{Version: v, Digest: sha256.Sum256(fmt.Append(nil, v)), Bytes: 1000})
		}
		rec.Snapshot, rec.Deltas = rec.Deltas[0], rec.Deltas[1:]
		event, err := dataset.EncodeEvent(rec)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("encode/deltas=%d", deltas), func(b *testing.B) {
			b.SetBytes(int64(len(event)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := dataset.EncodeEvent(rec); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("decode/deltas=%d", deltas), func(b *testing.B) {
			b.SetBytes(int64(len(event)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := dataset.DecodeEvent(event); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
