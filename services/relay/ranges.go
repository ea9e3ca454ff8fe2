package relay

import (
	"net/http"
	"strconv"
	"strings"
)

// span is the bytes from .. to-1.
type span struct{ from, to int64 }

type outcome int

const (
	noRange       outcome = iota // send the whole
	satisfiable                  // send the span
	unsatisfiable                // send 416
)

// wantsRange reports whether the Range header of req applies (RFC 9110, sections 13.1.5 and 14.2): only to a GET, and
// only if there is no If-Range or it names the object's ETag.
func wantsRange(req *http.Request, etag string) bool {
	if req.Method != http.MethodGet || req.Header.Get("Range") == "" {
		return false
	}
	condition := req.Header.Get("If-Range")
	return condition == "" || condition == etag
}

// parseRange parses a Range header for an object of size bytes. It ignores more than one range, another unit, and an invalid
// range, as RFC 9110, section 14.2, allows: the answer is the whole object then.
func parseRange(header string, size int64) (span, outcome) {
	ranges, ok := strings.CutPrefix(header, "bytes=")
	if !ok || strings.Contains(ranges, ",") {
		return span{}, noRange
	}
	first, last, ok := strings.Cut(strings.TrimSpace(ranges), "-")
	if !ok {
		return span{}, noRange
	}
	if first == "" { // the last n bytes
		n, ok := digits(last)
		switch {
		case !ok:
			return span{}, noRange
		case n == 0:
			return span{}, unsatisfiable
		}
		return span{max(0, size-n), size}, satisfiable
	}
	from, ok := digits(first)
	if !ok {
		return span{}, noRange
	}
	to := size
	if last != "" {
		n, ok := digits(last)
		if !ok || n < from {
			return span{}, noRange
		}
		to = min(size, n+1)
	}
	if from >= size {
		return span{}, unsatisfiable
	}
	return span{from, to}, satisfiable
}

// digits parses a number without a sign. More than 18 digits count as a number beyond any size.
func digits(s string) (int64, bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	if len(s) > 18 {
		return 1 << 60, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
