package storeurl_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store/storeurl"
)

// BenchmarkObjects shows the bytes a second of uploads, which are verified and durable, and of reads.
func BenchmarkObjects(b *testing.B) {
	server := servertest.S3(b)
	for name, rawURL := range map[string]string{"dir": "dir://" + b.TempDir(), "s3": server.URL("")} {
		st, err := storeurl.Open(b.Context(), rawURL)
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
				d := dataset.Digest(sha256.Sum256(content))
				b.StartTimer()
				if err := st.PutObject(b.Context(), d, int64(len(content)), bytes.NewReader(content)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/read", func(b *testing.B) {
			d := dataset.Digest(sha256.Sum256(content))
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
