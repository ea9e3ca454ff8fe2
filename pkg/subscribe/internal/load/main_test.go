package load

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"freshet.dev/pkg/subscribe/internal/cachedir"
)

func TestMain(m *testing.M) {
	cachedir.DefaultPatience = 30 * time.Second // the disk of a busy machine may pause
	goleak.VerifyTestMain(m)
}
