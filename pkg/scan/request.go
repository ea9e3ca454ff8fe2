package scan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
)

// Request says what to read. Without Select, GroupBy and Aggregate, the rows are the records.
type Request struct {
	// Filter is an expression of a bool; only records for which it is true count. Empty means all.
	Filter string `json:"filter,omitempty"`
	// Prefix is what the keys of the records begin with.
	Prefix string `json:"prefix,omitempty"`
	// Select gives the values of the rows; see [Select].
	Select Select `json:"select,omitzero"`
	// GroupBy has the expressions by whose values the records are grouped, by the names that they have in the rows.
	GroupBy map[string]string `json:"group_by,omitempty"`
	// Aggregate has the aggregates of the groups, or of all records without GroupBy, by the names that they have in the rows: count(),
	// sum(EXPR), min(EXPR), max(EXPR), avg(EXPR) and count_distinct(EXPR).
	Aggregate map[string]string `json:"aggregate,omitempty"`
	// Order sorts groups by members of their rows; a minus before the name means descending. Groups that are equal in them, and all
	// groups without Order, are in the order of the GroupBy members, by name.
	Order []string `json:"order,omitempty"`
	// Limit is the most rows; 0 means all. A scan of rows that ends because of it has a cursor.
	Limit int `json:"limit,omitempty"`
	// Cursor is where a scan of rows begins: where an earlier one with this cursor in its [Summary] ended.
	Cursor string `json:"cursor,omitempty"`
}

// Select is either a list of members, which rows have as they are in the values, or expressions by the names that they have in the rows.
// A list leaves out what a value lacks. Its JSON is an array of strings, or an object.
type Select struct {
	// Members are paths of package member.
	Members []string
	Named   map[string]string
}

// IsZero reports whether s selects nothing.
func (s Select) IsZero() bool { return len(s.Members) == 0 && len(s.Named) == 0 }

// MarshalJSON implements [json.Marshaler].
func (s Select) MarshalJSON() ([]byte, error) {
	if len(s.Named) > 0 {
		return json.Marshal(s.Named)
	}
	return json.Marshal(s.Members)
}

var errSelect = errors.New(`want a list of members, or an object of expressions such as {"name":"value.name"}`)

// UnmarshalJSON implements [json.Unmarshaler].
func (s *Select) UnmarshalJSON(text []byte) error {
	var err error
	switch text = bytes.TrimSpace(text); {
	case bytes.HasPrefix(text, []byte("[")):
		err = jsonv2.Unmarshal(text, &s.Members)
	case bytes.HasPrefix(text, []byte("{")):
		err = jsonv2.Unmarshal(text, &s.Named)
	default:
		err = errSelect
	}
	if err != nil {
		return errSelect
	}
	return nil
}

// The bounds of a request.
const (
	// MaxExpression is the most characters of an expression.
	MaxExpression = 4096
	// MaxText is the most bytes of all expressions, names and members of a request together: it bounds the time of [Compile].
	MaxText = 8 << 10
	// MaxExpressions is the most expressions, members and order members of a request together.
	MaxExpressions = 64
)

// textLength returns the bytes of the expressions, names and members of r.
func (r Request) textLength() int {
	n := len(r.Filter)
	for _, text := range slices.Concat(r.Select.Members, r.Order) {
		n += len(text)
	}
	for _, named := range []map[string]string{r.Select.Named, r.GroupBy, r.Aggregate} {
		for name, text := range named {
			n += len(name) + len(text)
		}
	}
	return n
}

// Limits are what one scan may take.
type Limits struct {
	// Memory is the most bytes of groups and their aggregates. Zero means 16 MiB.
	Memory int64
	// Time is how long a scan may take, with its waits for the lane and for the reader of its rows. Zero means a minute. The rows of groups
	// have as much time again.
	Time time.Duration
}

func (l Limits) withDefaults() Limits {
	if l.Memory <= 0 {
		l.Memory = 16 << 20
	}
	if l.Time <= 0 {
		l.Time = time.Minute
	}
	return l
}

// WholeRequest is the Member of a [RequestError] about no single member.
const WholeRequest = "the request"

// RequestError says what is wrong with a request.
type RequestError struct {
	// Member is the member of the request, such as filter or aggregate.total.
	Member string
	// Line and Column are where in the expression, from 1; 0 if that is not known.
	Line, Column int
	Reason       string
}

func (e *RequestError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.Member, e.Reason)
	}
	return fmt.Sprintf("%s, line %d, column %d: %s", e.Member, e.Line, e.Column, e.Reason)
}

func refuse(member, format string, args ...any) error {
	return &RequestError{Member: member, Reason: fmt.Sprintf(format, args...)}
}

// LimitError is why a scan that aggregates ended without a result.
type LimitError struct {
	// Limit is the name of the limit: memory or time.
	Limit  string
	Reason string
}

func (e *LimitError) Error() string { return e.Reason }
