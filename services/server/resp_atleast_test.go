package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// A client that sends the token of a publish reads the published values, or gets an error with the reason.
func TestRespAtLeast(t *testing.T) {
	cfg := respConfig(t)
	cfg.WaitMax, cfg.MaxWaits = 20*time.Second, 1
	src := newSource("cities", "prices")
	srv, port := runRespOf(t, cfg, src)
	c := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:" + port, Password: respPassword, MaxRetries: -1, ReadTimeout: time.Minute,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	defer func() { _ = c.Close() }()
	atLeast := func(args ...any) string {
		t.Helper()
		reply, err := c.Do(t.Context(), append([]any{"FRESHET.ATLEAST"}, args...)...).Text()
		if err != nil {
			return err.Error()
		}
		return reply
	}
	for _, w := range []struct {
		args []any
		want string
	}{
		{[]any{tokenOf(5)}, "OK"},
		{[]any{tokenOf(3), 0}, "OK"},
		{[]any{tokenOf(6), 0}, "NOTYET after 0s: dataset cities: version 6 (060000000000) is not served yet"},
		{[]any{tokenOf(6), 10}, "NOTYET after 10ms: dataset cities: version 6 (060000000000) is not served yet"},
		{[]any{otherToken(4), 5000}, "OTHERHISTORY dataset cities: version 4"},
		{[]any{strings.Replace(tokenOf(5), "cities", "towns", 1)}, "NODATASET this instance does not have dataset"},
		{[]any{"cities/5"}, `ERR not a version token: "cities/5" has no @`},
		{[]any{"cities"}, `ERR not a version token: "cities" has no /`},
	} {
		if got := atLeast(w.args...); !strings.HasPrefix(got, w.want) {
			t.Errorf("%v: %s, want %s", w.args, got, w.want)
		}
	}

	// One connection waits, and reads what it waited for; a second one may not wait.
	pipe := c.Pipeline()
	waited := pipe.Do(t.Context(), "FRESHET.ATLEAST", tokenOf(6), 20_000)
	read := pipe.Get(t.Context(), "cities:a")
	done := make(chan error, 1)
	go func() {
		_, err := pipe.Exec(t.Context())
		done <- err
	}()
	for srv.Waiting() == 0 || !strings.Contains(c.Info(t.Context(), "clients").Val(), "blocked_clients:1") {
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
	}
	if got := atLeast(tokenOf(6), 1); !strings.HasPrefix(got, "NOTYET 1 lookups wait for versions, as many as FRESHET_MAX_WAITS allows") {
		t.Error(got)
	}
	if got := c.Get(t.Context(), "cities:a").Val(); got != `{"name":"A"}` {
		t.Errorf("before: %s", got)
	}
	src.serve(t, "cities", 6, map[string]string{"a": "6"})
	if err := <-done; err != nil || waited.Val() != "OK" || read.Val() != "6" {
		t.Errorf("%v, %v, %s", err, waited, read.Val())
	}
}
