package program_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"freshet.dev/services/internal/program"
	"freshet.dev/services/internal/settings"
)

type config struct {
	Listen   string     `split_words:"true" default:":1" desc:"the address"`
	LogLevel slog.Level `split_words:"true" default:"info" desc:"the level"`
}

func (c *config) Validate() error { return settings.CheckListen(c.Listen) }

func TestExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		args           []string
		listen         string
		unknown        string
		run            error
		code           int
		stdout, stderr string
	}{
		"stopped":         {nil, "", "", nil, program.OK, "", ""},
		"help":            {[]string{"--help"}, "", "", nil, program.OK, "FRESHET_LISTEN     the address (default :1)", ""},
		"version":         {[]string{"--version"}, "", "", nil, program.OK, "freshet-test ", ""},
		"argument":        {[]string{"x"}, "", "", nil, program.BadUsage, "", "takes no arguments"},
		"flag":            {[]string{"--listen"}, "", "", nil, program.BadUsage, "", "flag provided but not defined"},
		"bad setting":     {nil, "nowhere", "", nil, program.BadUsage, "", "FRESHET_LISTEN is \"nowhere\""},
		"unknown setting": {nil, "", "FRESHET_LISTEM", nil, program.BadUsage, "", "did you mean FRESHET_LISTEN?"},
		"odd setting":     {nil, "", "FRESHET_QUITE_ANOTHER", nil, program.OK, "", `"level":"WARN","msg":"FRESHET_QUITE_ANOTHER is not a setting`},
		"failed":          {nil, "", "", errors.New("broken"), program.Failed, "", `"msg":"failed","service":"freshet-test","error":"broken"`},
		"found bad later": {nil, "", "", fmt.Errorf("open: %w", settings.ErrSettings), program.BadUsage, "", `"error":"open: bad settings"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("FRESHET_LISTEN", c.listen)
			if c.unknown != "" {
				t.Setenv(c.unknown, "1")
			}
			var cfg config
			var stdout, stderr strings.Builder
			ran := false
			code := program.Program{
				Name: "freshet-test", Summary: "tests.", Config: &cfg,
				Level: func() slog.Level { return cfg.LogLevel },
				Run:   func(context.Context, *slog.Logger) error { ran = true; return c.run },
			}.Main(t.Context(), c.args, &stdout, &stderr)
			if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
			}
			if wantRun := c.code == program.OK && c.args == nil || c.run != nil; ran != wantRun {
				t.Errorf("it ran: %v", ran)
			}
		})
	}
}
