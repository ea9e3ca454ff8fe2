// Package markdown prints tables of results in Markdown.
package markdown

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Table prints a table under a title. The first column is aligned to the left, the others to the right.
func Table(out io.Writer, title string, header []string, rows [][]string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n", title)
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(header)
	b.WriteString("|---" + strings.Repeat("|---:", len(header)-1) + "|\n")
	for _, row := range rows {
		line(row)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// Micro formats a duration as microseconds with three digits.
func Micro(d time.Duration) string { return Number(float64(d) / float64(time.Microsecond)) }

// Milli formats a duration as milliseconds with three digits.
func Milli(d time.Duration) string { return Number(float64(d) / float64(time.Millisecond)) }

// MB formats bytes as megabytes.
func MB(bytes int64) string { return Number(float64(bytes) / 1e6) }

// Number formats v with three digits, and without an exponent.
func Number(v float64) string {
	switch {
	case v >= 99.95 || v <= -99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995 || v <= -9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// Goal judges a measured value against a goal that it must not exceed.
func Goal(most, measured float64) string {
	return verdict(fmt.Sprintf("at most %.2g", most), measured, measured <= most)
}

// GoalAtLeast judges a measured value against a goal that it must reach.
func GoalAtLeast(least, measured float64) string {
	return verdict(fmt.Sprintf("at least %.3g", least), measured, measured >= least)
}

func verdict(goal string, measured float64, ok bool) string {
	word := "missed"
	if ok {
		word = "met"
	}
	return fmt.Sprintf("goal %s, measured %s: %s", goal, Number(measured), word)
}
