package publish

import (
	"fmt"
	"io"
	"text/tabwriter"

	"freshet.dev/scripts/benchmarks/internal/rows"
)

// result holds all measurements.
type result struct {
	count               int
	first, second, load cost
}

// budgetBytes bounds the bytes a record that a table uses in addition to the payload.
const budgetBytes = 30

// print writes the table.
func (r result) print(out io.Writer) error {
	const mib = 1 << 20
	fmt.Fprintf(out, "%d rows, %.2f GB of NDJSON; the second version changes %.1f %% of them\n",
		r.count, float64(r.count)*(rows.ValueBytes+1)/1e9, 100.0/updateEvery)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tseconds\tpeak MiB\tobject MB\trecords changed\t")
	for _, row := range []struct {
		name string
		c    cost
	}{{"publish the first version", r.first}, {"publish the second", r.second}} {
		fmt.Fprintf(w, "%s\t%.1f\t%d\t%.0f\t%d\t\n", row.name, float64(row.c.Nanoseconds)/1e9, row.c.Peak/mib, float64(row.c.Bytes)/1e6, row.c.Changed)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	l := r.load
	allowed := float64(l.Payload + budgetBytes*l.Records)
	fmt.Fprintln(w, "\tseconds\tresident MiB\tpayload and B/record\tpeak MiB\tpeak of payload+30\t")
	fmt.Fprintf(w, "load the table\t%.2f\t%d\t%.1f\t%d\t%.2f\t\n", float64(l.Nanoseconds)/1e9, (l.Resident-l.Before)/mib,
		float64(l.Resident-l.Before-l.Payload)/float64(l.Records), (l.Peak-l.Before)/mib, float64(l.Peak-l.Before)/allowed)
	return w.Flush()
}
