package program_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"freshet.dev/services/internal/build"
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
		"version":         {[]string{"--version"}, "", "", nil, program.OK, fmt.Sprintf("freshet-test %s\n", build.Read()), ""},
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

// backends has the variables of a store and of NATS.
type backends struct {
	StoreURL settings.URL `split_words:"true"`
	NatsURL  settings.URL `split_words:"true"`
}

func (*backends) Validate() error { return nil }

// TestHelpNamesBackends shows what S3 and NATS require, to the programs that use them.
func TestHelpNamesBackends(t *testing.T) {
	help := func(cfg program.Config) string {
		t.Helper()
		var stdout strings.Builder
		p := program.Program{Name: "freshet-test", Summary: "tests.", Config: cfg}
		if code := p.Main(t.Context(), []string{"--help"}, &stdout, io.Discard); code != program.OK {
			t.Fatalf("exit code %d", code)
		}
		return stdout.String()
	}
	text := help(new(backends))
	for _, want := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_REGION", "endpoint", "path-style", "s3:GetObject", "must support conditional writes",
		"JetStream", "nats://user:password@host:port", "FRESHET with", "FRESHET_STAGING", "10,000 events", "FRESHET_NATS_MAX_BYTES",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the help lacks %q:\n%s", want, text)
		}
	}
	if text := help(new(config)); strings.Contains(text, "S3") || strings.Contains(text, "NATS") {
		t.Errorf("a program without a backend shows\n%s", text)
	}
}
