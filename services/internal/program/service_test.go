package program_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"freshet.dev/services/internal/program"
)

// steps records its calls, and fails the steps in fail.
type steps struct {
	done []string
	fail map[string]error
}

func (s *steps) step(name string) error {
	s.done = append(s.done, name)
	return s.fail[name]
}

func (s *steps) Close() error              { return s.step("close") }
func (s *steps) Run(context.Context) error { return s.step("run") }

func TestService(t *testing.T) {
	broken, stuck := errors.New("broken"), errors.New("stuck")
	for name, c := range map[string]struct {
		fail map[string]error
		done []string
		errs []error
	}{
		"stopped":            {nil, []string{"open", "new", "run", "close"}, nil},
		"cannot open":        {map[string]error{"open": broken}, []string{"open"}, []error{broken}},
		"cannot be made":     {map[string]error{"new": broken, "close": stuck}, []string{"open", "new", "close"}, []error{broken, stuck}},
		"fails":              {map[string]error{"run": broken, "close": stuck}, []string{"open", "new", "run", "close"}, []error{broken, stuck}},
		"cannot be released": {map[string]error{"close": stuck}, []string{"open", "new", "run", "close"}, []error{stuck}},
	} {
		t.Run(name, func(t *testing.T) {
			var cfg config
			s := &steps{fail: c.fail}
			run := program.Service(&cfg, func(_ context.Context, cfg config, _ *slog.Logger) (*steps, error) {
				if cfg.Listen != ":7" {
					t.Errorf("open is given %+v", cfg)
				}
				return s, s.step("open")
			}, func(cfg config, deps *steps) (*steps, error) {
				if cfg.Listen != ":7" || deps != s {
					t.Errorf("new is given %+v", cfg)
				}
				return s, s.step("new")
			})
			cfg.Listen = ":7" // Main loads the settings after Service returned
			err := run(t.Context(), slog.New(slog.DiscardHandler))
			if !slices.Equal(s.done, c.done) || (err == nil) != (c.errs == nil) {
				t.Errorf("done: %q; error is %v", s.done, err)
			}
			for _, want := range c.errs {
				if !errors.Is(err, want) {
					t.Errorf("error is %v, want %v", err, want)
				}
			}
		})
	}
}
