package cli

import (
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/internal/settings"
)

// endpoint is a flag for the address of a service. An environment variable gives its default.
type endpoint struct {
	flag, env, value, usage string
}

// The defaults are the default addresses of the services and of `freshet up`.
var (
	publisherURL = endpoint{"publisher", "FRESHET_PUBLISHER_URL", "http://127.0.0.1:8480", "URL of the publisher"}
	serverURL    = endpoint{"server", "FRESHET_SERVER_URL", "http://127.0.0.1:8482", "URL of the server (an instance) to query"}
	natsURL      = endpoint{"nats", "FRESHET_NATS_URL", "nats://127.0.0.1:4222", "URL of NATS, over which instances answer: nats://user:password@host:port"}
	redisURL     = endpoint{"redis", "FRESHET_REDIS_URL", "", "URL of Redis, where instances keep records; without it, instances that do not answer go unnoticed"}
	namespace    = endpoint{"namespace", "FRESHET_NAMESPACE", "", "keeps environments that share NATS and Redis apart: 1 to 32 of a-z, 0-9, _ and -, the same for all programs of an environment; the default namespace if not set"}
)

// Variable is an environment variable of the command line.
type Variable struct{ Name, Default, Meaning string }

// Variables returns the environment variables of the command line. Each is the default of a flag.
func Variables() []Variable {
	var all []Variable
	for _, e := range []endpoint{publisherURL, serverURL, natsURL, redisURL, namespace} {
		all = append(all, Variable{e.env, e.value, e.usage})
	}
	return all
}

// add adds the flag to cmd.
func (e endpoint) add(cmd *cobra.Command, p Process, value *string) {
	def := e.value
	if v, ok := p.LookupEnv(e.env); ok && v != "" {
		def = v
	}
	cmd.Flags().StringVar(value, e.flag, def, e.usage+" [$"+e.env+"]")
	if e != namespace {
		cmd.Flags().Lookup(e.flag).DefValue = settings.URL(def).String() // the help must not show credentials
	}
}

// hint returns what to do when no service answers at the address.
func (e endpoint) hint() string {
	return "is it running there? --" + e.flag + " or " + e.env + " names another address; `freshet up` starts everything"
}

// output is the flag --output.
type output string

const (
	textOutput output = "text"
	jsonOutput output = "json"
)

func (o *output) add(cmd *cobra.Command) {
	*o = textOutput
	cmd.Flags().VarP(o, "output", "o", "output format: text or json")
	complete(cmd, "output", string(textOutput), string(jsonOutput))
}

// Set implements pflag.Value.
func (o *output) Set(s string) error {
	switch output(s) {
	case textOutput, jsonOutput:
		*o = output(s)
		return nil
	}
	return exit.Errorf(exit.Usage, "use text or json")
}

// String implements pflag.Value.
func (o *output) String() string { return string(*o) }

// Type implements pflag.Value.
func (o *output) Type() string { return "text|json" }

// writeLine writes v as one line of JSON.
func writeLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// writeJSON writes v as indented JSON and a line end.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
