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

// wantsRange reports whether the Range header of req counts (RFC 9110, sections 13.1.5 and 14.2): only of a GET, and
// only if If-Range, where it is, names these very bytes.
func wantsRange(req *http.Request, etag string) bool {
	if req.Method != http.MethodGet || req.Header.Get("Range") == "" {
		return false
	}
	condition := req.Header.Get("If-Range")
	return condition == "" || condition == etag
}

// parseRange reads a Range header for an object of size bytes. More than one range, another unit, or what is no range
// is passed over, as RFC 9110, section 14.2, allows: the answer is the whole then.
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

// digits reads a number without a sign. One over 18 digits is as good as the largest.
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
