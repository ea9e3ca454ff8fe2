package parquet

import (
	"fmt"
	"strings"
)

// Refusal says why a file is refused.
type Refusal struct {
	// Row is the row at fault, counted from 1; 0 if none alone is.
	Row int
	// Problem says what is wrong, Hint what to do.
	Problem, Hint string
	// Memory is how many bytes of memory the file needs, if it is refused because that is too many; else 0.
	Memory int64
}

func (r *Refusal) Error() string { return fmt.Sprintf("row %d: %s; %s", r.Row, r.Problem, r.Hint) }

const (
	damagedHint = "write the file again, or send it again if the transfer was stopped"
	typeHint    = "leave the column out, or convert it to a string or a number"
)

// damaged refuses a file whose bytes are not Parquet.
func damaged(format string, args ...any) *Refusal {
	return &Refusal{Problem: "the Parquet file is damaged: " + fmt.Sprintf(format, args...), Hint: damagedHint}
}

// inColumn refuses the column with the path.
func inColumn(path []string, format string, args ...any) *Refusal {
	return &Refusal{Problem: fmt.Sprintf("column %.200q %s", strings.Join(path, "."), fmt.Sprintf(format, args...)), Hint: typeHint}
}
