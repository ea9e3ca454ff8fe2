package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/verify"
)

// abortTimeout bounds the abort of a failed upload, which does not end with the context of the upload.
const abortTimeout = 30 * time.Second

// putWhole uploads the object in one request: the server stores all bytes or none.
func (s *Store) putWhole(ctx context.Context, content *verify.Reader) error {
	name := layout.Object(content.Digest())
	// The buffer has one byte more, so that the read reaches the end of the content, where it is verified.
	b := make([]byte, content.Bytes()+1)
	n, err := io.ReadFull(content, b)
	if !isEnd(err) {
		return fmt.Errorf("put object %s: %w", content.Digest(), err)
	}
	// The digest is part of the signature: the server refuses content that changed on the way.
	_, err = s.core.PutObject(ctx, s.settings.bucket, s.key(name), bytes.NewReader(b[:n]), int64(n), "",
		content.Digest().String(), objectOptions())
	if err != nil {
		return s.failed("put object", name, err)
	}
	return nil
}

// putParts uploads the object in parts. The last request makes them an object. It is sent only after all the content was read and
// verified.
func (s *Store) putParts(ctx context.Context, content *verify.Reader) error {
	name := layout.Object(content.Digest())
	upload, err := s.core.NewMultipartUpload(ctx, s.settings.bucket, s.key(name), objectOptions())
	if err != nil {
		return s.failed("begin the upload of object", name, err)
	}
	parts, err := s.sendParts(ctx, name, upload, content)
	if err != nil {
		s.abort(ctx, name, upload)
		return fmt.Errorf("put object %s: %w", content.Digest(), err)
	}
	_, err = s.core.CompleteMultipartUpload(ctx, s.settings.bucket, s.key(name), upload, parts, objectOptions())
	if err == nil {
		return nil
	}
	// The upload may be complete although the response was lost: the server refuses the retry, because the upload no longer exists. The
	// object's size proves nothing, because the upload may replace a damaged object of the same size.
	if store.VerifyObject(ctx, s, content.Digest(), content.Bytes()) == nil {
		return nil
	}
	s.abort(ctx, name, upload)
	return s.failed("complete the upload of object", name, err)
}

// sendParts reads content to its verified end and uploads it, uploadConcurrency parts at a time.
func (s *Store) sendParts(ctx context.Context, name, upload string, content *verify.Reader) ([]minio.CompletePart, error) {
	// A part that fails stops the reading, but does not cancel the other parts: a part that the server is still storing when the upload is
	// aborted could survive the abort.
	reading, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	content.SetContext(reading)
	partBytes := max(s.partBytes, (content.Bytes()+maxParts-1)/maxParts)
	parts := make([]minio.CompletePart, (content.Bytes()+partBytes-1)/partBytes)
	uploads := pool.New().WithMaxGoroutines(uploadConcurrency)
	free := make(chan []byte, uploadConcurrency+1)
	for i := 0; ; i++ {
		var b []byte
		select {
		case b = <-free:
		default:
			b = make([]byte, partBytes) // at most uploadConcurrency+1 of them: uploads.Go blocks
		}
		n, err := io.ReadFull(content, b)
		if err != nil && !isEnd(err) {
			fail(err)
			break
		}
		if n > 0 {
			uploads.Go(func() {
				part, err := s.sendPart(ctx, name, upload, i+1, b[:n])
				if err != nil {
					fail(err)
					return
				}
				parts[i] = part
				select {
				case free <- b:
				default:
				}
			})
		}
		if err != nil {
			break
		}
	}
	uploads.Wait()
	if err := context.Cause(reading); err != nil {
		return nil, err
	}
	return parts, nil
}

func (s *Store) sendPart(ctx context.Context, name, upload string, number int, b []byte) (minio.CompletePart, error) {
	sum := sha256.Sum256(b)
	part, err := s.core.PutObjectPart(ctx, s.settings.bucket, s.key(name), upload, number, bytes.NewReader(b), int64(len(b)),
		minio.PutObjectPartOptions{Sha256Hex: hex.EncodeToString(sum[:]), DisableContentSha256: true})
	if err != nil {
		return minio.CompletePart{}, s.failed(fmt.Sprintf("put part %d of object", number), name, err)
	}
	return minio.CompletePart{PartNumber: number, ETag: part.ETag}, nil
}

// abort discards the parts of a failed upload. If the abort fails too, the parts occupy space until a sweep, and never become an object.
func (s *Store) abort(ctx context.Context, name, upload string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_ = s.core.AbortMultipartUpload(ctx, s.settings.bucket, s.key(name), upload)
}

// sweep aborts the uploads that started more than staleAfter ago.
func (s *Store) sweep(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for u := range s.core.ListIncompleteUploads(ctx, s.settings.bucket, s.key(layout.ObjectsFolder+"/"), true) {
		// Leftovers only occupy space, and listing them may be forbidden, so the upload goes on.
		if u.Err == nil && time.Since(u.Initiated) >= s.staleAfter {
			_ = s.core.AbortMultipartUpload(ctx, s.settings.bucket, u.Key, u.UploadID)
		}
	}
}

func objectOptions() minio.PutObjectOptions {
	// Each request has the digest of its payload, so no signature per chunk is needed.
	return minio.PutObjectOptions{ContentType: "application/octet-stream", DisableContentSha256: true}
}

// isEnd reports whether err, from io.ReadFull of a verify.Reader, is the verified end. It does not use errors.Is, because an
// io.ErrUnexpectedEOF of the source is wrapped and must not count as the end.
func isEnd(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }
