package web

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
)

// ProblemType is the media type of a problem document.
const ProblemType = "application/problem+json"

// ErrorHeader is the header with the kind of a problem, for clients that do not read its document, and for HEAD.
const ErrorHeader = "Freshet-Error"

// Problem is a problem document (RFC 9457). A handler returns it as its error.
type Problem struct {
	Status int
	// Kind is the last part of the document's "type", by which programs distinguish problems.
	Kind string
	// Detail says what is wrong with the request and what to do.
	Detail string
	// Members are the document's further members; type, title, status and detail are not among them.
	Members map[string]any
	// RetryAfter, if positive, is sent as Retry-After, in seconds.
	RetryAfter int
	// Header is added to the response's header.
	Header http.Header
	// Cause is logged and not sent.
	Cause error
}

// Refuse returns a problem with a detail formatted as by [fmt.Sprintf].
func Refuse(status int, kind, format string, args ...any) *Problem {
	return &Problem{Status: status, Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// Unavailable returns a problem of status 503 that asks for a retry after 1 to 1.5 times the seconds. The jitter spreads the
// retries of clients that were refused at the same time.
func Unavailable(kind string, seconds int, cause error, format string, args ...any) *Problem {
	p := Refuse(http.StatusServiceUnavailable, kind, format, args...)
	p.Cause = cause
	p.RetryAfter = seconds + rand.IntN(seconds/2+1)
	return p
}

// With adds a member to the document and returns p.
func (p *Problem) With(member string, value any) *Problem {
	if p.Members == nil {
		p.Members = make(map[string]any)
	}
	p.Members[member] = value
	return p
}

func (p *Problem) Error() string {
	text := fmt.Sprintf("%d %s: %s", p.Status, p.Kind, p.Detail)
	if p.Cause != nil {
		text += ": " + p.Cause.Error()
	}
	return text
}

func (p *Problem) Unwrap() error { return p.Cause }

// MarshalJSON returns the document.
func (p *Problem) MarshalJSON() ([]byte, error) {
	doc := make(map[string]any, len(p.Members)+4)
	for k, v := range p.Members {
		doc[k] = v
	}
	doc["type"] = "https://freshet.dev/problems/" + p.Kind
	doc["title"] = http.StatusText(p.Status)
	doc["status"] = p.Status
	doc["detail"] = p.Detail
	return json.Marshal(doc)
}

// send writes the document as the whole response. It removes the headers that the handler set for its own response.
func (p *Problem) send(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil { // a member that has no JSON form: send the rest
		body, _ = json.Marshal(&Problem{Status: p.Status, Kind: p.Kind, Detail: p.Detail})
	}
	h := w.Header()
	for _, stale := range []string{"Etag", "Last-Modified", "Content-Range", "Accept-Ranges", "Content-Encoding", "Location"} {
		h.Del(stale)
	}
	for k, v := range p.Header {
		h[k] = v
	}
	h.Set(ErrorHeader, p.Kind)
	h.Set("Content-Type", ProblemType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	w.WriteHeader(p.Status)
	// A write fails if the client has disconnected.
	_, _ = w.Write(body)
}
