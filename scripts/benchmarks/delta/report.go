package delta

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
)

// errMissed is wrapped by the error for a missed bound.
var errMissed = errors.New("bounds of the design are missed")

// report prints tables and records the missed bounds.
type report struct {
	out    io.Writer
	missed []string
}

// table prints a table under a title. fill writes the table with tabs between cells and at the end of lines.
func (r *report) table(title string, fill func(line func(cells ...any))) error {
	fmt.Fprintf(r.out, "\n%s\n", title)
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fill(func(cells ...any) {
		for _, c := range cells {
			fmt.Fprintf(w, "%v\t", c)
		}
		fmt.Fprintln(w)
	})
	return w.Flush()
}

// most returns the cell for got with the upper bound. what is the bound's name.
func (r *report) most(what string, got, bound float64) string {
	return r.verdict(what, got <= bound, got, "at most", bound)
}

// least is most for a lower bound.
func (r *report) least(what string, got, bound float64) string {
	return r.verdict(what, got >= bound, got, "at least", bound)
}

func (r *report) verdict(what string, ok bool, got float64, word string, bound float64) string {
	if ok {
		return fmt.Sprintf("%s %.4g: ok", word, bound)
	}
	r.missed = append(r.missed, fmt.Sprintf("%s: %.4g, %s %.4g", what, got, word, bound))
	return fmt.Sprintf("%s %.4g: MISSED", word, bound)
}

// err returns an error that names the missed bounds.
func (r *report) err() error {
	if len(r.missed) == 0 {
		return nil
	}
	fmt.Fprintln(r.out)
	for _, m := range r.missed {
		fmt.Fprintln(r.out, "MISSED", m)
	}
	return fmt.Errorf("%d %w", len(r.missed), errMissed)
}

// ms formats nanoseconds as milliseconds.
func ms(ns int64) string { return fmt.Sprintf("%.3g", float64(ns)/1e6) }

// percent formats part as a percentage of whole.
func percent(part, whole int64) float64 { return 100 * float64(part) / float64(whole) }
