package redact_test

import (
	"strings"
	"testing"

	"freshet.dev/pkg/redact"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "",
		"http://h:8481/a":                     "http://h:8481/a",
		"http://user:hunter2@h:8481/a":        "http://xxxxx@h:8481/a",
		"https://hunter2@h":                   "https://xxxxx@h",
		"nats://hunter2@h:4222":               "nats://xxxxx@h:4222",
		"redis://:hunter2@h":                  "redis://xxxxx@h",
		"http://h/?Access_Token=hunter2&db=1": "http://h/?Access_Token=xxxxx&db=1",
		"https://h/a?X-Amz-Signature=hunter2": "https://h/a?X-Amz-Signature=xxxxx",
		"redis://h/1?read_timeout=5s&pwd=a":   "redis://h/1?pwd=xxxxx&read_timeout=5s",
		"http://h/#hunter2":                   "http://h/",
		"nats:///hunter2@h":                   "nats://xxxxx",
		"nats://hun/ter2@h":                   "nats://xxxxx",
		"nats://hun/ter2%40h":                 "nats://xxxxx",
		"nats://hun?ter2@h":                   "nats://xxxxx",
		"nats://hun?ter2;@h":                  "nats://xxxxx",
		"redis://:12#hunter2@h":               "redis://xxxxx",
		"http:/user:hunter2@h":                "http://xxxxx",
		"http:":                               "http://",
		"nats://":                             "nats://",
		"s3://b/p?region=eu&path-style=true":  "s3://b/p?path-style=true&region=eu",
		"s3://b?endpoint=http://u:hunter2@h":  "s3://b?endpoint=http%3A%2F%2Fxxxxx%40h",
		"s3://b?endpoint=http://h:9000":       "s3://b?endpoint=http%3A%2F%2Fh%3A9000",
		"dir:///data/a@b":                     "dir:///data/a@b",
		"unix:///run/redis@1.sock?db=2":       "unix:///run/redis@1.sock?db=2",
		"user:hunter2@h":                      "(not a URL)",
		"hunter2":                             "(not a URL)",
		"http://hunter2 @h":                   "(not a URL)",
	} {
		if got := redact.Text(text); got != want {
			t.Errorf("%q is redacted to %q, want %q", text, got, want)
		}
	}
}

func TestCheckEscapes(t *testing.T) {
	for text, ok := range map[string]bool{
		"nats://hunter2/x@h:4222":           false,
		"nats://user:hunter2?x@h:4222":      false,
		" TLS://hunter2#x@h":                false,
		"http://hunter2/x@h":                false,
		"http://user:12/x@h":                false,
		"redis://:12#x@h":                   false,
		"http://h/a?b=c@d":                  false,
		"nats://hunter2@h:4222":             true,
		"nats://user:hunter2@h:4222/":       true,
		"nats://user:hunter2%2F%3F%23%40@h": true,
		"http://h/a%40b":                    true,
		"http://h/a?b=c":                    true,
		"dir:///data/a@b":                   true,
		"unix:///run/redis@1.sock":          true,
		"s3://bucket/a@b?endpoint=http://h": true,
		"h:4222":                            true,
		"":                                  true,
	} {
		if err := redact.CheckEscapes(text); (err == nil) != ok || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error is %v", text, err)
		}
	}
}
