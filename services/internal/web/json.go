package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// WriteJSON sends v as the whole response, which caches must not store.
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
	_, _ = w.Write(append(body, '\n')) // fails if the client has disconnected
	return nil
}

// bodyTimeout is how long a body that ReadJSON reads may take to arrive.
const bodyTimeout = 30 * time.Second

// ReadJSON reads the request's body, one JSON document of at most limit bytes, into v. It is as strict as a publish (RFC 7493): it
// refuses members that v does not have, duplicate members, members in another case, and text that is not UTF-8. The error is a
// *Problem.
func ReadJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	return readJSON(w, r, limit, bodyTimeout, v)
}

func readJSON(w http.ResponseWriter, r *http.Request, limit int64, timeout time.Duration, v any) error {
	// An error means that w is no network connection, as in a test. The deadline is removed at the end: net/http reads ahead while
	// the handler runs, and would cancel the request at the deadline.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(timeout))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	err := jsonv2.UnmarshalRead(http.MaxBytesReader(w, r.Body, limit), v, jsonv2.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return Refuse(http.StatusRequestTimeout, "body-stalled", "the body did not arrive within %v", timeout)
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return Refuse(http.StatusRequestEntityTooLarge, "too-large", "the body is over %d bytes", limit)
	}
	if r.Context().Err() != nil {
		return err
	}
	return Refuse(http.StatusBadRequest, "bad-json", "the body is not the expected JSON document: %s", jsonFault(err))
}

// jsonFault returns the text of an error of jsonv2. Its own text names types of Go.
func jsonFault(err error) string {
	fault, ok := errors.AsType[*jsonv2.SemanticError](err)
	if !ok {
		return err.Error()
	}
	what := "the document"
	if fault.JSONPointer != "" {
		what = fmt.Sprintf("the member %.80q", string(fault.JSONPointer))
	}
	if errors.Is(err, jsonv2.ErrUnknownName) {
		return what + " is unknown"
	}
	kind := map[jsontext.Kind]string{
		'n': "null", 'f': "a boolean", 't': "a boolean", '"': "a string", '0': "a number", '{': "an object", '[': "an array",
	}[fault.JSONKind]
	return fmt.Sprintf("%s is %s, which is of the wrong type", what, cmp.Or(kind, "a value"))
}
