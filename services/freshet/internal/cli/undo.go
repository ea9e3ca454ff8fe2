package cli

import (
	"context"
	"crypto/rand"

	"github.com/spf13/cobra"

	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/publisher"
)

// undoFlags are the flags of rollback and delete.
type undoFlags struct {
	publisher, requestID string
	audit                auditFlags
	waits                waitFlags
	out                  output
}

// add adds the flags to cmd, whose only argument is a dataset.
func (f *undoFlags) add(cmd *cobra.Command, p Process) {
	publisherURL.add(cmd, p, &f.publisher)
	f.waits.add(cmd, p)
	f.audit.add(cmd)
	cmd.Flags().StringVar(&f.requestID, "request-id", "", "id of this request, stored with the version: a retry with the same id creates no second version (default: random)")
	f.out.add(cmd)
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return publishedNames(ctx, f.publisher) })
}

// fill sets the request id and the author, whose defaults differ in each run.
func (f *undoFlags) fill(cmd *cobra.Command) {
	if !cmd.Flags().Changed("request-id") {
		f.requestID = rand.Text()
	}
	f.audit.fill()
}

// send sends the request, prints the version that it made, and waits for instances. verb says what is done, such as "deleted".
func (f *undoFlags) send(ctx context.Context, p Process, name, verb string, once func(c *client.Client, id string) (publisher.Publication, error)) error {
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
	id := f.requestID
	if f.audit.dryRun {
		id = "" // a lost answer leaves nothing unknown
	}
	result, err := request{name: name, id: id, client: c, verb: verb, once: func() (publisher.Publication, error) { return once(c, id) }}.send(ctx, p)
	if err != nil {
		return err
	}
	return publication{Publication: result}.finish(ctx, p, name, w, f.out)
}
