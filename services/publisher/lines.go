package publisher

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"freshet.dev/services/internal/web"
)

// Key is a key in an answer: as text if it is UTF-8, else as base64.
type Key struct {
	Key       string `json:"key,omitempty"`
	KeyBase64 []byte `json:"key_base64,omitempty"`
}

func newKey(key []byte) Key {
	if utf8.Valid(key) {
		return Key{Key: string(key)}
	}
	return Key{KeyBase64: key}
}

// Bytes returns the bytes of the key.
func (k Key) Bytes() []byte {
	if k.KeyBase64 != nil {
		return k.KeyBase64
	}
	return []byte(k.Key)
}

// AppendKey appends the member that a [Key] has in JSON.
func AppendKey(dst, key []byte) []byte {
	if utf8.Valid(key) {
		return appendText(append(dst, `"key":`...), key)
	}
	return appendBase64(append(dst, `"key_base64":`...), key)
}

// AppendValue appends a member for the bytes of a value:
//
//	"name":VALUE           if the value is JSON without a line end: VALUE is the value, byte for byte
//	"name_text":"..."      if it is other text in UTF-8
//	"name_base64":"..."    if it is not UTF-8
func AppendValue(dst []byte, name string, value []byte) []byte {
	dst = append(append(dst, '"'), name...)
	switch {
	case bytes.IndexByte(value, '\n') < 0 && jsontext.Value(value).IsValid() && !padded(value):
		return append(append(dst, `":`...), value...)
	case utf8.Valid(value):
		return appendText(append(dst, `_text":`...), value)
	}
	return appendBase64(append(dst, `_base64":`...), value)
}

// padded reports whether blanks surround the value: a reader of JSON would lose them.
func padded(value []byte) bool { return len(bytes.TrimSpace(value)) != len(value) }

// appendText appends text in UTF-8 as a JSON string.
func appendText(dst, text []byte) []byte {
	dst, _ = jsontext.AppendQuote(dst, text) // fails only for text that is not UTF-8
	return dst
}

func appendBase64(dst, b []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

// streamBytes is how much a stream sends at a time, flushEvery how often it sends less.
const (
	streamBytes = 64 << 10
	flushEvery  = time.Second
)

// timeFormat is the format of times in answers.
const timeFormat = time.RFC3339Nano

// stream is an answer of lines.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	buf     []byte
	sent    bool
	flushed time.Time
}

// ndjsonType is the media type of a stream.
const ndjsonType = "application/x-ndjson"

// newStream returns a stream to w. Nothing is sent before streamBytes or flushEvery: until then a failure has a status.
func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", ndjsonType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	return &stream{w: w, control: http.NewResponseController(w), flushed: time.Now()}
}

// advance sends the lines in buf if they are many or have waited for long. Call it after each line.
func (s *stream) advance() error {
	if len(s.buf) < streamBytes && time.Since(s.flushed) < flushEvery {
		return nil
	}
	return s.send()
}

// send sends the lines in buf.
func (s *stream) send() error {
	s.flushed, s.sent = time.Now(), true
	_ = s.control.SetWriteDeadline(time.Now().Add(readStall)) // fails for a w that is no network connection, as in a test
	_, err := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	if err == nil {
		err = s.control.Flush()
	}
	return err
}

// end sends the rest. If err is not nil, and a part has been sent, end sends a last line that says why the answer is incomplete, in the
// form of last, and returns err, at which the Mux cuts the connection.
func (s *stream) end(err error, last func(problem *web.Problem) []byte) error {
	if err == nil {
		return s.send()
	}
	if problem, ok := err.(*web.Problem); ok && s.sent {
		s.buf = append(s.buf, last(problem)...)
		_ = s.send() // the client may have left
	}
	return err
}

// problemLine is the last line of an incomplete stream of JSON objects.
func problemLine(problem *web.Problem) []byte {
	text, err := json.Marshal(map[string]any{"problem": problem})
	if err != nil { // a member that has no JSON form
		text = []byte(`{"problem":{"detail":` + strconv.Quote(problem.Detail) + `}}`)
	}
	return append(text, '\n')
}

// writeAnswer sends v as the whole answer.
func writeAnswer(w http.ResponseWriter, v any) error {
	limitAnswer(w)
	return web.WriteJSON(w, http.StatusOK, v)
}

// limitAnswer bounds the time that a client may take to receive an answer that is no stream.
func limitAnswer(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerWait)) // as in stream.send
}
