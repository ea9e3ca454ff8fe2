// Package show formats the output of the freshet command: aligned tables, and quantities in readable units.
package show

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// Align is the alignment of the cells of a column.
type Align bool

// The two alignments: Left for words, Right for numbers.
const (
	Left  Align = false
	Right Align = true
)

// Column is one column of a table.
type Column struct {
	Title string
	Align Align
	// Width is the least width in characters, for a table whose rows are printed one by one.
	Width int
}

// Row writes one row of cells with two spaces between columns and no trailing spaces. A control character in a cell becomes a space.
func Row(w io.Writer, columns []Column, cells ...string) error {
	var b strings.Builder
	for i, c := range columns {
		var cell string
		if i < len(cells) {
			cell = strings.Map(oneLine, cells[i])
		}
		pad := strings.Repeat(" ", max(0, max(c.Width, utf8.RuneCountInString(c.Title))-utf8.RuneCountInString(cell)))
		if i > 0 {
			b.WriteString("  ")
		}
		if c.Align == Right {
			b.WriteString(pad + cell)
		} else {
			b.WriteString(cell + pad)
		}
	}
	_, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	return err
}

// Titles writes the row of column titles.
func Titles(w io.Writer, columns []Column) error {
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.Title
	}
	return Row(w, columns, titles...)
}

// Table writes the titles and all rows. Each column is as wide as its widest cell. A control character in a cell, such as a line
// end in the text of an error, becomes a space.
func Table(w io.Writer, columns []Column, rows [][]string) error {
	return TableWithNotes(w, columns, rows, nil)
}

// TableWithNotes is Table with a note for each row. A note that is not empty is on a line below its row, indented.
func TableWithNotes(w io.Writer, columns []Column, rows [][]string, notes []string) error {
	for _, row := range rows {
		for i, cell := range row {
			row[i] = strings.Map(oneLine, cell)
		}
	}
	wide := append([]Column(nil), columns...)
	for _, row := range rows {
		for i := range min(len(row), len(wide)) {
			wide[i].Width = max(wide[i].Width, utf8.RuneCountInString(row[i]))
		}
	}
	if err := Titles(w, wide); err != nil {
		return err
	}
	for i, row := range rows {
		if err := Row(w, wide, row...); err != nil {
			return err
		}
		if i >= len(notes) || notes[i] == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "  %s\n", strings.Map(oneLine, notes[i])); err != nil {
			return err
		}
	}
	return nil
}

// OneLine returns text with a space in place of each control character.
func OneLine(text string) string { return strings.Map(oneLine, text) }

func oneLine(r rune) rune {
	if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
		return ' '
	}
	return r
}

// Count returns n with a comma at every thousand.
func Count(n uint64) string {
	if n > 1<<62 {
		return fmt.Sprint(n)
	}
	return humanize.Comma(int64(n))
}

// Records returns a number of records as text: "1 record", "5,925 records".
func Records(n uint64) string {
	if n == 1 {
		return "1 record"
	}
	return Count(n) + " records"
}

// Bytes returns n in B, KiB, MiB and so on, rounded to two digits or to a whole number.
func Bytes(n int64) string {
	if n < 0 {
		return "-" + humanize.IBytes(uint64(-n))
	}
	return humanize.IBytes(uint64(n))
}

// Millis returns d in milliseconds with one digit after the point and no unit.
func Millis(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

// Seconds returns a number of seconds as a duration, rounded to the second.
func Seconds(n float64) string {
	return time.Duration(n * float64(time.Second)).Round(time.Second).String()
}

// Ago returns the time from t to now with at most two units: 59s, 4m0s, 26h5m, 3d2h, 400d. It returns "" if t is zero.
func Ago(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := max(0, now.Sub(t)).Round(time.Second)
	hours := int(d.Hours())
	switch {
	case d < time.Hour:
		return d.String()
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", hours, int(d.Minutes())%60)
	case d < 100*24*time.Hour:
		return fmt.Sprintf("%dd%dh", hours/24, hours%24)
	}
	return fmt.Sprintf("%dd", hours/24)
}
