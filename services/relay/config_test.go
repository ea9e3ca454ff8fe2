package relay_test

import (
	"errors"
	"strings"
	"testing"

	"freshet.dev/services/internal/settings"
)

// The error of a wrong setting names the variable.
func TestSocketSettings(t *testing.T) {
	cfg := config()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	cfg.RelayCongestion, cfg.RelaySendBytes = "no-such-control", 1<<10
	err := cfg.Validate()
	if !errors.Is(err, settings.ErrSettings) {
		t.Fatalf("error is %v", err)
	}
	for _, want := range []string{"FRESHET_RELAY_CONGESTION", "no-such-control", "FRESHET_RELAY_SEND_BYTES"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}
