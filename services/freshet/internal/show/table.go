// Package show writes what the freshet command prints: aligned tables, and quantities in the units people read.
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

// Align says on which side of a column its cells stand.
type Align bool

// The two alignments: words stand left, numbers right.
const (
	Left  Align = false
	Right Align = true
)

// Column is one column of a table.
type Column struct {
	Title string
	Align Align
	// Width is the least width, in characters: a table whose rows are printed one by one cannot look ahead.
	Width int
}

// Row writes one row of cells, two spaces between columns, nothing after the last character.
func Row(w io.Writer, columns []Column, cells ...string) error {
	var b strings.Builder
	for i, c := range columns {
		var cell string
		if i < len(cells) {
			cell = cells[i]
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

// Table writes the titles and all rows, each column as wide as its widest cell. A line end or another control character in a cell,
// such as that of an error, becomes a blank.
func Table(w io.Writer, columns []Column, rows [][]string) error {
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
	for _, row := range rows {
		if err := Row(w, wide, row...); err != nil {
			return err
		}
	}
	return nil
}

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

// Seconds returns a number of seconds as a duration, to the second.
func Seconds(n float64) string {
	return time.Duration(n * float64(time.Second)).Round(time.Second).String()
}

// Ago returns how long before now t was, to the second.
func Ago(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return max(0, now.Sub(t)).Round(time.Second).String()
}
