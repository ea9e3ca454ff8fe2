package store

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/servertest"
)

// BenchmarkDirLatest shows what finding the newest of many versions costs, at the first call and later.
func BenchmarkDirLatest(b *testing.B) {
	const versions = 10_000
	folder := b.TempDir()
	rec := dataset.VersionRecord{Dataset: "prices", Created: time.Now(), Snapshot: dataset.Object{Digest: dataset.Digest{1}, Bytes: 1}}
	if err := os.MkdirAll(filepath.Join(folder, "versions", "prices"), 0o755); err != nil {
		b.Fatal(err)
	}
	for v := range uint64(versions) {
		rec.Version, rec.Snapshot.Version = v+1, v+1
		j, err := rec.Encode()
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, recordName("prices", v+1)), j, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	latest := func(b *testing.B, st Store) {
		if rec, err := st.Latest(b.Context(), "prices"); err != nil || rec.Version != versions {
			b.Fatal(rec.Version, err)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			st, err := Open(b.Context(), "dir://"+folder)
			if err != nil {
				b.Fatal(err)
			}
			latest(b, st)
			_ = st.Close()
		}
	})
	b.Run("later", func(b *testing.B) {
		st, err := Open(b.Context(), "dir://"+folder)
		if err != nil {
			b.Fatal(err)
		}
		defer st.Close()
		for b.Loop() {
			latest(b, st)
		}
	})
}

// BenchmarkObjects shows the bytes a second of uploads, which are verified and durable, and of reads.
func BenchmarkObjects(b *testing.B) {
	server := servertest.S3(b)
	for name, rawURL := range map[string]string{"dir": "dir://" + b.TempDir(), "s3": server.URL("")} {
		st, err := Open(b.Context(), rawURL)
		if err != nil {
			b.Fatal(err)
		}
		defer st.Close()
		content := bytes.Repeat([]byte("0123456789abcdef"), 4<<20)
		n := uint64(0)
		b.Run(name+"/put", func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				b.StopTimer()
				n++
				binary.LittleEndian.PutUint64(content, n)
				d := digestOf(content)
				b.StartTimer()
				if err := st.PutObject(b.Context(), d, int64(len(content)), bytes.NewReader(content)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/read", func(b *testing.B) {
			d := digestOf(content)
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				r, err := st.OpenObject(b.Context(), d, 0, -1)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(struct{ io.Writer }{io.Discard}, r); err != nil {
					b.Fatal(err)
				}
				_ = r.Close()
			}
		})
	}
}
