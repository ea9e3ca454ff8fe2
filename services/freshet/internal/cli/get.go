package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/publisher"
)

func newGet(p Process) *cobra.Command {
	var server, atLeast string
	var at versionFlags
	var remote remoteGet
	cmd := &cobra.Command{
		Use:   "get DATASET KEY...",
		Short: "Look up records and print their values",
		Long: fmt.Sprintf(`Look up records in an instance, or with --version in a version of the publisher's store.

The value of one record is printed unchanged and without a line end. Several records, and all with --output json, are
printed as lines: {"dataset":...,"version":...,"key":...,"value":...}. A value that is no JSON is the member value_text,
or value_base64 if it is not UTF-8.

The exit code is %d if there is no such record, dataset or version, and %d if the instance does not serve the version of
--at-least in time.

`, exit.NotFound, exit.TimedOut) + remoteGetHelp,
		Example: `  freshet get browser-compat webassembly.memory64 | jq .support
  freshet get prices A1 --version 41
  freshet get prices A1 --at-least prices/17@0123456789012345678901234567890123456789
  freshet get prices A1 B2 --all`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, keys := args[0], args[1:]
			if err := dataset.CheckName(name); err != nil {
				return exit.With(exit.Usage, err)
			}
			for _, key := range keys {
				if err := dataset.CheckKey([]byte(key)); err != nil {
					return exit.With(exit.Usage, err)
				}
			}
			if err := at.check(cmd); err != nil {
				return err
			}
			token, err := atLeastToken(cmd, name, atLeast, at.version > 0 || remote.choose.given())
			if err != nil {
				return err
			}
			if remote.choose.given() {
				if at.version > 0 {
					return exit.Errorf(exit.Usage, "--version reads the publisher's store; leave out --instance, --label and --all")
				}
				return remote.run(cmd.Context(), p, name, keys)
			}
			c, err := at.openGet(server)
			if err != nil {
				return err
			}
			defer c.Close()
			return printRecords(cmd.Context(), p, name, keys, remote.out == textOutput && len(keys) == 1, func(ctx context.Context, key string) (client.Record, error) {
				if at.version > 0 {
					return c.RecordAt(ctx, name, key, at.version)
				}
				return c.Record(ctx, name, key, token)
			})
		},
	}
	serverURL.add(cmd, p, &server)
	at.add(cmd, p, "look the records up in this version of the publisher's store (default: in an instance)")
	remote.add(cmd, p)
	cmd.Flags().StringVar(&atLeast, "at-least", "", "the token of a version, as a publish prints it: the instance answers from that version or a later one, and waits up to a second for it")
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return servedNames(ctx, server) })
	return cmd
}

// atLeastToken returns the token of --at-least; zero without the flag. other is true if the command reads no instance by HTTP.
func atLeastToken(cmd *cobra.Command, name, text string, other bool) (token dataset.Token, err error) {
	if !cmd.Flags().Changed("at-least") {
		return token, nil
	}
	if token, err = dataset.ParseToken(text); err != nil {
		return token, exit.Errorf(exit.Usage, "--at-least: %w", err)
	}
	switch {
	case token.Dataset != name:
		return token, exit.Errorf(exit.Usage, "--at-least %s is a version of %s, and the command reads %s", token, token.Dataset, name)
	case other:
		return token, exit.Errorf(exit.Usage, "--at-least needs the answer of one server; leave out --version, --instance, --label and --all")
	}
	return token, nil
}

// openGet returns a client of the publisher if the flags name a version, else of the server.
func (f *versionFlags) openGet(server string) (*client.Client, error) {
	if f.version > 0 {
		return f.open()
	}
	return client.New(server, "server", serverURL.hint())
}

// printRecords prints the records with the keys: one value as it is if bare is true, else lines. It prints all that exist, and returns an
// error about the rest.
func printRecords(ctx context.Context, p Process, name string, keys []string, bare bool, lookup func(ctx context.Context, key string) (client.Record, error)) error {
	var missing []error
	for _, key := range keys {
		record, err := lookup(ctx, key)
		switch {
		case err != nil && exit.Of(err) == exit.NotFound:
			missing = append(missing, err)
			continue
		case err != nil:
			return err
		case bare:
			_, err = p.Out.Write(record.Value)
		default:
			line := fmt.Appendf(nil, `{"dataset":"%s","version":%d,`, name, record.Version)
			line = publisher.AppendKey(line, []byte(key))
			line = publisher.AppendValue(append(line, ','), "value", record.Value)
			_, err = p.Out.Write(append(line, "}\n"...))
		}
		if err != nil {
			return err
		}
	}
	return exit.With(exit.NotFound, errors.Join(missing...))
}
