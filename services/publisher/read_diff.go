package publisher

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"freshet.dev/pkg/history"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/services/internal/web"
)

// Diff is the answer to a diff with stat, and the last line of any other.
type Diff struct {
	// End is true in the last line of a stream: without it the stream was cut short.
	End     bool   `json:"end,omitempty"`
	Dataset string `json:"dataset"`
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
	// The counts are of the changes of this page.
	Added   uint64 `json:"added"`
	Changed uint64 `json:"changed"`
	Removed uint64 `json:"removed"`
	// ByDeltas says that the diff was read from deltas, and not from both versions.
	ByDeltas bool `json:"by_deltas"`
	// Next is the parameter cursor of the next page; absent on the last.
	Next string `json:"next,omitempty"`
}

// readDiff answers GET /v1/datasets/{name}/diff.
func (p *Publisher) readDiff(r *http.Request, name string) (answerFunc, error) {
	query, err := web.Query(r, "from", "to", "limit", "cursor", "stat")
	if err != nil {
		return nil, err
	}
	var versions [2]uint64
	for i, parameter := range []string{"from", "to"} {
		if versions[i], err = number(query, parameter, 0); err != nil {
			return nil, err
		}
	}
	limit, err := limitOf(query, 0)
	if err != nil {
		return nil, err
	}
	after, err := cursorOf(query, "from", "to")
	if err != nil {
		return nil, err
	}
	stat := query.Get("stat")
	switch {
	case versions[0] == 0:
		return nil, web.Refuse(http.StatusBadRequest, "bad-parameter", "the parameter from is missing; it is the version that the diff leads from, 1 or more")
	case stat != "" && stat != "true" && stat != "false":
		return nil, web.Refuse(http.StatusBadRequest, "bad-parameter", "stat is %.40q; want true or false", stat)
	case stat == "true" && (limit > 0 || after != nil):
		return nil, web.Refuse(http.StatusBadRequest, "bad-parameter", "stat counts all changes; leave limit and cursor out")
	}
	return func(ctx context.Context, w http.ResponseWriter) error {
		d, err := p.history.Diff(ctx, name, versions[0], versions[1])
		if err != nil {
			return err
		}
		answer := Diff{Dataset: name, From: d.From().Version, To: d.To().Version, ByDeltas: d.ByDeltas()}
		if stat == "true" {
			counts, err := d.Count(ctx)
			if err != nil {
				return err
			}
			answer.Added, answer.Changed, answer.Removed = counts.Added, counts.Changed, counts.Removed
			return writeAnswer(w, answer)
		}
		return p.streamDiff(ctx, w, d, answer, after, limit)
	}, nil
}

// streamDiff sends up to limit changes, all if limit is 0, and then the answer.
func (p *Publisher) streamDiff(ctx context.Context, w http.ResponseWriter, d *history.Diff, answer Diff, after []byte, limit int) error {
	s := newStream(w)
	var err error
	sent := 0
	var last []byte
	for c, failed := range d.Changes(ctx, after) {
		if err = failed; err != nil {
			break
		}
		if limit > 0 && sent == limit {
			answer.Next = cursor(last)
			break
		}
		switch c.Op {
		case snapshot.Added:
			answer.Added++
		case snapshot.Changed:
			answer.Changed++
		case snapshot.Removed:
			answer.Removed++
		}
		sent++
		last = append(last[:0], c.Key...)
		s.buf = append(appendChange(append(s.buf, '{'), c), "}\n"...)
		if err = s.advance(); err != nil {
			break
		}
	}
	if err == nil {
		answer.End = true
		var text []byte
		text, err = json.Marshal(answer)
		s.buf = append(append(s.buf, text...), '\n')
	}
	return s.end(p.readProblem(ctx, answer.Dataset, err), problemLine)
}

// appendChange appends the members of a change: op, key, and old and new or one of them; for two JSON objects also the names of the
// members that differ.
func appendChange(dst []byte, c snapshot.Change) []byte {
	dst = fmt.Appendf(dst, `"op":"%s",`, c.Op)
	dst = AppendKey(dst, c.Key)
	if c.Op != snapshot.Added {
		dst = AppendValue(append(dst, ','), "old", c.Old)
	}
	if c.Op != snapshot.Removed {
		dst = AppendValue(append(dst, ','), "new", c.New)
	}
	if c.Op != snapshot.Changed {
		return dst
	}
	differ := Members(c.Old, c.New)
	if len(differ) == 0 {
		return dst
	}
	dst = append(dst, `,"members":[`...)
	for _, m := range differ {
		dst = append(appendText(dst, []byte(m.Name)), ',')
	}
	dst[len(dst)-1] = ']'
	return dst
}
