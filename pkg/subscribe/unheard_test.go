package subscribe_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/subscribe"
	"github.com/nats-io/nats.go"
)

// Invariant: an instance that learns of no version because of NATS reports in the error of Wait, in the warning of the status and in
// its log the server and the fault, and no credential.
func TestWhatIsWrongWithNATS(t *testing.T) {
	for name, tc := range map[string]struct {
		server func(t *testing.T) string // starts one and returns its URL
		want   []string                  // in the reports, with the host and port
	}{
		"nobody listens": {
			func(t *testing.T) string {
				return fmt.Sprintf("nats://user:secretword@127.0.0.1:%d", servertest.FreePort(t))
			},
			[]string{"connection refused", "check host and port"},
		},
		"a wrong password": {
			func(t *testing.T) string {
				s := servertest.NATS(t, servertest.NATSConfig(`authorization { user: user, password: other }`), servertest.NATSLogin("user", "other"))
				return strings.Replace(s.URL, "nats://", "nats://user:secretword@", 1)
			},
			[]string{"Authorization Violation", "check the user and password"},
		},
		"JetStream is off": {
			func(t *testing.T) string {
				port := servertest.FreePort(t)
				address := fmt.Sprintf("127.0.0.1:%d", port)
				servertest.New(t, servertest.Program{
					Name: "nats-server", Path: servertest.NATSPath(t), Args: []string{"-a", "127.0.0.1", "-p", fmt.Sprint(port)},
					Ready: func(context.Context) error {
						nc, err := nats.Connect("nats://" + address)
						if err == nil {
							nc.Close()
						}
						return err
					},
				}).Start()
				return "nats://user:secretword@" + address
			},
			[]string{"enable JetStream there (nats-server -js)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := tc.server(t)
			book := &logbook{}
			s := open(t, subscribe.Config{
				NATS: url, Relays: []string{fmt.Sprintf("http://127.0.0.1:%d", servertest.FreePort(t))}, Datasets: []string{"prices"},
				RetryInitial: 10 * time.Millisecond, RetryMax: 100 * time.Millisecond, Instance: "test", Log: book.logger(),
			})
			want := append(tc.want, url[strings.Index(url, "@")+1:])
			says := func(text string) bool {
				for _, part := range want {
					if !strings.Contains(text, part) {
						return false
					}
				}
				return true
			}
			await(t, "the warning of the status", func() bool { return says(warningOf(t, s, "prices")) })
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := s.Wait(ctx)
			if err == nil || !says(err.Error()) {
				t.Errorf("Wait returns %v, want that it names %q", err, want)
			}
			for _, part := range []string{want[0], want[len(want)-1]} {
				await(t, "the log to say "+part, func() bool { return book.has(part) })
			}
			for what, text := range map[string]string{"warning": warningOf(t, s, "prices"), "error": err.Error()} {
				if strings.Contains(text, "secretword") {
					t.Errorf("the %s shows the password: %s", what, text)
				}
				if strings.Contains(text, "\n") {
					t.Errorf("the %s has several lines: %q", what, text)
				}
			}
			if book.has("secretword") {
				t.Error("the log shows the password")
			}
		})
	}
}

// The warning of a dataset that waits for its first version, and is not blind yet, has the reason too.
func TestWarningWhileWaiting(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	await(t, "the dataset to wait", func() bool {
		w.beacon(time.Minute, map[string]uint64{})
		return statusOf(t, s, "prices").State == fleet.Waiting
	})
	w.nats.Stop()
	await(t, "the warning", func() bool { return strings.Contains(warningOf(t, s, "prices"), "disconnected") })
	if state := statusOf(t, s, "prices").State; state != fleet.Waiting {
		t.Errorf("the state is %s", state)
	}
}
