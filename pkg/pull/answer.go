package pull

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
)

// Headers of relays.
const (
	// StoreHeader names the store that a relay reads.
	StoreHeader = "Freshet-Store"
	// DamagedHeader describes how an object is damaged in the relay's store, because an answer to HEAD has no body.
	DamagedHeader = "Freshet-Damaged"
)

// DamagedKind is the last part of a problem's type when a relay reports that the object is damaged in its store. A relay
// reports this only for requests with Cache-Control: no-cache, which clients send after wrong bytes.
const DamagedKind = "damaged-object"

// Limits of the body of a failed answer, in bytes.
const (
	maxProblemBytes = 16 << 10
	maxDetailBytes  = 300 // part of a problem's text that goes into an error
	maxDrainedBytes = 4 << 10
)

func objectPath(digest dataset.Digest) string { return "/v1/objects/" + digest.String() }

func etag(digest dataset.Digest) string { return strconv.Quote(digest.String()) }

// checkObject returns an error if res is about another object, or encodes it.
func checkObject(res *http.Response, digest dataset.Digest) error {
	if enc := res.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return fmt.Errorf("%w: the Content-Encoding is %.40q without a request for it; a proxy must not change objects", ErrAnswer, enc)
	}
	// A proxy may weaken or drop an ETag, but another digest is another object.
	if tag := strings.TrimPrefix(res.Header.Get("ETag"), "W/"); tag != "" && tag != etag(digest) {
		return fmt.Errorf("%w: the ETag is %.80s, want the digest", ErrAnswer, tag)
	}
	return nil
}

// check returns an error if res cannot be the missing bytes of b, or the whole object.
func (b *Body) check(res *http.Response) error {
	length := b.end - b.at
	switch part := res.Header.Get("Content-Range"); {
	case res.StatusCode == http.StatusOK && b.ranged && (b.at > 0 || res.ContentLength != b.end):
		return fmt.Errorf("%w: the relay sends the whole object in place of a range; a proxy must support ranges", ErrAnswer)
	case res.StatusCode == http.StatusOK:
		length = b.end
	default:
		want := fmt.Sprintf("bytes %d-%d/", b.at, b.end-1)
		if !b.ranged {
			want += strconv.FormatInt(b.end, 10)
		}
		if part != want && !(b.ranged && strings.HasPrefix(part, want)) {
			return fmt.Errorf("%w: the Content-Range is %.80q, want %s", ErrAnswer, part, want)
		}
	}
	if res.ContentLength >= 0 && res.ContentLength != length {
		return fmt.Errorf("%w: the body has %d bytes, want %d", ErrAnswer, res.ContentLength, length)
	}
	return checkObject(res, b.object.Digest)
}

// failure reads a failed answer and returns its error, with the text of a problem detail (RFC 9457) if there is one.
func failure(s *stream) error {
	text, kind := problem(s)
	// The transport reuses a connection only after its answer is read to the end. An answer of unknown length may never end.
	if n := s.res.ContentLength; n >= 0 && n <= maxDrainedBytes {
		_, _ = io.Copy(io.Discard, s)
	}
	code := s.res.StatusCode
	answered := strings.TrimSpace(fmt.Sprint("answered ", code, " ", http.StatusText(code))) // not the text on the wire
	if text != "" {
		answered += ": " + oneLine(text)
	}
	switch damage := s.res.Header.Get(DamagedHeader); {
	case damage != "":
		return damagedError(damage)
	case code == http.StatusBadGateway && kind == DamagedKind:
		return damagedError(answered)
	}
	return errors.New(answered)
}

// problem returns the text of a problem detail, and the last part of its type.
func problem(s *stream) (text, kind string) {
	media, _, err := mime.ParseMediaType(s.res.Header.Get("Content-Type"))
	if err != nil || media != "application/problem+json" {
		return "", ""
	}
	var p struct{ Type, Title, Detail string }
	body, err := io.ReadAll(io.LimitReader(s, maxProblemBytes))
	if err != nil || json.Unmarshal(body, &p) != nil {
		return "", ""
	}
	if p.Detail == "" {
		p.Detail = p.Title
	}
	return p.Detail, p.Type[strings.LastIndex(p.Type, "/")+1:]
}

// oneLine makes a relay's text fit for one line of a log.
func oneLine(text string) string {
	if len(text) > maxDetailBytes {
		text = text[:maxDetailBytes] + "..."
	}
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text), "?")
}

// retryAfter returns the time in a Retry-After header: seconds or an HTTP date; 0 for none.
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
