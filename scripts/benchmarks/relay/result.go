package relay

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// result is all that was measured with one object.
type result struct {
	object object
	budget int64
	rounds int
	rows   []row
}

// The relay may take its budget, overhead, and sendBytes for each response.
const (
	overhead  = 64 << 20
	sendBytes = 256 << 10 // the default of FRESHET_RELAY_SEND_BYTES
)

// print writes the tables.
func (r result) print(out io.Writer) error {
	const mib = 1 << 20
	fmt.Fprintf(out, "\nobject of %d MiB, cache of %d MiB; peaks by %s\n", r.object.bytes/mib, r.budget/mib, r.rows[0].peak.How)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "clients\tcold pull, s\tGB/s\torigin MiB\treads\tevictions\tpeak MiB\tallowed\twhole files: clients\tpeak MiB\tGB/s\t")
	for _, c := range r.rows {
		fmt.Fprintf(w, "%d\t%.2f\t%.2f\t%.2f\t%d\t%d\t%d\t%d\t%d\t%d\t%.2f\t\n", c.clients, float64(c.cold.Nanoseconds)/1e9, c.cold.perSecond()/1e9,
			float64(c.originBytes)/mib, c.originReads, c.evictions, c.peak.Bytes/mib, (r.budget+overhead+int64(c.clients)*sendBytes)/mib, c.wholeClients, c.wholePeak.Bytes/mib, c.whole/1e9)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "throughput after it, median of %d rounds\n", r.rounds)
	fmt.Fprintln(w, "clients\trelay GB/s\tnginx GB/s\tratio\tGo's sendfile GB/s\tratio\t")
	for _, c := range r.rows {
		fmt.Fprintf(w, "%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", c.clients, c.relay/1e9, c.nginx/1e9, c.relay/c.nginx, c.sendfile/1e9, c.relay/c.sendfile)
	}
	return w.Flush()
}
