package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
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
	publisher      string
	format, source string
	key            []string
	labels         []string
	patch          bool
	base           string
	remove         string
	requestID      string
	expectEvery    time.Duration
	expectEverySet bool // whether the user gave expectEvery
	allowShrink    bool
	audit          auditFlags
	waits          waitFlags
	out            output
}

// publishHelp describes publish.
var publishHelp = `Publish files of records as the next version of a dataset, through the publisher. - reads standard input.

The files hold all records of the dataset: one JSON object a line (NDJSON), one JSON array of objects, CSV with a header
line, or Parquet. They may be compressed with gzip or zstd. The value of a record is its JSON object, byte for byte; the
rows of a Parquet file become objects. If one record is refused, nothing is published and the error names its file and
line. If the newest version has the same records, no version is created.

A folder stands for all files in it and in its folders, in the order of their names. s3://BUCKET/KEY is an object;
s3://BUCKET/PREFIX/, with / at the end, stands for all objects below it. This command reads them, with the credentials in
its environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) and, for a server that is not Amazon's, the address in the
URL: s3://BUCKET/KEY?endpoint=http://HOST:PORT. In folders and below a prefix, names that begin with . or _ are left out.
Each file has the format of its name. A key may come once in all of them.

With --patch the files hold changes: records to add or change, and removals. A removal is an object with the member
"$remove" set to true ({"id":"x","$remove":true}) or a CSV row with true or 1 in the column $remove. A record replaces
the whole record with its key. All other records stay unchanged. The cost of a patch depends on the number of changes,
not on the size of the dataset. A patch without changes creates no version.

--base N@ID refuses the patch unless the newest version has the number N and the id ID; "freshet versions" shows the
first digits of the id. --base N compares only the number, which is not enough after the store was restored from an
older copy: another version may have the number N.

--expect-every 24h promises a new version at least every 24 hours. If no version appears in that time, every instance
reports the dataset as overdue. The promise holds until it is changed. Unchanged records create a version when the
promise changes and when a third of its time has passed, to confirm that they are still right.

If the publisher's answer is lost, the outcome is unknown. The command then retries a file with the same request id,
which creates no second version. For standard input it searches the versions for the request id. If that fails too, the
error says how to find out and with which --request-id to run the command again.

A publish that removes more than half of a dataset of 100 records or more is refused, unless --allow-shrink and --reason
say that it is meant. The reason and who publishes (--by) are stored with the version.

--dry-run shows what would change, and which gates would refuse it. Nothing is published. The exit code is ` + strconv.Itoa(int(exit.Refused)) + `
if a gate would refuse it.

The token that the command prints names the version. A reader that must see it sends the token with its lookups: see
"freshet get --at-least".

--wait ends when every live instance that has the dataset serves the version. With --redis it also waits for instances
that have a record in Redis and do not answer over NATS, until they serve the version or their record expires.`

func newPublish(p Process) *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "publish DATASET FILE|FOLDER|s3://BUCKET/KEY|-...",
		Short: "Publish files of records as the next version of a dataset",
		Long:  publishHelp,
		Example: `  freshet publish cities cities.ndjson.gz --key id --wait
  psql -c "copy prices to stdout csv header" | freshet publish prices - --format csv --key sku
  freshet publish prices part-1.parquet part-2.csv.gz --key sku
  freshet publish prices s3://exports/prices/2026-11-30/ --key sku
  freshet publish cities changes.ndjson --key id --patch --base 41@0123456789ab`,
		Args: cobra.MinimumNArgs(2),
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
			f.audit.fill()
			f.expectEverySet = cmd.Flags().Changed("expect-every")
			return f.run(cmd.Context(), p, args[0], args[1:])
		},
	}
	f.add(cmd, p)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault // a file
		}
		return completeArgs(false, func(ctx context.Context) ([]string, error) { return publishedNames(ctx, f.publisher) })(cmd, args, typed)
	}
	return cmd
}

// add adds the flags to cmd.
func (f *publishFlags) add(cmd *cobra.Command, p Process) {
	flags := cmd.Flags()
	publisherURL.add(cmd, p, &f.publisher)
	f.waits.add(cmd, p)
	f.audit.add(cmd)
	flags.BoolVar(&f.allowShrink, "allow-shrink", false, "pass the gates about fewer records and bytes; requires --reason")
	flags.StringArrayVar(&f.key, "key", nil, "the member or column that holds a record's key; repeated for a key of several members (default: the setting key of the dataset, which its first publish sets, else key)")
	flags.StringVar(&f.format, "format", "auto", "of all files: ndjson, json, csv, parquet, or auto: by a file's name, else by its first characters")
	flags.StringVar(&f.source, "source", "", "name of the publishing pipeline, stored with the version (default: the publisher's FRESHET_SOURCE)")
	flags.StringArrayVar(&f.labels, "label", nil, "name=value, stored with the version; may be repeated")
	flags.BoolVar(&f.patch, "patch", false, "the file holds changes to the newest version, not all records")
	flags.StringVar(&f.base, "base", "", "with --patch: the version that the changes are for, as N or N@ID; the patch is refused if another version is the newest")
	flags.StringVar(&f.remove, "remove", publish.DefaultRemove, "with --patch: the member or column that marks removals")
	flags.DurationVar(&f.expectEvery, "expect-every", 0, "promise a new version at least this often, such as 24h; 0 ends the promise (default: the promise stays)")
	flags.StringVar(&f.requestID, "request-id", "", "id of this publish, stored with the version: a retry with the same id creates no second version (default: random)")
	complete(cmd, "format", "auto", "ndjson", "json", "csv", "parquet")
	f.out.add(cmd)
}

func (f *publishFlags) run(ctx context.Context, p Process, name string, paths []string) error {
	if err := settings.CheckNamespace(f.waits.namespace); err != nil {
		return exit.With(exit.Usage, err)
	}
	req, err := f.request()
	if err != nil {
		return err
	}
	in, err := openInput(ctx, paths, p.In, req.Format)
	if err != nil {
		return err
	}
	defer in.close()
	req.Format = in.format
	check := publish.Input{
		Body: in, Format: req.Format, Keys: req.Key, Source: req.Source, Labels: req.Labels, ExpectEvery: req.ExpectEvery,
		AllowShrink: req.AllowShrink, Reason: req.Reason, By: req.By,
	}
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
	w, err := f.waits.open(ctx, c)
	if err != nil {
		return err
	}
	defer w.Close()
	result, err := f.send(ctx, p, c, name, req, &in)
	if err != nil {
		return err
	}
	return publication{Publication: result}.finish(ctx, p, name, w, f.out)
}

// finish prints the report, and waits for the instances unless w is nil. In a dry run the error is that of the gates.
func (r publication) finish(ctx context.Context, p Process, name string, w *wait, out output) error {
	if r.Preview == nil && r.Token.IsZero() { // a publisher of a release up to v0.4
		r.Token = r.Record.Token()
	}
	var err error
	switch {
	case r.Preview != nil && out == textOutput:
		r.warn(p)
		err = printPreview(p, name, r.Preview)
	case out == textOutput:
		r.print(p)
	}
	if r.Preview != nil {
		err = errors.Join(err, verdictOnPreview(name, r.Preview))
	}
	if w != nil {
		err = w.run(ctx, &r, out == textOutput, p)
		if result := r.Publication; result.Disputed && (err == nil || exit.Of(err) == exit.NoInstance) {
			err = exit.Errorf(exit.TimedOut, "version %s is published and was not announced, because the event log holds a version of another history; "+
				"the warning names both versions and their stores, and says what to do", result.Record.Ref())
		}
	}
	if out == jsonOutput {
		err = errors.Join(err, writeJSON(p.Out, r))
	}
	return err
}

// request returns the request that the flags describe, without its body.
func (f *publishFlags) request() (client.PublishRequest, error) {
	format, err := publish.ParseFormat(f.format)
	if err != nil {
		return client.PublishRequest{}, exit.With(exit.Usage, err)
	}
	labels := map[string]string{}
	for _, l := range f.labels {
		k, v, ok := strings.Cut(l, "=")
		if !ok || k == "" {
			return client.PublishRequest{}, exit.Errorf(exit.Usage, "--label %q: want name=value", l)
		}
		if _, twice := labels[k]; twice {
			return client.PublishRequest{}, exit.Errorf(exit.Usage, "--label %s comes twice", k)
		}
		labels[k] = v
	}
	if err := f.waits.check(f.audit.dryRun); err != nil {
		return client.PublishRequest{}, err
	}
	req := client.PublishRequest{
		Format: format, Key: f.key, Source: f.source, Labels: labels, Patch: f.patch, RequestID: f.requestID,
		AllowShrink: f.allowShrink, Reason: f.audit.reason, By: f.audit.by, DryRun: f.audit.dryRun,
	}
	if f.audit.dryRun {
		req.RequestID = "" // a lost answer leaves nothing unknown
	}
	if f.expectEverySet {
		req.ExpectEvery = &f.expectEvery
	}
	switch {
	case f.patch:
		req.Base, req.Remove = f.base, f.remove
	case f.base != "" || f.remove != publish.DefaultRemove:
		return client.PublishRequest{}, exit.Errorf(exit.Usage, "--base and --remove require a patch: add --patch or leave them out")
	}
	return req, nil
}

// publication is the JSON output of publish: the publisher's answer and, with --wait, the reports of the instances.
type publication struct {
	publisher.Publication
	// Served holds, with --wait, one report for each instance that serves the version.
	Served []fleet.Report `json:"served,omitempty"`
}

func (r publication) print(p Process) {
	rec := r.Record
	switch {
	case rec.Deleted:
		fmt.Fprintln(p.Out, deletedLine(r))
	case r.Created && rec.Restores.Version > 0:
		fmt.Fprintf(p.Out, "%s version %d: the %s of version %d again (%s added, %s changed, %s removed), %s to pull\n", rec.Dataset, rec.Version,
			show.Records(rec.State.Records), rec.Restores.Version, show.Count(rec.Changes.Added), show.Count(rec.Changes.Changed),
			show.Count(rec.Changes.Removed), show.Bytes(rec.PullBytes()))
	case r.Created && rec.Changes.Total() == 0 && len(rec.Deltas) > 0: // changes are counted only with a delta
		fmt.Fprintf(p.Out, "%s version %d: the same %s as in version %d, confirmed, %s to pull\n", rec.Dataset, rec.Version,
			show.Records(rec.State.Records), rec.Version-1, show.Bytes(rec.PullBytes()))
	case r.Created:
		fmt.Fprintf(p.Out, "%s version %d: %s (%s added, %s changed, %s removed), %s to pull\n", rec.Dataset, rec.Version,
			show.Records(rec.State.Records), show.Count(rec.Changes.Added), show.Count(rec.Changes.Changed),
			show.Count(rec.Changes.Removed), show.Bytes(rec.PullBytes()))
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
	fmt.Fprintf(p.Out, "  token: %s\n", r.Token)
	r.warn(p)
}

func (r publication) warn(p Process) {
	for _, w := range r.Warnings {
		fmt.Fprintf(p.Err, "freshet: warning: %s\n", w)
	}
}
