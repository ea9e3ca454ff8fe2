package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/servertest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// account returns the options of a server whose clients use an account with these JetStream limits.
func account(limits string) []servertest.NATSOption {
	return []servertest.NATSOption{
		servertest.NATSConfig(`accounts { A { jetstream { ` + limits + ` }, users [ { user: a, password: a } ] } }`),
		servertest.NATSLogin("a", "a"),
	}
}

// startLimited is start with an account with these JetStream limits.
func startLimited(t *testing.T, limits string, cfg events.Config) (context.Context, *servertest.NATSServer, *nats.Conn, *events.Log) {
	t.Helper()
	s := servertest.NATS(t, account(limits)...)
	nc := connect(t, s.URL, nats.UserInfo("a", "a"))
	return testContext(t), s, nc, newLog(t, nc, cfg)
}

// large returns a record whose event has some 18 KB.
func large(name string, version uint64) dataset.VersionRecord {
	rec := record(name, version)
	rec.Labels = map[string]string{}
	for i := range dataset.MaxLabels {
		rec.Labels[fmt.Sprintf("%0*d", dataset.MaxLabelBytes, i)] = strings.Repeat("v", dataset.MaxLabelBytes)
	}
	return rec
}

// refusal checks that err, of an announcement, is an ErrStream with all of the texts.
func refusal(t *testing.T, err error, texts ...string) {
	t.Helper()
	if !errors.Is(err, events.ErrStream) {
		t.Fatalf("want an ErrStream, got: %v", err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error lacks %q: %v", text, err)
		}
	}
}

func TestLogWorksInAnAccountThatRequiresMaxBytes(t *testing.T) {
	for name, tc := range map[string]struct {
		limits string
		most   int64
	}{
		"no other limit":           {"max_bytes_required: true", 256 << 20},
		"small account":            {"max_bytes_required: true, max_file: 9MB", 8 << 20},
		"small streams":            {"max_bytes_required: true, disk_max_stream_bytes: 3MB", 2 << 20},
		"smaller than the least":   {"max_bytes_required: true, max_file: 1MB", 1 << 20},
		"limits that are no limit": {"max_file: 9MB, disk_max_stream_bytes: 3MB", -1},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, _, nc, log := startLimited(t, tc.limits, events.Config{})
			announce(t, ctx, log, "cities", upTo(20)...)
			for range 2 {
				if err := log.Ensure(ctx); err != nil {
					t.Fatal(err)
				}
			}
			// Another publisher does not know yet that the account requires max_bytes.
			if err := newLog(t, nc, events.Config{}).Ensure(ctx); err != nil {
				t.Fatal(err)
			}
			if got := history(t, ctx, log, "cities"); !slices.Equal(got, upTo(20)) {
				t.Errorf("the log has %v", got)
			}
			if cfg := stream(t, ctx, nc).CachedInfo().Config; cfg.MaxBytes != tc.most {
				t.Errorf("max_bytes is %d, want %d", cfg.MaxBytes, tc.most)
			}
		})
	}
}

func TestFullLogGivesUpOldEventsAndKeepsTheNewest(t *testing.T) {
	for name, tc := range map[string]struct {
		limits string
		cfg    events.Config
		begin  *jetstream.StreamConfig
	}{
		"required":     {"max_bytes_required: true, disk_max_stream_bytes: 1MB, max_file: 1GB", events.Config{}, nil},
		"of a setting": {"max_file: 1GB", events.Config{MaxBytes: 1 << 20}, nil},
		"of an operator": {
			"max_bytes_required: true, max_file: 1GB",
			events.Config{},
			&jetstream.StreamConfig{MaxBytes: 1 << 20, Discard: jetstream.DiscardNew, MaxMsgSize: 1000, MaxMsgs: 20},
		},
		"of the account": {"max_file: 1MB", events.Config{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, _, nc, log := startLimited(t, tc.limits, tc.cfg)
			if tc.begin != nil {
				tc.begin.Name, tc.begin.Subjects = "FRESHET", []string{"freshet.v1.versions.>"}
				must(api(t, nc).CreateStream(ctx, *tc.begin))(t)
			}
			if err := log.Announce(ctx, large("seldom", 1)); err != nil {
				t.Fatal(err)
			}
			const versions = 150
			for v := range uint64(versions) {
				if err := log.Announce(ctx, large("often", v+1)); err != nil {
					t.Fatalf("version %d: %v", v+1, err)
				}
			}
			if got := history(t, ctx, log, "seldom"); len(got) != 1 {
				t.Errorf("the log has %d events of the dataset that seldom changes", len(got))
			}
			got := history(t, ctx, log, "often")
			if len(got) < 5 || got[len(got)-1] != versions || got[0] != versions-uint64(len(got))+1 {
				t.Errorf("the log has the versions %v of the other", got)
			}
		})
	}
}

func TestFullLogNamesTheRemedy(t *testing.T) {
	ctx, _, nc, log := startLimited(t, "max_file: 1GB", events.Config{MaxBytes: 1 << 20})
	var err error
	n := uint64(0)
	for ; err == nil; n++ {
		err = log.Announce(ctx, large(fmt.Sprint("d", n), 1))
	}
	refusal(t, err, "maximum bytes exceeded", fmt.Sprintf("the newest events of %d datasets", n-1), "raise FRESHET_NATS_MAX_BYTES")
	if n < 20 {
		t.Errorf("%d events fill the log", n)
	}
	larger := newLog(t, nc, events.Config{MaxBytes: 2 << 20})
	if err := larger.Announce(ctx, large(fmt.Sprint("d", n-1), 1)); err != nil {
		t.Error(err)
	}
	if cfg := stream(t, ctx, nc).CachedInfo().Config; cfg.MaxBytes != 2<<20 {
		t.Errorf("max_bytes is %d", cfg.MaxBytes)
	}
}

func TestFullLogOfAnOperatorNamesTheRemedy(t *testing.T) {
	ctx, _, nc, log := startLimited(t, "max_bytes_required: true, max_file: 1GB", events.Config{})
	must(api(t, nc).CreateStream(ctx, jetstream.StreamConfig{Name: "FRESHET", Subjects: []string{"freshet.v1.versions.>"}, MaxBytes: 20_000}))(t)
	if err := log.Announce(ctx, large("a", 1)); err != nil {
		t.Fatal(err)
	}
	refusal(t, log.Announce(ctx, large("b", 1)), "set FRESHET_NATS_MAX_BYTES to more than the max_bytes of stream FRESHET, 20000")
	if err := newLog(t, nc, events.Config{MaxBytes: 60_000}).Announce(ctx, large("b", 1)); err != nil {
		t.Error(err)
	}
}

func TestFullAccountNamesTheRemedy(t *testing.T) {
	tooMuch := events.Config{MaxBytes: 512 << 20}
	t.Run("setting above the account", func(t *testing.T) {
		ctx, s, nc, log := startLimited(t, "max_file: 64MB", tooMuch)
		refusal(t, log.Ensure(ctx), "FRESHET_NATS_MAX_BYTES=536870912", "insufficient storage", "lower that setting", "max_file")
		if err := newLog(t, nc, events.Config{MaxBytes: 16 << 20}).Announce(ctx, record("cities", 1)); err != nil {
			t.Error("with a lower setting: ", err)
		}
		s.Reconfigure(account("max_file: 1GB")...)
		s.Restart()
		if err := log.Announce(ctx, record("cities", 2)); err != nil {
			t.Error("with a larger account: ", err)
		}
	})
	t.Run("setting above the account's streams", func(t *testing.T) {
		ctx, s, _, log := startLimited(t, "disk_max_stream_bytes: 64MB", tooMuch)
		refusal(t, log.Ensure(ctx), "FRESHET_NATS_MAX_BYTES=536870912", "lower that setting", "disk_max_stream_bytes")
		s.Reconfigure(account("disk_max_stream_bytes: 1GB")...)
		s.Restart()
		if err := log.Announce(ctx, record("cities", 1)); err != nil {
			t.Error("with larger streams: ", err)
		}
	})
	t.Run("account full of another stream's reservation", func(t *testing.T) {
		ctx, _, nc, log := startLimited(t, "max_bytes_required: true, max_file: 64MB", events.Config{})
		must(api(t, nc).CreateStream(ctx, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"x"}, MaxBytes: 64 << 20}))(t)
		refusal(t, log.Announce(ctx, record("cities", 1)), "max_file", "delete streams that it does not need")
		if err := api(t, nc).DeleteStream(ctx, "OTHER"); err != nil {
			t.Fatal(err)
		}
		announce(t, ctx, log, "cities", 1)
	})
	t.Run("account full of another stream's messages", func(t *testing.T) {
		ctx, s, nc, log := startLimited(t, "max_file: 1MB", events.Config{})
		must(api(t, nc).CreateStream(ctx, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"x"}}))(t)
		for err := error(nil); err == nil; {
			_, err = api(t, nc).Publish(ctx, "x", make([]byte, 10_000))
		}
		refusal(t, log.Announce(ctx, large("cities", 1)), "raise max_file of the JetStream account and of the server", "delete streams")
		s.Reconfigure(account("max_file: 1GB")...)
		s.Restart()
		if err := log.Announce(ctx, large("cities", 1)); err != nil {
			t.Error("with a larger account: ", err)
		}
	})
	t.Run("no stream left", func(t *testing.T) {
		ctx, s, nc, log := startLimited(t, "max_streams: 1", events.Config{})
		must(api(t, nc).CreateStream(ctx, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"x"}}))(t)
		refusal(t, log.Announce(ctx, record("cities", 1)), "raise max_streams of the JetStream account, or delete a stream")
		s.Reconfigure(account("max_streams: 2")...)
		s.Restart()
		if err := log.Announce(ctx, record("cities", 1)); err != nil {
			t.Error("with another stream: ", err)
		}
	})
}

func TestStreamsOfAnOperatorWithTheWrongSubjects(t *testing.T) {
	ours := "freshet.v1.versions.>"
	t.Run("of the log's name", func(t *testing.T) {
		ctx, _, nc, log := start(t)
		cfg := jetstream.StreamConfig{Name: "FRESHET", Subjects: []string{"orders.>"}}
		must(api(t, nc).CreateStream(ctx, cfg))(t)
		refusal(t, log.Announce(ctx, record("cities", 1)), `the subjects of stream FRESHET are ["orders.>"] and not `+ours, "set them to "+ours, "or delete that stream")
		cfg.Subjects = []string{ours}
		must(api(t, nc).UpdateStream(ctx, cfg))(t)
		announce(t, ctx, log, "cities", 1)

		cfg.Subjects = []string{"orders.>"}
		must(api(t, nc).UpdateStream(ctx, cfg))(t)
		refusal(t, log.Announce(ctx, record("cities", 2)), "or delete that stream")
		if err := api(t, nc).DeleteStream(ctx, "FRESHET"); err != nil {
			t.Fatal(err)
		}
		announce(t, ctx, log, "cities", 2)
	})
	t.Run("of another name", func(t *testing.T) {
		ctx, _, nc, log := start(t)
		cfg := jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>", "freshet.v1.>"}}
		must(api(t, nc).CreateStream(ctx, cfg))(t)
		refusal(t, log.Announce(ctx, record("cities", 1)), "stream ORDERS takes "+ours+" too", "remove that subject from it, or delete it")
		cfg.Subjects = cfg.Subjects[:1]
		must(api(t, nc).UpdateStream(ctx, cfg))(t)
		announce(t, ctx, log, "cities", 1)
	})
}

func TestAnnounceRestoresSettingsThatAnOperatorChanged(t *testing.T) {
	ctx, _, nc, log := start(t)
	announce(t, ctx, log, "cities", 1)
	cfg := stream(t, ctx, nc).CachedInfo().Config
	for i, change := range []func(*jetstream.StreamConfig){
		func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100 },
		func(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 2000, jetstream.DiscardNew },
		func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 2, jetstream.DiscardNew },
		func(c *jetstream.StreamConfig) {
			c.MaxMsgsPerSubject, c.Discard, c.DiscardNewPerSubject = 3, jetstream.DiscardNew, true
		},
	} {
		changed := cfg
		change(&changed)
		must(api(t, nc).UpdateStream(ctx, changed))(t)
		for range 2 {
			if err := log.Announce(ctx, record("cities", 2*uint64(i)+2)); err != nil {
				t.Errorf("change %d: %v", i, err)
			}
			if err := log.Announce(ctx, record("cities", 2*uint64(i)+3)); err != nil {
				t.Errorf("change %d: %v", i, err)
			}
		}
	}
}
