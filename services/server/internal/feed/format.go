package feed

import (
	"encoding/json"
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/services/server/internal/jsonrecord"
)

// The names of events.
const (
	eventReset     = "reset"
	eventChange    = "change"
	eventVersion   = "version"
	eventDeleted   = "deleted"
	eventHeartbeat = "heartbeat"
	eventEnd       = "end"
)

// format is the form of a feed: server-sent events, or lines of JSON. Both have the same JSON objects.
type format struct {
	contentType string
	framed      bool // server-sent events
}

var (
	sse    = format{contentType: "text/event-stream", framed: true}
	ndjson = format{contentType: "application/x-ndjson"}
)

// appendStart appends what comes before the first event.
func (f format) appendStart(dst []byte, retry time.Duration) []byte {
	if f.framed {
		return fmt.Appendf(dst, "retry: %d\n\n", retry.Milliseconds())
	}
	return dst
}

// begin appends what comes before the JSON object of an event. id is the position after it; empty if it does not change.
func (f format) begin(dst []byte, event, id string) []byte {
	if !f.framed {
		return dst
	}
	if id != "" {
		dst = append(append(append(dst, "id: "...), id...), '\n')
	}
	return append(append(append(dst, "event: "...), event...), "\ndata: "...)
}

// end appends what comes after the JSON object.
func (f format) end(dst []byte) []byte {
	if f.framed {
		return append(dst, "\n\n"...)
	}
	return append(dst, '\n')
}

// appendEvent appends an event, whose members are those of v.
func (f format) appendEvent(dst []byte, event, id string, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the event %s: %w", event, err)
	}
	return f.end(append(f.begin(dst, event, id), text...)), nil
}

// appendHeartbeat appends what keeps an idle connection open: a comment, or an event in a line.
func (f format) appendHeartbeat(dst []byte) []byte {
	if f.framed {
		return append(dst, ": heartbeat\n\n"...)
	}
	return append(dst, `{"event":"heartbeat"}`+"\n"...)
}

// appendChange appends the event of a record. It is one line: line breaks between the tokens of a JSON value become blanks.
func (f format) appendChange(dst []byte, c subscribe.Change) []byte {
	dst = f.begin(dst, eventChange, "")
	dst = append(dst, `{"event":"change","op":"`...)
	dst = append(append(dst, c.Op.String()...), `",`...)
	dst = jsonrecord.AppendKey(dst, c.Key)
	if c.Op != subscribe.Removed {
		dst = append(dst, ',')
		at := len(dst)
		dst = jsonrecord.AppendValue(dst, c.New)
		for i, b := range dst[at:] {
			if b == '\n' || b == '\r' {
				dst[at+i] = ' '
			}
		}
	}
	return f.end(append(dst, '}'))
}

// version is the event of a version that is served.
type version struct {
	Event   string            `json:"event"`
	Dataset string            `json:"dataset"`
	Version uint64            `json:"version"`
	ID      dataset.VersionID `json:"id,omitzero"`
	// Position is what the reader gives to resume.
	Position string    `json:"position"`
	Records  int       `json:"records"`
	Created  time.Time `json:"created,omitzero"`
	// Full is false if deltas led from the version From to this one.
	Full bool         `json:"full"`
	From *dataset.Ref `json:"from,omitempty"` // nil for a reader without a version
	// Changes counts the events of records before this one; nil for a reader that wants none.
	Changes  *dataset.Changes  `json:"changes,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	By       string            `json:"by,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	Restores dataset.Ref       `json:"restores,omitzero"`
	Deleted  bool              `json:"deleted,omitempty"`
}

// reset is the event before all records of a version.
type reset struct {
	Event   string `json:"event"`
	Dataset string `json:"dataset"`
	// Why is a word for programs, and Reason says it to people. Since is the position that cannot be resumed from.
	Why    string `json:"why"`
	Reason string `json:"reason"`
	Since  string `json:"since,omitempty"`
	// Records is false if no records follow, because the reader wants none.
	Records bool `json:"records"`
}

// deleted is the event of a version that deletes the dataset.
type deleted struct {
	Event   string            `json:"event"`
	Dataset string            `json:"dataset"`
	Version uint64            `json:"version"`
	ID      dataset.VersionID `json:"id"`
	Created time.Time         `json:"created"`
	By      string            `json:"by,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	Dropped bool              `json:"dropped"`
	// Serves is the version whose table lookups still read; nil if there is none.
	Serves *dataset.Ref `json:"serves,omitempty"`
}

// end is the last event.
type end struct {
	Event  string `json:"event"`
	Reason string `json:"reason"`
}
