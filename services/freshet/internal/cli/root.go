// Package cli is freshet's command line. A command parses its flags, calls a library or a service, and prints the result. Input,
// output and environment come from [Process], so that tests run commands in their own process.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"freshet.dev/pkg/nearest"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/internal/build"
	"freshet.dev/services/internal/settings"
)

// Process is the part of the process that commands use.
type Process struct {
	In       io.Reader
	Out, Err io.Writer
	// LookupEnv returns an environment variable and whether it is set, as [os.LookupEnv] does.
	LookupEnv func(name string) (string, bool)
	// Environ holds the environment as [os.Environ] returns it. Commands refuse misspelt variables in it.
	Environ []string
	// Command is how the user started this program. It begins the commands that are printed for the user to run next.
	Command string
}

// Run runs the command that args name and returns the exit code. It writes an error to p.Err as one message. When ctx is
// cancelled the command stops and cleans up; Run returns [exit.Interrupted] if the command was not done.
func Run(ctx context.Context, p Process, args []string) exit.Code {
	root, started := newRoot(p)
	if len(args) == 0 || !strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) { // a completion parses its flags twice
		refuseRepeated(root)
	}
	root.SetArgs(append([]string{}, args...)) // not nil: cobra would read os.Args
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exit.OK
	case !*started: // cobra refused the arguments
		if cmd == root && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
			err = suggestCommand(root, args) // and not an error about the flags of the misspelt command
		}
		err = exit.Errorf(exit.Usage, "%w; `%s --help` shows how to use it", err, cmd.CommandPath())
	case ctx.Err() != nil && exit.Of(err) == exit.Failure:
		// The failed calls report errors of many kinds, all caused by the end of ctx.
		err = exit.Errorf(exit.Interrupted, "%s: interrupted", cmd.Name())
	}
	code := exit.Of(err)
	if code == exit.Interrupted {
		err = fmt.Errorf("%s: interrupted before it was done", cmd.Name())
	}
	fmt.Fprintf(p.Err, "freshet: %s\n", strings.TrimSpace(err.Error()))
	return code
}

// newRoot returns the command tree. *started becomes true when a command's own code runs.
func newRoot(p Process) (root *cobra.Command, started *bool) {
	root = &cobra.Command{
		Use:   "freshet",
		Short: "Keyed datasets in the memory of every server, new versions pushed to all of them",
		Long: `freshet keeps keyed reference datasets (prices, catalogues, rules, IP ranges) in the memory of every server
that needs them, and pushes each new version to all of them.

See it work, with nothing else installed:  ` + p.Command + ` demo

Exit codes:
` + exit.Text() + "`go run` replaces every exit code but 0 with 1: build the program for use in scripts.",
		Version:       build.Read().String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          suggestCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("freshet {{.Version}}\n")
	root.Flags().Bool("version", false, "print the version and exit")
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	addCommands(root, p)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		// The text of pflag repeats the value, which may be a URL with a password.
		if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok && errors.Is(err, errTwice) {
			return fmt.Errorf("the flag --%s %w", invalid.GetFlag().Name, errTwice)
		}
		return err
	})
	started = new(bool)
	markStart(root, p, started)
	return root, started
}

// Command is a command of the command line.
type Command struct{ Use, Short string }

// Commands returns the commands in the order of the help.
func Commands() []Command {
	root, _ := newRoot(Process{Command: "freshet", LookupEnv: func(string) (string, bool) { return "", false }})
	root.InitDefaultCompletionCmd()
	var all []Command
	for _, c := range root.Commands() {
		all = append(all, Command{root.Name() + " " + c.Use, c.Short})
	}
	return all
}

// suggestCommand refuses arguments of the root command, which are misspelt commands.
func suggestCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return fmt.Errorf("unknown command %.40q%s", args[0], nearest.Hint(args[0], names))
}

// markStart wraps every command at and below c: the command sets *started, and the commands below the root check the environment.
func markStart(c *cobra.Command, p Process, started *bool) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			*started = true
			if cmd.HasParent() {
				if err := checkEnvironment(p); err != nil {
					return err
				}
			}
			return run(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		markStart(sub, p, started)
	}
}

// checkEnvironment refuses a FRESHET_ variable that is a misspelt variable of the command line, and warns about unknown others.
func checkEnvironment(p Process) error {
	var own []string
	for _, v := range Variables() {
		own = append(own, v.Name)
	}
	warnings, err := settings.CheckNames(own, p.Environ)
	for _, w := range warnings {
		fmt.Fprintf(p.Err, "freshet: warning: %s\n", w)
	}
	return exit.With(exit.Usage, err)
}

// refuseRepeated makes every command at and below c refuse a repeated flag, unless the flag takes several values.
func refuseRepeated(c *cobra.Command) {
	wrap := func(f *pflag.Flag) {
		if _, many := f.Value.(pflag.SliceValue); !many {
			f.Value = &once{Value: f.Value}
			if f.DefValue == "0s" {
				f.DefValue = "" // pflag omits a zero default from the help only for its own types
			}
		}
	}
	c.LocalNonPersistentFlags().VisitAll(wrap)
	c.PersistentFlags().VisitAll(wrap)
	for _, sub := range c.Commands() {
		refuseRepeated(sub)
	}
}

// once is a flag value that can be set only once.
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
