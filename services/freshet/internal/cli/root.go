// Package cli is freshet's command line: flags in, one call of a library or service, and print. It takes its input,
// output and settings from [Process], so that tests run it inside their own process.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"freshet.dev/services/freshet/internal/exit"
)

// Process is what a command has of the process it runs in.
type Process struct {
	In       io.Reader
	Out, Err io.Writer
	// LookupEnv returns an environment variable and whether it is set, as [os.LookupEnv] does.
	LookupEnv func(name string) (string, bool)
	// Command is how the user started this program: what stands before the arguments in the commands that are
	// printed to try next.
	Command string
}

// Run runs the command that args name and returns the exit code. An error is written to p.Err as one message. When
// ctx is cancelled the command stops, leaves nothing behind, and Run returns [exit.Interrupted] if it was not done.
func Run(ctx context.Context, p Process, args []string) exit.Code {
	root, started := newRoot(p)
	root.SetArgs(append([]string{}, args...)) // never nil: cobra would read os.Args
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exit.OK
	case !*started: // refused by cobra, before any code of ours ran
		err = exit.Errorf(exit.Usage, "%w; `%s --help` shows how to use it", err, cmd.CommandPath())
	case ctx.Err() != nil && exit.Of(err) == exit.Failure:
		// What was cut short reports failed calls of many kinds; the reason is one.
		err = exit.Errorf(exit.Interrupted, "%s: interrupted", cmd.Name())
	}
	code := exit.Of(err)
	if code == exit.Interrupted {
		err = fmt.Errorf("%s: interrupted before it was done", cmd.Name())
	}
	fmt.Fprintf(p.Err, "freshet: %s\n", strings.TrimSpace(err.Error()))
	return code
}

// newRoot returns the command tree, and a flag that is set once a command's own code runs.
func newRoot(p Process) (root *cobra.Command, started *bool) {
	root = &cobra.Command{
		Use:   "freshet",
		Short: "Keyed datasets in the memory of every server, new versions pushed to all of them",
		Long: `freshet keeps keyed reference datasets (prices, catalogues, rules, IP ranges) in the memory of every server
that needs them, and pushes each new version to all of them.

See it work, with nothing else installed:  ` + p.Command + ` demo

Exit codes:
` + exit.Text(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	root.AddCommand(
		newPublish(p), newGet(p), newVersions(p), newStatus(p), newUp(p), newDemo(p),
	)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		// pflag's own text repeats the value, which may be a URL with a password.
		if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok && errors.Is(err, errTwice) {
			return fmt.Errorf("the flag --%s %w", invalid.GetFlag().Name, errTwice)
		}
		return err
	})
	started = new(bool)
	markStart(root, started)
	refuseRepeated(root)
	return root, started
}

// markStart makes every command below c note that its own code has begun.
func markStart(c *cobra.Command, started *bool) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			*started = true
			return run(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		markStart(sub, started)
	}
}

// refuseRepeated makes every command below c refuse a flag that takes one value and comes twice.
func refuseRepeated(c *cobra.Command) {
	wrap := func(f *pflag.Flag) {
		if _, many := f.Value.(pflag.SliceValue); !many {
			f.Value = &once{Value: f.Value}
			if f.DefValue == "0s" {
				f.DefValue = "" // pflag leaves a zero default out of the help for its own types only
			}
		}
	}
	c.LocalNonPersistentFlags().VisitAll(wrap)
	c.PersistentFlags().VisitAll(wrap)
	for _, sub := range c.Commands() {
		refuseRepeated(sub)
	}
}

// once is a flag's value that can be set once.
type once struct {
	pflag.Value
	set bool
}

var errTwice = errors.New("comes twice, and takes one value")

func (o *once) Set(text string) error {
	if o.set {
		return errTwice
	}
	o.set = true
	return o.Value.Set(text)
}
