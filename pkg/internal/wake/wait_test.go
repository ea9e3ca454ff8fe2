package wake

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		began, s := time.Now(), New()
		passed := func() time.Duration { return time.Since(began) }
		if !Wait(ctx, time.Second, s) || passed() != time.Second {
			t.Errorf("without a signal, Wait returned after %s", passed())
		}
		s.Set()
		s.Set() // collapses with the first
		if !Wait(ctx, Forever, s) || passed() != time.Second {
			t.Errorf("with a signal, Wait returned after %s", passed())
		}
		if !Wait(ctx, time.Second, s) || passed() != 2*time.Second {
			t.Errorf("two signals before a Wait woke more than one: %s", passed())
		}
		time.AfterFunc(time.Second, cancel)
		if Wait(ctx, Forever, nil) || passed() != 3*time.Second {
			t.Errorf("Wait did not end with its context: %s", passed())
		}
	})
}
