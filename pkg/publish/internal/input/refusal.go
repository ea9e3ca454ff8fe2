package input

import "fmt"

// Refusal says why an input is refused.
type Refusal struct {
	// Line is the line at fault, counted from 1; 0 if none alone is.
	Line int
	// Key is the record's key where it is known, shortened if it is too long for one.
	Key string
	// Problem says what is wrong, Hint what to do.
	Problem, Hint string
	// Err is the cause; it may be nil.
	Err error
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("line %d: key %q: %s; %s", r.Line, r.Key, r.Problem, r.Hint)
}

func (r *Refusal) Unwrap() error { return r.Err }

// tooLong refuses a text that goes on past any size a record can have.
func tooLong(line, most int, hint string) *Refusal {
	return &Refusal{
		Line:    line,
		Problem: fmt.Sprintf("the record that begins here has more than %d bytes", most),
		Hint:    hint,
	}
}
