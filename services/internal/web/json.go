package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
)

// WriteJSON sends v as the whole response, not to be cached.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the response: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that has left needs no answer
	return nil
}

// bodyTimeout is how long a body that ReadJSON reads may take to come.
const bodyTimeout = 30 * time.Second

// ReadJSON reads the request's body, one JSON document of at most limit bytes, into v. It is as strict as a publish: it refuses
// members that v does not have, or that stand there twice or in another case, and text that is not UTF-8 (RFC 7493). The error is
// a *Problem.
func ReadJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	return readJSON(w, r, limit, bodyTimeout, v)
}

func readJSON(w http.ResponseWriter, r *http.Request, limit int64, timeout time.Duration, v any) error {
	// An error means that w is no network connection, as in a test. The deadline is lifted again, because it would end
	// the request that the server's own reading ahead waits beside.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(timeout))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	err := jsonv2.UnmarshalRead(http.MaxBytesReader(w, r.Body, limit), v, jsonv2.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return Refuse(http.StatusRequestTimeout, "body-stalled", "the body did not come within %v", timeout)
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return Refuse(http.StatusRequestEntityTooLarge, "too-large", "the body is over %d bytes", limit)
	}
	if r.Context().Err() != nil {
		return err
	}
	return Refuse(http.StatusBadRequest, "bad-json", "the body is not the JSON document wanted: %v", err)
}
