package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/dataset"
)

// abortTimeout bounds the clearing up after an upload that failed, which goes on when the upload's context is over.
const abortTimeout = 30 * time.Second

func (s *s3) PutObject(ctx context.Context, digest dataset.Digest, size int64, r io.Reader) error {
	content, err := verify(ctx, digest, size, r)
	if err != nil {
		return err
	}
	switch there, err := s.StatObject(ctx, digest); {
	case err == nil && there == size:
		return nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	return s.replace(ctx, content)
}

// replace makes content the object, in one step, whatever there was before.
func (s *s3) replace(ctx context.Context, content *verifier) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if content.want <= s.partBytes {
		return s.putWhole(ctx, content)
	}
	return s.putParts(ctx, content)
}

func (s *s3) RepairObject(ctx context.Context, digest dataset.Digest, size int64, r io.Reader) (bool, error) {
	return repair(ctx, s, digest, size, r, func(content *verifier) error { return s.replace(ctx, content) })
}

func (s *s3) Place(digest dataset.Digest) string { return s.full(objectName(digest)) }

// putWhole uploads in one request: the server makes an object of all its bytes or of none.
func (s *s3) putWhole(ctx context.Context, content *verifier) error {
	name := objectName(content.digest)
	// One byte more, so that the read ends with the end of the content, which is where it is verified.
	b := make([]byte, content.want+1)
	n, err := io.ReadFull(content, b)
	if !isEnd(err) {
		return fmt.Errorf("put object %s: %w", content.digest, err)
	}
	// The digest signs the request: a server refuses what arrives changed.
	_, err = s.core.PutObject(ctx, s.settings.bucket, s.key(name), bytes.NewReader(b[:n]), int64(n), "",
		content.digest.String(), objectOptions())
	if err != nil {
		return s.failed("put object", name, err)
	}
	return nil
}

// putParts uploads in parts. They are no object until the last request, which is not sent unless all the content
// was read and verified.
func (s *s3) putParts(ctx context.Context, content *verifier) error {
	name := objectName(content.digest)
	upload, err := s.core.NewMultipartUpload(ctx, s.settings.bucket, s.key(name), objectOptions())
	if err != nil {
		return s.failed("begin the upload of object", name, err)
	}
	parts, err := s.sendParts(ctx, name, upload, content)
	if err != nil {
		s.abort(ctx, name, upload)
		return fmt.Errorf("put object %s: %w", content.digest, err)
	}
	_, err = s.core.CompleteMultipartUpload(ctx, s.settings.bucket, s.key(name), upload, parts, objectOptions())
	if err == nil {
		return nil
	}
	// The answer may have been lost after the work was done; a repeated request is then told of no such upload. The size
	// does not tell: this may replace a damaged object of the same size.
	if VerifyObject(ctx, s, content.digest, content.want) == nil {
		return nil
	}
	s.abort(ctx, name, upload)
	return s.failed("complete the upload of object", name, err)
}

// sendParts reads content to its verified end and uploads it, several parts at a time.
func (s *s3) sendParts(ctx context.Context, name, upload string, content *verifier) ([]minio.CompletePart, error) {
	// A part that fails stops the reading, but not the other parts: one that the server is still at work on when the
	// upload is aborted could outlive it.
	reading, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	content.ctx = reading
	partBytes := max(s.partBytes, (content.want+maxParts-1)/maxParts)
	parts := make([]minio.CompletePart, (content.want+partBytes-1)/partBytes)
	lanes := pool.New().WithMaxGoroutines(uploadLanes)
	free := make(chan []byte, uploadLanes+1)
	for i := 0; ; i++ {
		var b []byte
		select {
		case b = <-free:
		default:
			b = make([]byte, partBytes) // at most one more than lanes: Go below waits for a lane
		}
		n, err := io.ReadFull(content, b)
		if err != nil && !isEnd(err) {
			fail(err)
			break
		}
		if n > 0 {
			lanes.Go(func() {
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
	lanes.Wait()
	if err := context.Cause(reading); err != nil {
		return nil, err
	}
	return parts, nil
}

func (s *s3) sendPart(ctx context.Context, name, upload string, number int, b []byte) (minio.CompletePart, error) {
	sum := sha256.Sum256(b)
	part, err := s.core.PutObjectPart(ctx, s.settings.bucket, s.key(name), upload, number, bytes.NewReader(b), int64(len(b)),
		minio.PutObjectPartOptions{Sha256Hex: hex.EncodeToString(sum[:]), DisableContentSha256: true})
	if err != nil {
		return minio.CompletePart{}, s.failed(fmt.Sprintf("put part %d of object", number), name, err)
	}
	return minio.CompletePart{PartNumber: number, ETag: part.ETag}, nil
}

// abort discards the parts of an upload that failed. If that fails too they take space until sweep finds them, and
// never read as an object.
func (s *s3) abort(ctx context.Context, name, upload string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_ = s.core.AbortMultipartUpload(ctx, s.settings.bucket, s.key(name), upload)
}

// sweep aborts the uploads that died more than staleAfter ago.
func (s *s3) sweep(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for u := range s.core.ListIncompleteUploads(ctx, s.settings.bucket, s.key(objectsFolder+"/"), true) {
		// Leftovers only take space, and listing them may not be allowed: no reason to fail an upload.
		if u.Err == nil && time.Since(u.Initiated) >= s.staleAfter {
			_ = s.core.AbortMultipartUpload(ctx, s.settings.bucket, u.Key, u.UploadID)
		}
	}
}

func (s *s3) StatObject(ctx context.Context, digest dataset.Digest) (int64, error) {
	name := objectName(digest)
	info, err := s.core.StatObject(ctx, s.settings.bucket, s.key(name), minio.StatObjectOptions{})
	switch {
	case isCode(err, minio.NoSuchKey):
		return 0, s.noObject(digest)
	case err != nil:
		return 0, s.failed("look for object", name, err)
	}
	return info.Size, nil
}

func (s *s3) noObject(digest dataset.Digest) error {
	return fmt.Errorf("object %s: %w at %s", digest, ErrNotFound, s.full(objectName(digest)))
}

func (s *s3) OpenObject(ctx context.Context, digest dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	name := objectName(digest)
	if offset < 0 || length == 0 || length > math.MaxInt64-offset {
		return s.openNothing(ctx, digest, offset, length) // no request can say these
	}
	var opts minio.GetObjectOptions
	var err error
	switch {
	case length > 0:
		err = opts.SetRange(offset, offset+length-1)
	case offset > 0:
		err = opts.SetRange(offset, 0) // to the end
	}
	if err != nil {
		return nil, s.failed("open object", name, err)
	}
	body, info, header, err := s.core.GetObject(ctx, s.settings.bucket, s.key(name), opts)
	switch {
	case isCode(err, minio.NoSuchKey):
		return nil, s.noObject(digest)
	case isCode(err, minio.InvalidRange):
		return s.openNothing(ctx, digest, offset, length)
	case err != nil:
		return nil, s.failed("open object", name, err)
	}
	first, size := int64(0), info.Size
	if ranged := offset > 0 || length > 0; ranged {
		var last int64
		if _, err := fmt.Sscanf(header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &size); err != nil || first != offset {
			_ = body.Close() // the answer is of no use
			return nil, fmt.Errorf("open object %s: %w: the S3 server at %s does not honour Range (Content-Range is %q)",
				s.full(name), ErrUnusable, s.settings.endpoint, header.Get("Content-Range"))
		}
	}
	want, err := checkRange(digest, size, offset, length)
	if err != nil {
		_ = body.Close() // the answer is of no use
		return nil, err
	}
	return &s3Body{body: body, rest: want, place: s.full(name)}, nil
}

// openNothing tells the ranges that are not within the object from those that are and have no bytes.
func (s *s3) openNothing(ctx context.Context, digest dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	size, err := s.StatObject(ctx, digest)
	if err != nil {
		return nil, err
	}
	n, err := checkRange(digest, size, offset, length)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		return nil, fmt.Errorf("open object %s: %w: the S3 server at %s refuses %d bytes from %d on, though it has %d",
			s.full(objectName(digest)), ErrUnusable, s.settings.endpoint, n, offset, size)
	}
	return io.NopCloser(bytes.NewReader(nil)), nil
}

// s3Body yields exactly rest bytes of an answer's body, or an error.
type s3Body struct {
	body  io.ReadCloser
	rest  int64
	place string
}

func (b *s3Body) Read(p []byte) (int, error) {
	if b.rest == 0 {
		return 0, io.EOF
	}
	n, err := b.body.Read(p[:min(int64(len(p)), b.rest)])
	b.rest -= int64(n)
	switch {
	case b.rest == 0:
		return n, nil
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		err = fmt.Errorf("read %s, %d bytes before the end: %w", b.place, b.rest, err)
	}
	return n, err
}

func (b *s3Body) Close() error { return b.body.Close() }

func objectOptions() minio.PutObjectOptions {
	// The payload's digest stands in each request; with it no signature per chunk is needed.
	return minio.PutObjectOptions{ContentType: "application/octet-stream", DisableContentSha256: true}
}

// isEnd reports whether err, of io.ReadFull on a verifier, is the verified end. A source's own io.ErrUnexpectedEOF
// comes wrapped, so it is not taken for that: hence no errors.Is.
func isEnd(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }
