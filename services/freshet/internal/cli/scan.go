package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/scan"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
)

// scanFlags are the flags of scan.
type scanFlags struct {
	server                     string
	request                    scan.Request
	selects, groups, aggregate []string
	out                        output
}

func newScan(p Process) *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use:   "scan DATASET",
		Short: "Read all records of a dataset with expressions: filter, select, group, aggregate",
		Long: fmt.Sprintf(`Read all records of the version that an instance serves, and print a line of JSON for each row. Expressions are CEL
(https://cel.dev) with two variables: key, a string, and value, the JSON object.

  filter     value.country == "KR" && value.pop > 1000000
  select     a member such as name or geo.lat, as it is in the value; or NAME=EXPR
  group-by   a member, or NAME=EXPR
  aggregate  count(), sum(EXPR), min(EXPR), max(EXPR), avg(EXPR), count_distinct(EXPR); or NAME=AGGREGATE

A record for which an expression ends in an error, such as one about a member that the record lacks, is left out and
counted: has(value.x) and value.?x.orValue(0) ask without an error. A number is an int if it is written as one, else a
double; write double(value.price) * 1.2 to calculate with both.

Rows of records are from one version. A scan that takes longer than the instance allows goes on in another request, maybe
in a later version; stderr then names both. Rows of groups are always from one version.

The exit code is %d if an expression is wrong, %d if the instance does not have the dataset, and %d if it refuses the scan.`, exit.Usage, exit.NotFound, exit.Refused),
		Example: `  freshet scan cities --filter 'value.country == "KR"' --select name --select pop --limit 10
  freshet scan cities --group-by country --aggregate 'n=count()' --aggregate 'pop=sum(value.pop)' --order=-pop`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.fill(args[0]); err != nil {
				return err
			}
			return f.run(cmd.Context(), p, args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.request.Filter, "filter", "", "only records for which this expression is true")
	flags.StringVar(&f.request.Prefix, "prefix", "", "only records whose key begins with this")
	flags.StringArrayVar(&f.selects, "select", nil, "a member, or NAME=EXPR, of the rows; repeated for several (default: the whole value)")
	flags.StringArrayVar(&f.groups, "group-by", nil, "a member, or NAME=EXPR, by which records are grouped; repeated for several")
	flags.StringArrayVar(&f.aggregate, "aggregate", nil, "an aggregate, or NAME=AGGREGATE; repeated for several")
	flags.StringArrayVar(&f.request.Order, "order", nil, "a member of the rows of groups to sort by, -NAME for descending; repeated for several")
	flags.IntVar(&f.request.Limit, "limit", 0, "the most rows; 0 for all")
	flags.StringVar(&f.request.Cursor, "cursor", "", "where to begin: the cursor of an earlier scan")
	serverURL.add(cmd, p, &f.server)
	f.out.add(cmd)
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return servedNames(ctx, f.server) })
	return cmd
}

var assignment = regexp.MustCompile(`(?s)^([A-Za-z_][A-Za-z0-9_]*)=([^=].*)$`)

// named returns the expressions of a flag by their names. short makes a name and an expression of a text without a name.
func named(flag string, texts []string, short func(text string) (name, expr string)) (map[string]string, error) {
	all := make(map[string]string, len(texts))
	for _, text := range texts {
		name, expr := short(text)
		if parts := assignment.FindStringSubmatch(text); parts != nil {
			name, expr = parts[1], parts[2]
		}
		if _, twice := all[name]; twice {
			return nil, exit.Errorf(exit.Usage, "--%s names %.80q twice", flag, name)
		}
		all[name] = expr
	}
	return all, nil
}

// fill fills the request, and checks it as an instance does.
func (f *scanFlags) fill(name string) (err error) {
	if err := dataset.CheckName(name); err != nil {
		return exit.With(exit.Usage, err)
	}
	memberOf := func(text string) (string, string) { return text, "value." + text }
	if f.request.GroupBy, err = named("group-by", f.groups, memberOf); err != nil {
		return err
	}
	if f.request.Aggregate, err = named("aggregate", f.aggregate, func(text string) (string, string) { return text, text }); err != nil {
		return err
	}
	expressions := 0
	for _, text := range f.selects {
		if assignment.MatchString(text) {
			expressions++
		}
	}
	switch expressions {
	case 0:
		f.request.Select.Members = f.selects
	case len(f.selects):
		if f.request.Select.Named, err = named("select", f.selects, memberOf); err != nil {
			return err
		}
	default:
		return exit.Errorf(exit.Usage, "--select takes members or NAME=EXPR, not both; write name=value.name for a member")
	}
	_, err = scan.Compile(context.Background(), f.request, scan.Limits{})
	bad, ok := errors.AsType[*scan.RequestError](err)
	if ok && bad.Member != scan.WholeRequest {
		bad.Member = "--" + strings.Replace(bad.Member, "group_by", "group-by", 1)
	}
	return exit.With(exit.Usage, err)
}

func (f *scanFlags) run(ctx context.Context, p Process, name string) error {
	c, err := client.New(f.server, "server", serverURL.hint())
	if err != nil {
		return err
	}
	defer c.Close()
	total, first := scan.Summary{}, uint64(0)
	r := f.request
	for {
		page, err := c.Scan(ctx, name, r, func(row []byte) error {
			_, err := p.Out.Write(append(row, '\n'))
			return err
		})
		if err != nil && total.Cursor != "" {
			return fmt.Errorf("%w; --cursor %s goes on after the rows that are printed", err, total.Cursor)
		}
		if err != nil {
			return err
		}
		if first == 0 {
			first = page.Version
		}
		total = join(total, page)
		if page.Cursor == "" || page.Stopped == scan.StoppedByLimit {
			break
		}
		r.Cursor = page.Cursor
		if r.Limit > 0 {
			r.Limit -= int(page.Rows)
		}
	}
	if f.out == jsonOutput {
		return writeLine(p.Out, total)
	}
	f.report(p, name, total, first)
	return nil
}

// join returns the summary of two scans, of which the second goes on where the first ended.
func join(a, b scan.Summary) scan.Summary {
	b.Scanned += a.Scanned
	b.Matched += a.Matched
	b.Rows += a.Rows
	b.Errors += a.Errors
	if a.FirstError != nil {
		b.FirstError = a.FirstError
	}
	if a.Before != 0 {
		b.Before = a.Before
	}
	return b
}

// report says on stderr what the rows are.
func (f *scanFlags) report(p Process, name string, s scan.Summary, first uint64) {
	versions := fmt.Sprintf("version %d", s.Version)
	if first != s.Version {
		versions = fmt.Sprintf("versions %d to %d", first, s.Version)
	}
	rows := show.Count(uint64(s.Rows)) + " rows"
	if s.Rows == 1 {
		rows = "1 row"
	}
	fmt.Fprintf(p.Err, "freshet: %s %s: %s of %s read, %s matching\n", name, versions, rows, show.Records(uint64(s.Scanned)), show.Count(uint64(s.Matched)))
	if e := s.FirstError; e != nil {
		key := keyText([]byte(e.Key))
		if e.KeyBase64 != "" {
			key = "(base64) " + e.KeyBase64
		}
		fmt.Fprintf(p.Err, "freshet: left out %s with an error; the first is %s: %s: %s\n", show.Records(uint64(s.Errors)), key, e.Member, e.Reason)
	}
	if s.Cursor != "" {
		fmt.Fprintf(p.Err, "freshet: there may be more rows: --cursor %s goes on, --limit 0 prints all\n", s.Cursor)
	}
}
