package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/publisher"
)

func newExport(p Process) *cobra.Command {
	var (
		at  versionFlags
		key []string
		out output
	)
	cmd := &cobra.Command{
		Use:   "export DATASET",
		Short: "Write all records of a dataset, of any version, as NDJSON",
		Long: fmt.Sprintf(`Write all records of a version to stdout, from the publisher's store, in the form that "freshet publish" takes: a line
is the value of a record, byte for byte. Publishing the lines again makes the same records.

A publish takes a record's key from a member of its value, or from several. The setting key of the dataset names them,
or --key; without either, export finds one that holds the key in every record. stderr says which. A record that a publish would not read back is refused by its key:
a value that is no JSON object, has a line end in it, or has another key in the member. --output json has every record,
as lines {"key":...,"value":...} for other programs: publishing these would make other records. A value that is no JSON is
the member value_text, or value_base64 if it is not UTF-8.

An export that fails ends with a line that is no JSON, so that a publish of its output is refused as a whole.

The exit code is %d if there is no such dataset or version.`, exit.NotFound),
		Example: `  freshet export prices --version 41 --key sku | freshet publish prices - --key sku
  freshet export prices | gzip > prices.ndjson.gz`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == jsonOutput && len(key) > 0 {
				return exit.Errorf(exit.Usage, "--key is for text output; leave it or --output json out")
			}
			c, err := at.start(cmd, args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			form := publisher.FormPublish
			if out == jsonOutput {
				form = publisher.FormEntries
			}
			return exportRecords(cmd.Context(), p, c, args[0], at.version, form, key)
		},
	}
	at.add(cmd, p, "the version to export (default: the newest)")
	cmd.Flags().StringArrayVar(&key, "key", nil, "the member that holds a record's key; repeated for a key of several members (default: the setting key, else one that does in every record)")
	at.complete(cmd)
	out.add(cmd)
	return cmd
}

// exportRecords writes an export to p.Out. If it fails after it has begun, the last line says so; in the form of a publish it is no JSON.
func exportRecords(ctx context.Context, p Process, c *client.Client, name string, version uint64, form string, key []string) error {
	body, err := c.Export(ctx, name, version, form, key)
	if err != nil {
		// Output of nothing is refused by a publish too.
		return err
	}
	defer body.Close()
	end := &lastLine{w: p.Out}
	_, err = io.Copy(end, body)
	if err == nil {
		if key := body.Key(); len(key) > 0 {
			fmt.Fprintf(p.Err, "freshet: exported %s records of %s version %d; %s\n", body.Records(), name, body.Version, whereKeysAre(key))
		}
		return nil
	}
	if end.failed {
		return fmt.Errorf("write the export: %w", err)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if why := end.why(); why != nil {
		err = why
	} else {
		_, _ = io.WriteString(p.Out, "\n"+publisher.IncompleteLine+err.Error()+"\n") // the error is returned anyway
	}
	return fmt.Errorf("the export of %s version %d is incomplete: %w", name, body.Version, err)
}

// whereKeysAre says which members make the keys.
func whereKeysAre(members []string) string {
	if len(members) == 1 {
		return "their key is in the member " + members[0]
	}
	return "their key is made of the members " + strings.Join(members, ", ")
}

// lastLine passes writes on and remembers the end of what was written.
type lastLine struct {
	w      io.Writer
	tail   []byte
	failed bool // a write failed
}

// tailBytes is more than the last line of a failed export has.
const tailBytes = 8 << 10

func (l *lastLine) Write(b []byte) (int, error) {
	n, err := l.w.Write(b)
	l.failed = err != nil
	l.tail = append(l.tail, b[max(0, n-tailBytes):n]...)
	l.tail = append(l.tail[:0], l.tail[max(0, len(l.tail)-tailBytes):]...)
	return n, err
}

// why returns the failure that the last line describes; nil if it is an ordinary line.
func (l *lastLine) why() error {
	tail := bytes.TrimSuffix(l.tail, []byte("\n"))
	line := tail[bytes.LastIndexByte(tail, '\n')+1:]
	if why, ok := bytes.CutPrefix(line, []byte(publisher.IncompleteLine)); ok {
		return errors.New(string(why))
	}
	return client.ProblemOf(line)
}
