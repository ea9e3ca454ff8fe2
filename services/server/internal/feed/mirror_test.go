package feed_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"testing"

	"github.com/tmaxmax/go-sse"

	"freshet.dev/pkg/dataset"
)

// read returns the events of a response, with a stock parser for server-sent events.
func read(res *http.Response) iter.Seq2[event, error] {
	if res.Header.Get("Content-Type") == "text/event-stream" {
		return func(yield func(event, error) bool) {
			for frame, err := range sse.Read(res.Body, &sse.ReadConfig{MaxEventSize: 4 << 20}) {
				var e event
				if err == nil {
					err = json.Unmarshal([]byte(frame.Data), &e)
				}
				if err == nil && frame.Type != e.Event {
					err = fmt.Errorf("an event of the type %s with the data %s", frame.Type, frame.Data)
				}
				e.lastID = frame.LastEventID
				if !yield(e, err) || err != nil {
					return
				}
			}
			yield(event{}, errEnd)
		}
	}
	return func(yield func(event, error) bool) {
		lines := bufio.NewReader(res.Body)
		for {
			line, err := lines.ReadBytes('\n')
			if errors.Is(err, io.EOF) && len(line) == 0 {
				err = errEnd
			}
			var e event
			if err == nil {
				err = json.Unmarshal(line, &e)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// mirror has the records that the events of feeds lead to.
type mirror struct {
	t        testing.TB
	of       *world
	prefix   string
	records  records
	position string // what to resume from; empty before the first event
	version  uint64

	batch  []event
	resets int
}

// take applies an event, the version as a whole, and checks that the mirror has the records of the version then.
func (m *mirror) take(e event) {
	m.t.Helper()
	switch e.Event {
	case "reset":
		m.batch, m.position = []event{e}, "0"
		m.resets++
	case "change":
		m.batch = append(m.batch, e)
	case "version":
		m.apply(e)
	case "deleted", "heartbeat", "end":
	default:
		m.t.Errorf("an unknown event %+v", e)
	}
}

func (m *mirror) apply(v event) {
	m.t.Helper()
	var counted dataset.Changes
	if v.From != nil && m.position != fmt.Sprintf("%d@%s", v.From.Version, v.From.ID) && m.position != "" {
		m.t.Errorf("version %s has the changes since %+v, the reader is at %s", v.Position, v.From, m.position)
	}
	for _, e := range m.batch {
		key, value := keyOf(e), valueOf(e)
		_, known := m.records[key]
		switch {
		case e.Event == "reset":
			m.records = make(records)
			continue
		case e.Op == "added" && !known:
			counted.Added++
			m.records[key] = value
		case e.Op == "changed" && known && m.records[key] != value:
			counted.Changed++
			m.records[key] = value
		case e.Op == "removed" && known:
			counted.Removed++
			delete(m.records, key)
		default:
			m.t.Errorf("version %s: %s of %q to %q, which is %q", v.Position, e.Op, key, value, m.records[key])
		}
	}
	if v.Changes != nil && *v.Changes != counted {
		m.t.Errorf("version %s counts %+v, there were %+v", v.Position, *v.Changes, counted)
	}
	m.batch, m.position, m.version = nil, v.Position, v.Version
	want, ok := m.of.recordsOf(dataset.Ref{Version: v.Version, ID: v.ID})
	if want = withPrefix(want, m.prefix); !ok || !maps.Equal(want, m.records) {
		m.t.Errorf("the mirror has %d records at version %s, which has %d, or they differ", len(m.records), v.Position, len(want))
	}
}

func withPrefix(all records, prefix string) records {
	some := make(records)
	for key, value := range all {
		if len(key) >= len(prefix) && key[:len(prefix)] == prefix {
			some[key] = value
		}
	}
	return some
}

func keyOf(e event) string {
	if e.Key != nil {
		return *e.Key
	}
	return string(e.KeyBase64)
}

func valueOf(e event) string {
	if e.B64 != nil {
		return string(*e.B64)
	}
	return string(e.Value)
}
