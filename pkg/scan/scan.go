package scan

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/cel-go/common/types"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/member"
	"freshet.dev/pkg/table"
)

// Why a scan of rows ended before the last record.
const (
	StoppedByLimit = "limit" // Request.Limit
	StoppedByTime  = "time"  // Limits.Time
	StoppedByLane  = "busy"  // the lane was full after a part of the rows
)

// Summary is what a scan has read. Its JSON is the last line of the answer of a server.
type Summary struct {
	// End is true: it tells the last line from a row.
	End     bool              `json:"end"`
	Version uint64            `json:"version"`
	ID      dataset.VersionID `json:"id,omitzero"`
	// Scanned is the number of records that the scan has read, Matched of those for which the filter is true, Rows of rows.
	Scanned int64 `json:"scanned"`
	Matched int64 `json:"matched"`
	Rows    int64 `json:"rows"`
	// Errors is the number of records for which an expression ended in an error; FirstError is the first of them.
	Errors     int64        `json:"errors"`
	FirstError *RecordError `json:"first_error,omitempty"`
	// Stopped says why the scan ended before the last record, and Cursor is where another one goes on; both are empty if it did not.
	Stopped string `json:"stopped,omitempty"`
	Cursor  string `json:"cursor,omitempty"`
	// Before is the version of the scan that Request.Cursor is of, if it was another version.
	Before uint64 `json:"before,omitempty"`
}

// RecordError is an error of an expression for a record.
type RecordError struct {
	// Key is the key of the record, KeyBase64 if that is no UTF-8.
	Key       string `json:"key,omitempty"`
	KeyBase64 string `json:"key_base64,omitempty"`
	// Member is the member of the request with the expression.
	Member string `json:"member"`
	Reason string `json:"reason"`
}

// batchBytes is about how much of rows [Scan.Run] passes to emit at a time, and batchTime how long it computes before it passes less.
const (
	batchBytes = 64 << 10
	batchTime  = 250 * time.Millisecond
)

// Scan is one scan of a table. One goroutine may use it.
type Scan struct {
	plan    *Plan
	table   *table.Table
	cursor  *table.Cursor
	record  *record
	groups  *groups // nil for rows of records
	summary Summary

	last     []byte // the key of the last record that was read; aliases the table
	done     bool
	deadline time.Time
	work     int // since the last yield
	buf      []byte
	members  []member.Value
}

// Open returns a scan of the table, whose version has the id. The error is an [ErrCursor] if the plan has a cursor of another dataset.
func (p *Plan) Open(t *table.Table, id dataset.VersionID) (*Scan, error) {
	s := &Scan{plan: p, table: t, record: newRecord(), summary: Summary{End: true, Version: t.Version(), ID: id}}
	if at := p.position; at != nil {
		if at.seed != seedMark(t) {
			return nil, ErrCursor
		}
		s.last = at.key
		if at.version != t.Version() {
			s.summary.Before = at.version
		}
	}
	s.cursor = t.After(s.last)
	if p.Groups() {
		s.groups = newGroups(p)
	}
	return s, nil
}

// Run scans. It computes in the lane and calls emit with one or more whole rows, each a line of JSON, outside of it; emit must not keep
// the slice. Call Run once.
//
// The error is that of emit, the cause of ctx, a [*lane.ShedError] if the lane refused the scan before it had read a record, or a
// [*LimitError]. The last two come before the first row, but for a reader that takes longer than Limits.Time for the rows of groups.
func (s *Scan) Run(ctx context.Context, l *lane.Lane, emit func(rows []byte) error) (Summary, error) {
	s.deadline = time.Now().Add(s.plan.limits.Time)
	fill := func() error { return l.Do(ctx, s.fillRows) }
	if s.groups != nil {
		rows, err := s.group(ctx, l)
		if err != nil {
			return s.summary, err
		}
		s.table, s.cursor, s.record, s.groups, s.last = nil, nil, nil, nil, nil // the rows have copies
		s.deadline = time.Now().Add(s.plan.limits.Time)
		fill = func() error { return s.fillGroups(ctx, &rows) }
	}
	for !s.done {
		s.buf = s.buf[:0]
		err := fill()
		if errors.Is(err, lane.ErrShed) && s.summary.Scanned > 0 {
			s.stop(StoppedByLane)
			err = nil
		}
		if err == nil && len(s.buf) > 0 {
			err = emit(s.buf)
		}
		if err != nil {
			return s.summary, err
		}
	}
	return s.summary, nil
}

// stop ends a scan of rows after the last record that was read.
func (s *Scan) stop(why string) {
	s.done = true
	s.summary.Stopped = why
	s.summary.Cursor = position{s.table.Version(), seedMark(s.table), s.last}.String()
}

// next reads the next record and reports whether it matches. ok is false after the last.
func (s *Scan) next(ctx context.Context) (key, value []byte, matches, ok bool, err error) {
	if s.work >= yieldWork {
		s.work = 0
		lane.Yield(ctx)
		if err := context.Cause(ctx); err != nil {
			return nil, nil, false, false, err
		}
	}
	key, value, ok = s.cursor.Next()
	if !ok {
		return nil, nil, false, false, nil
	}
	s.last = key
	s.summary.Scanned++
	s.work += 1 + len(value)>>10
	if !bytes.HasPrefix(key, s.plan.prefix) {
		return key, value, false, true, nil
	}
	s.record.set(key, value)
	if s.plan.filter != nil {
		v, costly, err := s.plan.filter.eval(s.record)
		s.spent(costly)
		if err == nil && v != types.True && v != types.False {
			err = fmt.Errorf("the expression gives a %s; want a bool", v.Type().TypeName())
		}
		if err != nil {
			s.failed(key, &evalError{s.plan.filter.member, err})
			return key, value, false, true, nil
		}
		if v == types.False {
			return key, value, false, true, nil
		}
	}
	s.summary.Matched++
	return key, value, true, true, nil
}

// yieldWork is how many records are read between two yields, fewer if they are long.
const yieldWork = 32

func (s *Scan) spent(costly bool) {
	if costly {
		s.work += yieldWork
	}
}

// failed counts a record for which an expression ended in an error.
func (s *Scan) failed(key []byte, e *evalError) {
	s.summary.Errors++
	if s.summary.FirstError != nil {
		return
	}
	const longest = 300
	first := &RecordError{Member: e.member, Reason: oneLine(e.err)}
	if len(first.Reason) > longest {
		first.Reason = string(bytes.ToValidUTF8([]byte(first.Reason[:longest]), nil)) + "..."
	}
	if utf8.Valid(key) {
		first.Key = string(key)
	} else {
		first.KeyBase64 = base64.StdEncoding.EncodeToString(key)
	}
	s.summary.FirstError = first
}

// fillRows fills the buffer with rows of records.
func (s *Scan) fillRows(ctx context.Context) error {
	s.work = 0
	began := time.Now()
	for len(s.buf) < batchBytes {
		key, value, matches, ok, err := s.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			s.done = true
			return nil
		}
		if matches {
			s.appendRow(key, value)
			if s.plan.limit > 0 && s.summary.Rows == int64(s.plan.limit) {
				s.stop(StoppedByLimit)
				return nil
			}
		}
		if s.work < yieldWork {
			continue
		}
		switch now := time.Now(); {
		case now.After(s.deadline):
			s.stop(StoppedByTime)
			return nil
		case now.Sub(began) > batchTime:
			return nil
		}
	}
	if time.Now().After(s.deadline) {
		s.stop(StoppedByTime)
	}
	return nil
}

// group reads all records into groups and returns their rows.
func (s *Scan) group(ctx context.Context, l *lane.Lane) (rows []row, err error) {
	err = l.Do(ctx, func(ctx context.Context) error {
		for {
			key, _, matches, ok, err := s.next(ctx)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if matches {
				costly, failed, err := s.groups.add(s.record)
				s.spent(costly)
				if failed != nil {
					s.failed(key, failed)
				}
				if err != nil {
					return err
				}
			}
			if s.work >= yieldWork && time.Now().After(s.deadline) {
				return &LimitError{"time", fmt.Sprintf("the groups of %d records were not complete after %s; use a filter that costs less, or a prefix", s.summary.Scanned, s.plan.limits.Time)}
			}
		}
		var err error
		rows, err = s.groups.rows(ctx)
		return err
	})
	return rows, err
}

// fillGroups fills the buffer with the next rows of groups, which are JSON already.
func (s *Scan) fillGroups(ctx context.Context, rows *[]row) error {
	if s.summary.Rows > 0 && time.Now().After(s.deadline) {
		return &LimitError{"time", fmt.Sprintf("the reader received %d rows of groups in %s and not all of them; use a limit, or read faster", s.summary.Rows, s.plan.limits.Time)}
	}
	names := s.plan.columns()
	for len(s.buf) < batchBytes && len(*rows) > 0 {
		s.buf = append(s.buf, '{')
		for i, text := range (*rows)[0] {
			if i > 0 {
				s.buf = append(s.buf, ',')
			}
			s.buf = append(append(appendText(s.buf, names[i]), ':'), text...)
		}
		s.buf = append(s.buf, "}\n"...)
		*rows = (*rows)[1:]
		s.summary.Rows++
	}
	s.done = len(*rows) == 0
	return context.Cause(ctx)
}
