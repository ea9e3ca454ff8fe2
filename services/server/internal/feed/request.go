package feed

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/internal/web"
)

// request is what a reader wants.
type request struct {
	format  format
	records bool
	prefix  string // of the keys of records
	// resumes is true if the reader gave a position. from is that position, zero for a reader that has nothing; unreadable is why it cannot
	// be read, nil if it can.
	resumes    bool
	from       dataset.Ref
	unreadable error
}

// parse reads a request. The error is a *web.Problem. An unreadable Last-Event-ID is no error: an EventSource would send it again and again.
func parse(r *http.Request) (q request, err error) {
	values, err := web.Query(r, "from", "records", "prefix", "format")
	if err != nil {
		return request{}, err
	}
	bad := func(name, want string) error {
		return web.Refuse(http.StatusBadRequest, "bad-parameter", "the parameter %s is %.80q; want %s", name, values.Get(name), want)
	}
	switch values.Get("records") {
	case "", "false":
	case "true":
		q.records = true
	default:
		return request{}, bad("records", "true or false")
	}
	switch values.Get("format") {
	case "":
		q.format = accepted(r.Header.Values("Accept"))
	case "sse":
		q.format = sse
	case "ndjson":
		q.format = ndjson
	default:
		return request{}, bad("format", "sse or ndjson")
	}
	if q.prefix = values.Get("prefix"); q.prefix != "" && !q.records {
		return request{}, bad("prefix", "records=true with it: a feed without records has no keys")
	}
	if len(q.prefix) > dataset.MaxKeyBytes {
		return request{}, bad("prefix", "at most "+strconv.Itoa(dataset.MaxKeyBytes)+" bytes, as no key has more")
	}
	if text := values.Get("from"); text != "" {
		q.resumes = true
		if q.from, err = parsePosition(text); err != nil {
			return request{}, web.Refuse(http.StatusBadRequest, "bad-parameter", "the parameter from: %v", err)
		}
	}
	last, err := web.OneHeader(r, "Last-Event-ID")
	if err != nil {
		return request{}, err
	}
	if last != "" {
		q.resumes = true
		q.from, q.unreadable = parsePosition(last)
	}
	return q, nil
}

// accepted returns the format for the Accept headers of a request: lines of JSON, unless the client prefers server-sent events.
func accepted(headers []string) format {
	best, quality := ndjson, 0.0
	for _, part := range strings.Split(strings.Join(headers, ","), ",") {
		media, parameters, err := mime.ParseMediaType(part)
		if err != nil || media != sse.contentType && media != ndjson.contentType {
			continue
		}
		q := 1.0
		if text, ok := parameters["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		if q > quality {
			quality = q
			if best = ndjson; media == sse.contentType {
				best = sse
			}
		}
	}
	return best
}
