package fleet

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/oneline"
)

// Bounds of a remote get.
const (
	// MaxGetKeys bounds the keys of one request.
	MaxGetKeys = 64
	// MaxGetValueBytes bounds a value in an answer. Of a longer value the answer has the digest and the length.
	MaxGetValueBytes = 64 << 10

	// maxGetRequest bounds a request. One with MaxGetKeys keys of the greatest length has less.
	maxGetRequest = 128 << 10
	// maxGetRecord is more than the bytes of a record in an answer without its value.
	maxGetRecord = 160
	// maxGetHead is more than the bytes of an answer without its records.
	maxGetHead = 512
	// maxRun bounds the id of a run.
	maxRun = 64
)

// getRequest is a request for records. Keys are arbitrary bytes, so JSON has them in base64.
type getRequest struct {
	Dataset string   `json:"dataset"`
	Keys    [][]byte `json:"keys"`
}

// The kinds of answers without records.
const (
	getRefused = "refused"
	getFailed  = "failed"
)

// getResponse is the answer to a getRequest. Kind and Error are empty if the answer has records.
type getResponse struct {
	Kind    string            `json:"kind,omitempty"`
	Error   string            `json:"error,omitempty"`
	Version uint64            `json:"version"`
	ID      dataset.VersionID `json:"id,omitzero"`
	Records []Lookup          `json:"records,omitempty"`
}

// encodeGet returns the request for opts.
func encodeGet(opts GetOptions) ([]byte, error) {
	r := getRequest{Dataset: opts.Dataset, Keys: opts.Keys}
	if err := oneline.Join(dataset.CheckNamespace(opts.Namespace), r.check()); err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

// decodeGet returns the content of a request.
func decodeGet(data []byte) (getRequest, error) {
	var r getRequest
	if len(data) > maxGetRequest {
		return r, fmt.Errorf("the request has %d bytes, the most is %d", len(data), maxGetRequest)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("the request is not readable: %w", err)
	}
	return r, r.check()
}

func (r getRequest) check() error {
	if err := dataset.CheckName(r.Dataset); err != nil {
		return err
	}
	if n := len(r.Keys); n == 0 || n > MaxGetKeys {
		return fmt.Errorf("the request has %d keys; want 1 to %d", n, MaxGetKeys)
	}
	for _, key := range r.Keys {
		if err := dataset.CheckKey(key); err != nil {
			return err
		}
	}
	return nil
}

// encodeContent returns the answer with the content as JSON of at most limit bytes. It leaves out values above MaxGetValueBytes, and
// values for which there is no room after those before them.
func encodeContent(c Content, limit int) ([]byte, error) {
	r := getResponse{Version: c.Version, ID: c.ID, Records: make([]Lookup, len(c.Values))}
	room := limit - maxGetHead - len(c.Values)*maxGetRecord
	for i, value := range c.Values {
		if value == nil {
			continue
		}
		l := Lookup{Found: true, Digest: sha256.Sum256(value), Bytes: len(value)}
		if n := base64.StdEncoding.EncodedLen(len(value)); len(value) <= MaxGetValueBytes && n <= room {
			l.Value = value
			room -= n
		}
		r.Records[i] = l
	}
	data, err := json.Marshal(r)
	if err == nil && len(data) > limit {
		return nil, fmt.Errorf("the answer does not fit into %d bytes; ask for fewer keys", limit)
	}
	return data, err
}

// maxAnswer returns the most bytes of an answer for so many keys, where payload is the limit for a message; 0 if it is unknown.
func maxAnswer(keys int, payload int64) int {
	most := maxGetHead + keys*(maxGetRecord+base64.StdEncoding.EncodedLen(MaxGetValueBytes))
	return min(most, int(cmp.Or(max(payload, 0), usualPayload)))
}

// encodeFailure returns the answer with the error.
func encodeFailure(err error) []byte {
	r := getResponse{Kind: getFailed, Error: truncate(err.Error())}
	if errors.Is(err, ErrGetRefused) {
		r.Kind = getRefused
	}
	data, err := json.Marshal(r)
	if err != nil { // never: it has only texts
		return nil
	}
	return data
}

// getError is an error of an [Answer]. Its text is one line.
type getError struct {
	kind error
	text string
}

func (e *getError) Error() string { return e.text }

func (e *getError) Unwrap() error { return e.kind }

// failedGet returns an error of the kind, with why. The text does not repeat the kind if why begins with it.
func failedGet(kind error, why string) error {
	why = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, why)
	switch {
	case why == "":
		why = kind.Error()
	case !strings.HasPrefix(why, kind.Error()):
		why = kind.Error() + ": " + why
	}
	return &getError{kind, why}
}

// validRun reports whether run may be a part of a subject. It comes from the status of an instance.
func validRun(run string) bool {
	for _, c := range []byte(run) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return run != "" && len(run) <= maxRun
}
