package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/show"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/publisher"
)

// deleteFlags are the flags of delete.
type deleteFlags struct {
	undoFlags
	drop, force, yes bool
}

func newDelete(p Process) *cobra.Command {
	var f deleteFlags
	cmd := &cobra.Command{
		Use:   "delete DATASET",
		Short: "Delete a dataset by a version without records; instances go on answering",
		Long: `Delete a dataset, through the publisher: its next version has no records and says that the dataset is deleted. No earlier
version is removed or changed. On a terminal the command asks for the name of the dataset again; in a script, --yes is
needed.

Instances say that the dataset is deleted and go on answering from the tables that they have. With --drop they drop their
tables too: lookups find nothing. An instance that starts later has no table, is not ready, and says who deleted the
dataset and why.

A publish goes on with the next number. "freshet rollback" brings the content back for as long as the store keeps it;
after that, lists leave the dataset out.

Instances of releases up to v0.3 do not know deleted versions: they would serve an empty table. The publisher surveys the
instances and refuses the delete while one of them is of such a release; --force deletes nevertheless.`,
		Example: `  freshet delete prcies --reason "mistyped, see prices"
  freshet delete prices --reason "the shop has closed" --drop --yes --wait`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.fill(cmd)
			return f.run(cmd.Context(), p, args[0])
		},
	}
	f.add(cmd, p)
	flags := cmd.Flags()
	flags.BoolVar(&f.drop, "drop", false, "have instances drop their tables too: lookups find nothing")
	flags.BoolVar(&f.force, "force", false, "delete also if instances of a release up to v0.3 would empty their tables, or if that is not known")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask for the name of the dataset again")
	return cmd
}

func (f *deleteFlags) run(ctx context.Context, p Process, name string) error {
	if err := f.check(name); err != nil {
		return err
	}
	if !f.yes && !f.audit.dryRun {
		if !isTerminal(p.In) {
			return exit.Errorf(exit.Usage, "standard input is no terminal to ask for the name of the dataset again: add --yes")
		}
		if err := confirmName(ctx, p, name); err != nil {
			return err
		}
	}
	return f.send(ctx, p, name, "deleted", func(c *client.Client, id string) (publisher.Publication, error) {
		return c.Delete(ctx, name, client.DeleteRequest{
			Reason: f.audit.reason, By: f.audit.by, Drop: f.drop, Force: f.force, RequestID: id, DryRun: f.audit.dryRun,
		})
	})
}

// check returns an error if the flags are wrong.
func (f *deleteFlags) check(name string) error {
	if err := settings.CheckNamespace(f.waits.namespace); err != nil {
		return exit.With(exit.Usage, err)
	}
	if err := dataset.CheckRequestID(f.requestID); err != nil {
		return exit.Errorf(exit.Usage, "--request-id: %w", err)
	}
	if err := publish.CheckDelete(publish.DeleteInput{Dataset: name, Reason: f.audit.reason, By: f.audit.by}); err != nil {
		return exit.With(exit.Usage, err)
	}
	return f.waits.check(f.audit.dryRun)
}

// confirmName asks the user to type the name of the dataset. It returns an error unless the answer is the name.
func confirmName(ctx context.Context, p Process, name string) error {
	fmt.Fprintf(p.Err, "This deletes the dataset %s. Type its name to go on: ", name)
	type line struct {
		text string
		err  error
	}
	answer := make(chan line, 1)
	go func() { // a read of a terminal ends with the next line, or with the process
		text, err := bufio.NewReader(p.In).ReadString('\n')
		answer <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case got := <-answer:
		text := strings.TrimSpace(got.text)
		switch {
		case got.err != nil && !errors.Is(got.err, io.EOF):
			return fmt.Errorf("read the name of the dataset from standard input: %w", got.err)
		case text != name:
			return exit.Errorf(exit.Usage, "%.80q is not the name of the dataset, which is %s; nothing was deleted", text, name)
		}
		return nil
	}
}

// deletedLine is the line about a version that deletes its dataset.
func deletedLine(r publication) string {
	rec := r.Record
	if !r.Created {
		return fmt.Sprintf("%s was deleted before: version %d, %s; no version was created", rec.Dataset, rec.Version, rec.DeletedText())
	}
	instances := "instances go on answering from their tables"
	if rec.Dropped {
		instances = "instances drop their tables"
	}
	return fmt.Sprintf("%s version %d: deleted; %s", rec.Dataset, rec.Version, instances)
}

// deletedEvent is what freshet events says of a version that deletes its dataset. Other columns say who and why.
func deletedEvent(rec dataset.VersionRecord) string {
	text := fmt.Sprintf("the dataset is deleted (%s removed)", show.Count(rec.Changes.Removed))
	if rec.Dropped {
		text += ", instances drop it"
	}
	return text
}
