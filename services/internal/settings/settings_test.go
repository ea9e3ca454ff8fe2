package settings_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"freshet.dev/services/internal/settings"
)

type config struct {
	Listen          string         `split_words:"true" default:":8480" desc:"address to listen on"`
	NatsURL         settings.URL   `split_words:"true" default:"nats://127.0.0.1:4222" desc:"where NATS is"`
	RelayCacheBytes settings.Bytes `split_words:"true" default:"256MiB" desc:"cache"`
	RelayCacheTTL   time.Duration  `split_words:"true" default:"15m" desc:"kept"`
	Relays          settings.List  `split_words:"true" desc:"relays"`
	LogLevel        slog.Level     `split_words:"true" default:"info" desc:"level"`
}

func TestLoad(t *testing.T) {
	t.Setenv("FRESHET_LISTEN", "")
	t.Setenv("FRESHET_RELAYS", " http://a:1 ,, http://b:2,")
	t.Setenv("FRESHET_RELAY_CACHE_BYTES", "1GiB")
	t.Setenv("FRESHET_LOG_LEVEL", "warn")
	t.Setenv("FRESHET_STORE_URL", "dir:///a-siblings")
	t.Setenv("FRESHET_RELAY_PORT", "tcp://10.0.0.1:8481")
	t.Setenv("FRESHET_PUBLISHER_PORT_8480_TCP_ADDR", "10.0.0.1")
	t.Setenv("FRESHET_SOMETHING_ELSE_ENTIRELY", "1")
	var c config
	warnings, err := settings.Load(&c)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%s %v %q %v %v", c.Listen, int64(c.RelayCacheBytes), c.Relays, c.LogLevel, c.RelayCacheTTL)
	if want := `:8480 1073741824 ["http://a:1" "http://b:2"] WARN 15m0s`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0], "FRESHET_SOMETHING_ELSE_ENTIRELY ") {
		t.Errorf("warnings are %q", warnings)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, c := range map[string]struct{ variable, value, want string }{
		"typing error": {"FRESHET_RELAY_CACHE_BYTE", "1", "did you mean FRESHET_RELAY_CACHE_BYTES?"},
		"two letters":  {"FRESHET_LITSEN", ":1", "did you mean FRESHET_LISTEN?"},
		"no bytes":     {"FRESHET_RELAY_CACHE_BYTES", "many-hunter2", "FRESHET_RELAY_CACHE_BYTES: want a number of bytes such as"},
		"no duration":  {"FRESHET_RELAY_CACHE_TTL", "15-hunter2", "FRESHET_RELAY_CACHE_TTL: want a duration such as"},
		"no level":     {"FRESHET_LOG_LEVEL", "hunter2", "FRESHET_LOG_LEVEL: want a log level"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(c.variable, c.value)
			_, err := settings.Load(new(config))
			if !errors.Is(err, settings.ErrSettings) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats the value: %v", err)
			}
		})
	}
}

func TestLoadRefusesAVariableThatKnownLacks(t *testing.T) {
	var c struct {
		Colour string `split_words:"true"`
	}
	if _, err := settings.Load(&c); err == nil || !strings.Contains(err.Error(), "FRESHET_COLOUR") {
		t.Errorf("error is %v", err)
	}
}

func TestURLHidesCredentials(t *testing.T) {
	for in, want := range map[settings.URL]string{
		"nats://user:hunter2@h:4222":                      "nats://xxxxx@h:4222",
		"nats://hunter2@a:4222, nats://hunter2@b:4222":    "nats://xxxxx@a:4222,nats://xxxxx@b:4222",
		"redis://:hunter2@h:6379/0":                       "redis://xxxxx@h:6379/0",
		"redis://h:6379?password=hunter2":                 "redis://h:6379?password=xxxxx",
		"s3://b/p?endpoint=http%3A%2F%2Fh&secret=hunter2": "s3://b/p?endpoint=http%3A%2F%2Fh&secret=xxxxx",
		"redis://:hunter2@[::1":                           "(not a URL)",
		"user:hunter2@host":                               "(not a URL)",
		"hunter2":                                         "(not a URL)",
		"dir:///data":                                     "dir:///data",
		"dir:///a,b":                                      "dir:///a,b",
		"redis://:hunter2,hunter2@h:6379":                 "redis://xxxxx@h:6379",
		"redis://h,redis://:hunter2@g:1":                  "redis://h,redis://xxxxx@g:1",
		"nats://h:1, user:hunter2@g:1":                    "nats://h:1,(not a URL)",
		"nats://h, user:hunter2@g:1":                      "nats://xxxxx",
		"TLS://hunter2,en@h":                              "tls://xxxxx",
		"nats://user:hunter2/word@h":                      "nats://xxxxx",
		"":                                                "",
	} {
		j, err := json.Marshal(map[string]any{"u": in})
		if err != nil {
			t.Fatal(err)
		}
		var logged bytes.Buffer
		slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "u", in)
		for _, text := range []string{
			fmt.Sprint(in), fmt.Sprintf("%s %q %v %+v %#v", in, in, in, struct{ U settings.URL }{in}, in), string(j), logged.String(),
			fmt.Sprint(settings.CheckURL("FRESHET_X", in, "http")),
		} {
			if strings.Contains(text, "hunter2") {
				t.Errorf("%s shows the secret", text)
			}
		}
		if in.String() != want {
			t.Errorf("got %s, want %s", in, want)
		}
	}
}

func TestCheckURL(t *testing.T) {
	for _, c := range []struct {
		u    settings.URL
		want string // empty: accepted
	}{
		{"redis://h:6379", ""},
		{"nats://h:4222, nats://user:pw@g:1", ""},
		{"dir:///a,b", ""},
		{"dir://a/b", ""},
		{"unix:///run/redis", ""},
		{"redis://h,redis://:pw@g:1", "FRESHET_REDIS_URL is redis://h,redis://xxxxx@g:1: want one URL"},
		{"nats://hunter2/x@h:4222", "FRESHET_REDIS_URL is nats://xxxxx: it has an @ after the host"},
		{"nats://h:4222,nats://hunter2?x@h", "FRESHET_REDIS_URL is nats://xxxxx: it has an @ after the host"},
		{"redis://hunter2#x@h", "write / ? # , in a password or token as %2F %3F %23 %2C"},
		{"nats://user:pass/word@h", "FRESHET_REDIS_URL is nats://xxxxx: it has an @ after the host"},
		{"nats://tok,en@h", "FRESHET_REDIS_URL is nats://xxxxx: it has an @ after the host"},
		{"nats://a,nats://u:p@b", "(if server 1 has no user, add its port)"},
		{"redis://u:pa#ss@h", "FRESHET_REDIS_URL is (not a URL): it has an @ after the host"},
		{"redis://h:1,redis://h:2", "FRESHET_REDIS_URL is redis://h:1,redis://h:2: want one URL"},
		{"redis://h:1,redis://:pw@h:2", "FRESHET_REDIS_URL is redis://h:1,redis://xxxxx@h:2: want one URL"},
		{"dir:///a@b", ""},
		{"unix:///run/a@b", ""},
		{"nats://", "FRESHET_REDIS_URL is nats://: no host follows nats://"},
		{"nats://user:pw@:4222", "no host follows nats://"},
		{"nats://h:4222,nats://", "no host follows nats://"},
		{"redis:///0", "no host follows redis://"},
		{"", "FRESHET_REDIS_URL is not set: want a URL beginning with redis:// or nats://"},
		{"localhost:6379", "FRESHET_REDIS_URL is (not a URL)"},
		{"http://h", "FRESHET_REDIS_URL is http://h: want a URL beginning with redis:// or nats://"},
	} {
		err := settings.CheckURL("FRESHET_REDIS_URL", c.u, "redis", "nats", "dir", "unix")
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q", c.u, err, c.want)
		}
	}
}

func TestUsageNamesEveryVariable(t *testing.T) {
	var b strings.Builder
	if err := settings.Usage(&b, new(config)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FRESHET_LISTEN ", "address to listen on (default :8480)", "FRESHET_NATS_URL ", "FRESHET_RELAY_CACHE_TTL "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

func TestCheckNames(t *testing.T) {
	own := []string{"FRESHET_NATS_URL"}
	warnings, err := settings.CheckNames(own, []string{"FRESHET_REDIS_URL=x", "FRESHET_QUITE_ANOTHER=x", "FRESHET_NATS_UL=", "PATH=x"})
	if err != nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0], "FRESHET_QUITE_ANOTHER ") {
		t.Errorf("%q, %v", warnings, err)
	}
	if _, err := settings.CheckNames(own, []string{"FRESHET_NATS_UL=x"}); !errors.Is(err, settings.ErrSettings) || !strings.Contains(err.Error(), "did you mean FRESHET_NATS_URL?") {
		t.Errorf("error is %v", err)
	}
}
