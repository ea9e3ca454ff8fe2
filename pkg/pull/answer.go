package pull

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
)

// Limits of what is taken from an answer that refuses, in bytes.
const (
	maxProblemBytes = 16 << 10
	maxDetailBytes  = 300 // what of a problem's text goes into an error
)

// checkObject says why res cannot be the bytes of o from the given place on, or the whole of it.
func checkObject(res *http.Response, o dataset.Object, from int64) error {
	want := o.Bytes
	if res.StatusCode == http.StatusPartialContent {
		want -= from
		part := res.Header.Get("Content-Range")
		if part != fmt.Sprintf("bytes %d-%d/%d", from, o.Bytes-1, o.Bytes) {
			return fmt.Errorf("%w: it has the Content-Range %.80q, want bytes %d-%d/%d", ErrAnswer, part, from, o.Bytes-1, o.Bytes)
		}
	}
	if res.ContentLength >= 0 && res.ContentLength != want {
		return fmt.Errorf("%w: it has %d bytes, by the version record it must have %d", ErrAnswer, res.ContentLength, want)
	}
	if enc := res.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return fmt.Errorf("%w: it has the Content-Encoding %.40q, which was not asked for; a proxy must leave objects as they are", ErrAnswer, enc)
	}
	// A proxy may weaken or drop an ETag, but another digest is another object.
	if tag := strings.TrimPrefix(res.Header.Get("ETag"), "W/"); tag != "" && tag != etag(o) {
		return fmt.Errorf("%w: its ETag is %.80s, want the digest", ErrAnswer, tag)
	}
	return nil
}

func etag(o dataset.Object) string { return strconv.Quote(o.Digest.String()) }

// status returns the status of res in words: the text from the wire only if there is no standard one.
func status(res *http.Response) string {
	return strings.TrimSpace(strconv.Itoa(res.StatusCode) + " " + http.StatusText(res.StatusCode))
}

// DamagedKind is the last part of a problem's type when a relay says that the object is damaged in its store. A relay says so only
// to a client that got wrong bytes and asks for the object again with Cache-Control: no-cache.
const DamagedKind = "damaged-object"

// detail returns what the body of a failed answer says, if it is a problem detail (RFC 9457), as the end of an error
// message, and the last part of the problem's type.
func detail(s *stream) (text, problemKind string) {
	kind, _, err := mime.ParseMediaType(s.res.Header.Get("Content-Type"))
	if err != nil || kind != "application/problem+json" {
		return "", ""
	}
	var problem struct{ Type, Title, Detail string }
	body, err := io.ReadAll(io.LimitReader(s, maxProblemBytes))
	if err != nil || json.Unmarshal(body, &problem) != nil {
		return "", ""
	}
	problemKind = problem.Type[strings.LastIndex(problem.Type, "/")+1:]
	say := problem.Detail
	if say == "" {
		say = problem.Title
	}
	if say == "" {
		return "", problemKind
	}
	if len(say) > maxDetailBytes {
		say = say[:maxDetailBytes] + "..."
	}
	return ": " + strings.ToValidUTF8(strings.Map(printable, say), "?"), problemKind
}

// printable keeps what a relay says on one line of a log.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

// retryAfter returns the time that a Retry-After header asks for: seconds or an HTTP date; 0 for none.
func retryAfter(header string) time.Duration {
	const most = time.Hour
	if s, err := strconv.ParseUint(header, 10, 32); err == nil {
		return min(most, time.Duration(s)*time.Second)
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(most, max(0, time.Until(at)))
	}
	return 0
}
