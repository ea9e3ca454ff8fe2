package natslink_test

import (
	"log/slog"
	"strings"
	"testing"

	"freshet.dev/pkg/internal/natslink"
)

// The error of a link that never had a connection says what to check, also before the second attempt, whose cause the client reports.
func TestErrSaysWhatToCheck(t *testing.T) {
	link, err := natslink.Dial("nats://127.0.0.1:1", "test", slog.New(slog.DiscardHandler)) // nothing listens on port 1
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	if err := link.Err(); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "check host") {
		t.Errorf("the error is %v", err)
	}
}

func TestCheckURLRefusesUnescapedCredentials(t *testing.T) {
	for _, url := range []string{
		"nats://hunter2/x@127.0.0.1:25222", "nats://h:4222,hunter2?x@h", "tls://user:12#hunter2@h",
		"nats://user:hunter2/word@h", "nats://hunter2,en@h", "hunter2,en@h:4222", "nats://h:4222,nats://user:hunter2,en@h",
	} {
		if err := natslink.CheckURL(url); err == nil || !strings.Contains(err.Error(), "%2F %3F %23") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error is %v", url, err)
		}
	}
	if err := natslink.CheckURL("nats://user:hunter%2F2@h:4222, h2"); err != nil {
		t.Error(err)
	}
}
