package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/publish"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/publisher"
)

// publishFlags are the flags of publish.
type publishFlags struct {
	publisher, nats     string
	namespace           string
	format, key, source string
	labels              []string
	patch               bool
	base                string
	remove              string
	requestID           string
	expectEvery         time.Duration
	promises            bool // that expectEvery was given
	wait                bool
	waitTimeout         time.Duration
	out                 output
}

func newPublish(p Process) *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "publish DATASET FILE|-",
		Short: "Publish a file of records as the next version of a dataset",
		Long: `Publish a file of records as the next version of a dataset, through the publisher. - reads standard input.

The file holds all of the dataset's records, one JSON object a line (NDJSON), one JSON array of objects, or CSV with
a header line; gzipped or compressed with zstd if you like. A record's value is its object, the bytes as they are.
If one record cannot be taken, nothing is published and the line is named. If the newest version has the same
records already, no version is created.

With --patch the file holds changes instead: records to add or change, and removals, which are objects with the
member "$remove" set to true ({"id":"x","$remove":true}) or CSV rows with true or 1 in the column $remove. A record
takes the place of the one with its key as a whole. All other records stay as they are. A patch costs what it changes,
however large the dataset is; one that changes nothing creates no version. --base N@ID refuses the patch unless the newest
version has the number N and the id ID, of which "freshet versions" shows the first digits. With --base N only the number is
compared: after the store was restored from an older copy, another version N passes.

--expect-every 24h promises a new version at least that often. When there is none by then, every instance says that the
dataset is overdue. The promise stays until another is made. Records that are the same as before create a version after
all when the promise changes, and when a third of its time has passed: that they are still right is news then.

If the answer is lost, it is not known whether the version was published. The command then repeats a file with the same request id,
which makes no second version, and looks for the version of what came from standard input. If the publisher does not answer, the
error says how to find out, and with which --request-id to run the command again.`,
		Example: `  freshet publish cities cities.ndjson.gz --key id --wait
  psql -c "copy prices to stdout csv header" | freshet publish prices - --format csv --key sku
  freshet publish cities changes.ndjson --key id --patch --base 41@0123456789ab`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("base") {
				if _, _, err := publish.ParseBase(f.base); err != nil {
					return exit.Errorf(exit.Usage, "--base %w", err)
				}
			}
			if !cmd.Flags().Changed("request-id") {
				f.requestID = rand.Text()
			}
			if err := dataset.CheckRequestID(f.requestID); err != nil {
				return exit.Errorf(exit.Usage, "--request-id: %w", err)
			}
			f.promises = cmd.Flags().Changed("expect-every")
			return f.run(cmd.Context(), p, args[0], args[1])
		},
	}
	flags := cmd.Flags()
	publisherURL.add(cmd, p, &f.publisher)
	natsURL.add(cmd, p, &f.nats)
	namespace.add(cmd, p, &f.namespace)
	flags.StringVar(&f.key, "key", "key", "the member or column that holds a record's key")
	flags.StringVar(&f.format, "format", "auto", "ndjson, json, csv, or auto: by the file's name, else its first character")
	flags.StringVar(&f.source, "source", "", "who publishes, kept with the version (default: what the publisher is set to)")
	flags.StringArrayVar(&f.labels, "label", nil, "name=value, kept with the version; may be repeated")
	flags.BoolVar(&f.patch, "patch", false, "the file holds changes to the newest version, not all records")
	flags.StringVar(&f.base, "base", "", "with --patch: the version that the changes are for, as N or N@ID; refused if the newest is another")
	flags.StringVar(&f.remove, "remove", publish.DefaultRemove, "with --patch: the member or column that tells removals")
	flags.DurationVar(&f.expectEvery, "expect-every", 0, "how often there will be a new version, such as 24h; 0 ends the promise (default: as promised before)")
	flags.StringVar(&f.requestID, "request-id", "", "id of this publish, kept with the version: a publish whose id one of the last versions has makes no other (default: drawn)")
	flags.BoolVar(&f.wait, "wait", false, "wait until every live instance that has the dataset serves the version")
	flags.DurationVar(&f.waitTimeout, "wait-timeout", time.Minute, "how long --wait waits before it fails")
	f.out.add(cmd)
	return cmd
}

func (f *publishFlags) run(ctx context.Context, p Process, name, path string) error {
	if err := settings.CheckNamespace(f.namespace); err != nil {
		return exit.With(exit.Usage, err)
	}
	req, err := f.request(path)
	if err != nil {
		return err
	}
	in, err := openInput(path, p.In)
	if err != nil {
		return err
	}
	defer in.close() //nolint:errcheck // only read
	check := publish.Input{Body: in, Format: req.Format, Key: req.Key, Source: req.Source, Labels: req.Labels, ExpectEvery: req.ExpectEvery}
	err = publish.CheckInput(name, check)
	if f.patch {
		err = publish.CheckPatch(name, publish.PatchInput{Input: check, Remove: req.Remove})
	}
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	c, err := client.New(f.publisher, "publisher", publisherURL.hint())
	if err != nil {
		return err
	}
	defer c.Close()
	var w *wait
	if f.wait {
		// Before anything is published: a wait that cannot be is better known now.
		if w, err = openWait(ctx, f.nats, f.namespace, f.waitTimeout); err != nil {
			return err
		}
		defer w.Close()
		w.record = c.Version
	}

	result, err := f.send(ctx, p, c, name, req, in)
	if err != nil {
		return err
	}
	report := publication{Publication: result}
	if f.out == textOutput {
		report.print(p)
	}
	if f.wait {
		err = w.run(ctx, &report, f.out == textOutput, p)
		if result.Disputed && (err == nil || exit.Of(err) == exit.Nobody) {
			err = exit.Errorf(exit.TimedOut, "version %s is published and was not announced, because the event log holds a version of another history; "+
				"the warning names both versions and their stores, and says what to do", result.Record.Ref())
		}
	}
	if f.out == jsonOutput {
		err = errors.Join(err, writeJSON(p.Out, report))
	}
	return err
}

// request returns what the flags say of the publication.
func (f *publishFlags) request(path string) (client.PublishRequest, error) {
	format, err := publish.ParseFormat(f.format)
	if err != nil {
		return client.PublishRequest{}, exit.With(exit.Usage, err)
	}
	if format == publish.FormatAuto && path != "-" {
		format = publish.FormatOf(path)
	}
	labels := map[string]string{}
	for _, l := range f.labels {
		k, v, ok := strings.Cut(l, "=")
		if !ok || k == "" {
			return client.PublishRequest{}, exit.Errorf(exit.Usage, "--label %q: want name=value", l)
		}
		if _, twice := labels[k]; twice {
			return client.PublishRequest{}, exit.Errorf(exit.Usage, "--label %s stands twice", k)
		}
		labels[k] = v
	}
	if f.wait && f.waitTimeout <= 0 {
		return client.PublishRequest{}, exit.Errorf(exit.Usage, "--wait-timeout %s: want more than 0", f.waitTimeout)
	}
	req := client.PublishRequest{Format: format, Key: f.key, Source: f.source, Labels: labels, Patch: f.patch, RequestID: f.requestID}
	if f.promises {
		req.ExpectEvery = &f.expectEvery
	}
	switch {
	case f.patch:
		req.Base, req.Remove = f.base, f.remove
	case f.base != "" || f.remove != publish.DefaultRemove:
		return client.PublishRequest{}, exit.Errorf(exit.Usage, "--base and --remove are of a patch: add --patch, or leave them out")
	}
	return req, nil
}

// publication is what publish prints as JSON: the publisher's answer and, with --wait, what came of it.
type publication struct {
	publisher.Publication
	// Served holds one report for each instance that serves the version, with --wait.
	Served []fleet.Report `json:"served,omitempty"`
}

// toPull returns what an instance on the version before has to pull: the delta, or the snapshot with the deltas after it
// if there is no delta or that is smaller.
func toPull(rec dataset.VersionRecord) int64 {
	whole := rec.Snapshot.Bytes
	for _, d := range rec.Deltas {
		if d.Version > rec.Snapshot.Version {
			whole += d.Bytes
		}
	}
	if n := len(rec.Deltas); n > 0 {
		return min(whole, rec.Deltas[n-1].Bytes)
	}
	return whole
}

func (r publication) print(p Process) {
	rec := r.Record
	switch {
	case r.Created && rec.Changes.Total() == 0 && len(rec.Deltas) > 0: // without a delta they are not counted
		fmt.Fprintf(p.Out, "%s version %d: the same %s as in version %d, confirmed, %s to pull\n", rec.Dataset, rec.Version,
			show.Records(rec.State.Records), rec.Version-1, show.Bytes(toPull(rec)))
	case r.Created:
		fmt.Fprintf(p.Out, "%s version %d: %s (%s added, %s changed, %s removed), %s to pull\n", rec.Dataset, rec.Version,
			show.Records(rec.State.Records), show.Count(rec.Changes.Added), show.Count(rec.Changes.Changed),
			show.Count(rec.Changes.Removed), show.Bytes(toPull(rec)))
	case r.Patch != nil:
		fmt.Fprintf(p.Out, "%s is unchanged: the patch changes nothing in version %d; no version was created\n", rec.Dataset, rec.Version)
	default:
		fmt.Fprintf(p.Out, "%s is unchanged: version %d has the same %s; no version was created\n",
			rec.Dataset, rec.Version, show.Records(rec.State.Records))
	}
	if r.Patch != nil && r.Patch.Unchanged+r.Patch.Missing > 0 {
		fmt.Fprintf(p.Out, "  unchanged: %s, removals of keys that are not there: %s\n",
			show.Count(r.Patch.Unchanged), show.Count(r.Patch.Missing))
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(p.Err, "freshet: warning: %s\n", w)
	}
}
