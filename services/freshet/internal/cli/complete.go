package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"freshet.dev/services/freshet/internal/client"
)

// completeTimeout is how long a completion waits for a service: the user waits at the prompt.
const completeTimeout = 2 * time.Second

// complete offers the values for a flag of cmd.
func complete(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag does not exist, or has a completion
	}
}

// completeArgs returns a completion of dataset names: for the first argument, or for each argument if many is true. It offers
// nothing if names fails.
func completeArgs(many bool, names func(ctx context.Context) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 && !many {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		all, err := names(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all = slices.DeleteFunc(all, func(name string) bool { return slices.Contains(args, name) })
		return all, cobra.ShellCompDirectiveNoFileComp // the shell filters by what the user has typed
	}
}

// publishedNames returns the names of the datasets of the publisher at the address.
func publishedNames(ctx context.Context, address string) ([]string, error) {
	return withClient(address, "publisher", func(c *client.Client) ([]string, error) { return c.Published(ctx) })
}

// servedNames returns the names of the datasets of the server at the address.
func servedNames(ctx context.Context, address string) ([]string, error) {
	return withClient(address, "server", func(c *client.Client) ([]string, error) { return c.Served(ctx) })
}

func withClient[T any](address, what string, query func(*client.Client) (T, error)) (answer T, err error) {
	c, err := client.New(address, what, "")
	if err != nil {
		return answer, err
	}
	defer c.Close()
	return query(c)
}
