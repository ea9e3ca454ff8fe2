package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
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

// ReadJSON reads the request's body, one JSON document of at most limit bytes without members that v does not have,
// into v. The error is a *Problem.
func ReadJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	// An error means that w is no network connection, as in a test. The deadline is lifted again, because it would end
	// the request that the server's own reading ahead waits beside.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, err = dec.Token(); err == io.EOF {
			return nil
		}
		if err == nil {
			err = errors.New("something follows the document")
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return Refuse(http.StatusRequestTimeout, "body-stalled", "the body did not come within %v", bodyTimeout)
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
