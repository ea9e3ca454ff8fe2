package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/kelseyhightower/envconfig"

	"freshet.dev/pkg/nearest"
)

// Prefix begins the name of every variable; an underscore follows it.
const Prefix = "FRESHET"

// ErrSettings is wrapped by every error about a variable of the environment or its value.
var ErrSettings = errors.New("bad settings")

// Load fills spec, a pointer to a struct with the tags of envconfig, from the environment. It returns one warning for each variable
// that no program knows. Load unsets variables that are set but empty while it runs, so the caller must not change the environment
// at the same time.
func Load(spec any) (warnings []string, err error) {
	own, err := Names(spec)
	if err != nil {
		return nil, err
	}
	for _, v := range own {
		if value, ok := os.LookupEnv(v); ok && value == "" {
			if err := os.Unsetenv(v); err != nil {
				return nil, fmt.Errorf("hide the empty variable %s: %w", v, err)
			}
			defer os.Setenv(v, "") //nolint:errcheck // it was set before
		}
	}
	if err := envconfig.Process(Prefix, spec); err != nil {
		return nil, refusal(err)
	}
	return CheckNames(own, os.Environ())
}

// refusal returns an error that names the variable and the reason. It leaves out the value, which may hold a secret.
func refusal(err error) error {
	var parse *envconfig.ParseError
	if !errors.As(err, &parse) {
		return fmt.Errorf("%w: %w", ErrSettings, err)
	}
	return fmt.Errorf("%w: %s: want a %s", ErrSettings, parse.KeyName, typeName(parse.TypeName))
}

func typeName(goType string) string {
	switch goType {
	case "time.Duration":
		return "duration such as 90s or 15m"
	case "settings.Bytes":
		return "number of bytes such as 268435456 or 256MiB"
	case "slog.Level":
		return "log level: debug, info, warn or error"
	case "int", "int64", "uint64":
		return "whole number"
	case "bool":
		return "true or false"
	default:
		return goType
	}
}

// Names returns the names of spec's variables. It returns an error if one is not in [Known].
func Names(spec any) ([]string, error) {
	var b strings.Builder
	if err := envconfig.Usagef(Prefix, spec, &b, "{{range .}}{{usage_key .}}\n{{end}}"); err != nil {
		return nil, fmt.Errorf("list the variables of %T: %w", spec, err)
	}
	own := strings.Fields(b.String())
	for _, v := range own {
		if !slices.Contains(Known, v) {
			return nil, fmt.Errorf("%T has the variable %s, which settings.Known lacks", spec, v)
		}
	}
	return own, nil
}

// orchestrated matches the variables that Kubernetes adds for services whose names begin with freshet, such as FRESHET_RELAY_SERVICE_HOST
// (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
var orchestrated = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// CheckNames checks the names of the variables in environ, which has the form of [os.Environ]. It refuses a name that is not in
// [Known] and is close to one of own, the program's variables. It returns a warning for each other name that is not in Known.
func CheckNames(own, environ []string) (warnings []string, err error) {
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, Prefix+"_") || value == "" || slices.Contains(Known, name) || orchestrated.MatchString(name) {
			continue
		}
		if near, distance := nearest.One(name, own); distance <= 2 {
			return nil, fmt.Errorf("%w: %s is not a setting; did you mean %s?", ErrSettings, name, near)
		}
		warnings = append(warnings, name+" is not a setting of any freshet program and is ignored")
	}
	return warnings, nil
}

// Usage writes a table of spec's variables with their meanings and defaults.
func Usage(w io.Writer, spec any) error {
	tabs := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	const row = "{{range .}}  {{usage_key .}}\t{{usage_description .}}{{with usage_default .}} (default {{.}}){{end}}\n{{end}}"
	if err := envconfig.Usagef(Prefix, spec, tabs, row); err != nil {
		return fmt.Errorf("list the variables of %T: %w", spec, err)
	}
	return tabs.Flush()
}
