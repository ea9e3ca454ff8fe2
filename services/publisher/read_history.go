package publisher

import (
	"context"
	"encoding/json"
	"net/http"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/history"
	"freshet.dev/services/internal/web"
)

// Event is a line of a history: a version that added, changed or removed the record.
type Event struct {
	Version uint64            `json:"version"`
	ID      dataset.VersionID `json:"id,omitzero"`
	Created string            `json:"created"`
	Source  string            `json:"source,omitempty"`
	By      string            `json:"by,omitempty"`
	Reason  string            `json:"reason,omitempty"`
}

// History is the last line of a history.
type History struct {
	// End is true: without this line the stream was cut short.
	End     bool   `json:"end"`
	Dataset string `json:"dataset"`
	Key
	// Newest and Oldest are the versions that were read; Newest is 0 if there are none.
	Newest uint64 `json:"newest"`
	Oldest uint64 `json:"oldest"`
	// NextBefore is the parameter before of the next page; absent on the last.
	NextBefore uint64 `json:"next_before,omitempty"`
}

// historyVersions is the default of the parameter limit of a history.
const historyVersions = 100

// readHistory answers GET /v1/datasets/{name}/history/{key}.
func (p *Publisher) readHistory(r *http.Request, name string) (answerFunc, error) {
	query, err := web.Query(r, "limit", "before")
	if err != nil {
		return nil, err
	}
	limit, err := limitOf(query, historyVersions)
	if err != nil {
		return nil, err
	}
	before, err := number(query, "before", 0)
	if err != nil {
		return nil, err
	}
	key := []byte(r.PathValue("key"))
	if err := dataset.CheckKey(key); err != nil {
		return nil, web.Refuse(http.StatusBadRequest, "bad-key", "%v", err).With("dataset", name)
	}
	return func(ctx context.Context, w http.ResponseWriter) error {
		t, err := p.history.History(ctx, name, key, before, limit)
		if err != nil {
			return err
		}
		s := newStream(w)
		for e, failed := range t.Events(ctx) {
			if err = failed; err == nil {
				s.buf, err = appendEvent(s.buf, e)
			}
			if err == nil {
				err = s.advance()
			}
			if err != nil {
				break
			}
		}
		if err == nil {
			var text []byte
			text, err = json.Marshal(History{End: true, Dataset: name, Key: newKey(key), Newest: t.Newest(), Oldest: t.Oldest(), NextBefore: t.Next()})
			s.buf = append(append(s.buf, text...), '\n')
		}
		return s.end(p.readProblem(ctx, name, err), problemLine)
	}, nil
}

// appendEvent appends the line of an event: an Event and the members of the change.
func appendEvent(dst []byte, e history.Event) ([]byte, error) {
	rec := e.Version
	text, err := json.Marshal(Event{
		Version: rec.Version, ID: rec.VersionID(), Created: rec.Created.UTC().Format(timeFormat), Source: rec.Source, By: rec.By, Reason: rec.Reason,
	})
	if err != nil {
		return dst, err
	}
	dst = append(append(dst, text[:len(text)-1]...), ',')
	return append(appendChange(dst, e.Change), "}\n"...), nil
}
