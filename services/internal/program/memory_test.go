package program

import (
	"errors"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// unset removes an environment variable for the test.
func unset(t *testing.T, variable string) {
	t.Setenv(variable, "") // restores it
	if err := os.Unsetenv(variable); err != nil {
		t.Fatal(err)
	}
}

// GOMEMLIMIT is a share of what the container leaves the Go heap; that of the environment stays.
func TestLimitMemory(t *testing.T) {
	t.Cleanup(func() { debug.SetMemoryLimit(math.MaxInt64) })
	const gib = 1 << 30
	none := func() (uint64, error) { return 0, memlimit.ErrNoLimit }
	unreadable := errors.New("denied")
	for name, c := range map[string]struct {
		container   memlimit.Provider
		outside     int64
		given, auto string
		want        int64
		from        string
		err         error
	}{
		"container":       {memlimit.Limit(gib), 0, "", "", gib * 9 / 10, "container", nil},
		"with a cache":    {memlimit.Limit(gib), gib / 2, "", "", gib / 2 * 9 / 10, "container", nil},
		"share":           {memlimit.Limit(gib), 0, "", "0.5", gib / 2, "container", nil},
		"off":             {memlimit.Limit(gib), 0, "", "off", math.MaxInt64, "AUTOMEMLIMIT", nil},
		"given":           {memlimit.Limit(gib), 0, "300MiB", "", math.MaxInt64, "GOMEMLIMIT", nil}, // the runtime has read it earlier
		"little is left":  {memlimit.Limit(gib), gib - 100<<20, "", "", math.MaxInt64, "less than 128 MiB", nil},
		"no limit":        {none, 0, "", "", math.MaxInt64, "no memory limit", nil},
		"not a container": {func() (uint64, error) { return 0, memlimit.ErrNoCgroup }, 0, "", "", math.MaxInt64, "no memory limit", nil},
		"unreadable":      {func() (uint64, error) { return 0, unreadable }, 0, "", "", math.MaxInt64, "cannot be read", unreadable},
	} {
		t.Run(name, func(t *testing.T) {
			debug.SetMemoryLimit(math.MaxInt64)
			for variable, value := range map[string]string{"GOMEMLIMIT": c.given, "AUTOMEMLIMIT": c.auto} {
				if unset(t, variable); value != "" {
					t.Setenv(variable, value)
				}
			}
			l := limitMemory(c.container, c.outside)
			got := debug.SetMemoryLimit(-1)
			if l.memory != got || math.Abs(float64(got-c.want)) > 1 || !strings.Contains(l.from, c.from) || !errors.Is(l.err, c.err) {
				t.Errorf("limit %d (the runtime has %d), want %d; from %q, want %q; %v", l.memory, got, c.want, l.from, c.from, l.err)
			}
		})
	}
}
