package exit

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestOf(t *testing.T) {
	plain := errors.New("no luck")
	for _, c := range []struct {
		name string
		err  error
		want Code
	}{
		{"nil", nil, OK},
		{"nil with a code", With(Conflict, nil), OK},
		{"plain", plain, Failure},
		{"coded", With(Refused, plain), Refused},
		{"coded and wrapped", fmt.Errorf("publish: %w", Errorf(NotFound, "dataset %s", "prices")), NotFound},
		{"outermost code wins", With(TimedOut, With(NotFound, plain)), TimedOut},
		{"cancelled", fmt.Errorf("publish: %w", context.Canceled), Interrupted},
		{"cancelled with a code", With(Usage, context.Canceled), Usage},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Of(c.err); got != c.want {
				t.Errorf("Of(%v) = %d, want %d", c.err, got, c.want)
			}
		})
	}
}

func TestCodesAscend(t *testing.T) {
	for i := 1; i < len(Codes); i++ {
		if Codes[i-1].Code >= Codes[i].Code {
			t.Errorf("code %d stands before code %d", Codes[i-1].Code, Codes[i].Code)
		}
	}
	for _, c := range Codes {
		if c.Text == "" {
			t.Errorf("code %d has no meaning", c.Code)
		}
	}
}
