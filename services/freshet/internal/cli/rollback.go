package cli

import (
	"context"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/publisher"
)

// rollbackFlags are the flags of rollback.
type rollbackFlags struct {
	undoFlags
	to string
}

func newRollback(p Process) *cobra.Command {
	var f rollbackFlags
	cmd := &cobra.Command{
		Use:   "rollback DATASET",
		Short: "Publish the content of an earlier version as the next version of a dataset",
		Long: `Publish the content of an earlier version as the next version of a dataset, through the publisher. The history only
grows: no version is removed or changed. If the newest version has that content already, no version is created.

The cost depends on what changed since that version, not on the size of the dataset. An instance that still holds the
content in memory swaps to it without a pull; any other pulls the changes.

A rollback passes the gates about fewer records and bytes, because it has a reason. Other gates hold.

--to N@ID names the version by number and id; "freshet versions" shows both. --to N compares only the number.`,
		Example: `  freshet rollback prices --to 41 --reason "wrong currency" --wait
  freshet rollback prices --to 41@0123456789ab --reason "wrong currency" --dry-run`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.fill(cmd)
			return f.run(cmd.Context(), p, args[0])
		},
	}
	f.add(cmd, p)
	cmd.Flags().StringVar(&f.to, "to", "", "the version to restore, as N or N@ID; required")
	return cmd
}

func (f *rollbackFlags) run(ctx context.Context, p Process, name string) error {
	if err := f.check(name); err != nil {
		return err
	}
	return f.send(ctx, p, name, "rolled back", func(c *client.Client, id string) (publisher.Publication, error) {
		return c.Rollback(ctx, name, client.RollbackRequest{To: f.to, Reason: f.audit.reason, By: f.audit.by, RequestID: id, DryRun: f.audit.dryRun})
	})
}

// check returns an error if the flags are wrong.
func (f *rollbackFlags) check(name string) error {
	if err := settings.CheckNamespace(f.waits.namespace); err != nil {
		return exit.With(exit.Usage, err)
	}
	if f.to == "" {
		return exit.Errorf(exit.Usage, "--to is missing: it names the version to restore; `freshet versions %s` lists them", name)
	}
	version, id, err := publish.ParseRef(f.to)
	if err != nil {
		return exit.Errorf(exit.Usage, "--to %w", err)
	}
	if err := dataset.CheckRequestID(f.requestID); err != nil {
		return exit.Errorf(exit.Usage, "--request-id: %w", err)
	}
	in := publish.RollbackInput{Dataset: name, To: version, ToID: id, Reason: f.audit.reason, By: f.audit.by}
	if err := publish.CheckRollback(in); err != nil {
		return exit.With(exit.Usage, err)
	}
	return f.waits.check(f.audit.dryRun)
}
