package relay

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// span is the bytes from .. to-1.
type span struct{ from, to int64 }

// wantsRange reports whether the Range header of req applies (RFC 9110, sections 13.1.5 and 14.2): only to a GET, and
// only if there is no If-Range or it names the object's ETag.
func wantsRange(req *http.Request, etag string) bool {
	condition := req.Header.Get("If-Range")
	return req.Method == http.MethodGet && (condition == "" || condition == etag)
}

// parseRange parses a Range header for an object of size bytes. The span is empty if the object has none of the bytes. ok is
// false for no range, more than one, another unit, and an invalid range: the answer is the whole object then, as RFC 9110,
// section 14.2, allows.
func parseRange(header string, size int64) (part span, ok bool) {
	unit, text, _ := strings.Cut(header, "=")
	first, last, ok := strings.Cut(strings.TrimSpace(text), "-")
	from, hasFirst := digits(first)
	to, hasLast := digits(last)
	switch {
	case !ok || unit != "bytes":
		return span{}, false
	case first == "": // the last bytes
		return span{max(0, size-to), size}, hasLast
	case last == "":
		return span{from, size}, hasFirst
	}
	return span{from, min(size, to+1)}, hasFirst && hasLast && from <= to
}

// digits parses a number without a sign. A number that is too large counts as one beyond any size.
func digits(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 62)
	return int64(n), err == nil || errors.Is(err, strconv.ErrRange)
}
