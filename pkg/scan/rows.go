package scan

import (
	"github.com/google/cel-go/common/types"

	"freshet.dev/pkg/member"
)

// appendRow appends the row of a record, or counts the record as one with an error.
func (s *Scan) appendRow(key, value []byte) {
	at := len(s.buf)
	s.buf = appendKey(append(s.buf, '{'), key)
	s.buf = append(s.buf, ',')
	var failed *evalError
	switch {
	case s.plan.members != nil:
		failed = s.appendMembers(value)
	case s.plan.selects != nil:
		failed = s.appendSelects()
	default:
		s.buf = appendWhole(s.buf, value)
	}
	if failed != nil {
		s.buf = s.buf[:at]
		s.failed(key, failed)
		return
	}
	s.buf = append(s.buf, "}\n"...)
	s.summary.Rows++
}

// appendMembers appends the members of the value that a select lists.
func (s *Scan) appendMembers(value []byte) *evalError {
	s.members = s.plan.members.Read(value, s.members[:0])
	s.buf = append(s.buf, `"value":`...)
	at, first := len(s.buf), true
	for i, v := range s.members {
		if v.Kind() == member.Missing {
			continue
		}
		s.appendName(s.plan.members.Names()[i], &first)
		var err error
		if s.buf, err = appendRaw(s.buf, v.Raw()); err == nil {
			err = checkLength(len(s.buf) - at)
		}
		if err != nil {
			return &evalError{"select", err}
		}
	}
	s.endObject(first)
	return nil
}

// appendSelects appends the results of the expressions of a select.
func (s *Scan) appendSelects() *evalError {
	s.buf = append(s.buf, `"value":`...)
	at, first := len(s.buf), true
	for _, x := range s.plan.selects {
		v, costly, err := x.eval(s.record)
		s.spent(costly)
		if err != nil {
			return &evalError{x.member, err}
		}
		if o, ok := v.(*types.Optional); ok && !o.HasValue() {
			continue
		}
		s.appendName(x.name, &first)
		if s.buf, err = appendValue(s.buf, v, 0); err == nil {
			err = checkLength(len(s.buf) - at)
		}
		if err != nil {
			return &evalError{x.member, err}
		}
	}
	s.endObject(first)
	return nil
}

func (s *Scan) appendName(name string, first *bool) {
	if *first {
		s.buf = append(s.buf, '{')
	} else {
		s.buf = append(s.buf, ',')
	}
	*first = false
	s.buf = append(appendText(s.buf, name), ':')
}

func (s *Scan) endObject(empty bool) {
	if empty {
		s.buf = append(s.buf, '{')
	}
	s.buf = append(s.buf, '}')
}
