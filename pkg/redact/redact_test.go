package redact_test

import (
	"errors"
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

func TestCheckOne(t *testing.T) {
	for text, want := range map[string]error{
		"http://h":                            nil,
		"http://a,http://u:p@b":               redact.ErrList,
		"redis://h:1, REDIS://:hunter2@h:2":   redact.ErrList,
		"redis://:pa/ss@h":                    redact.ErrUnescaped,
		"redis://:pa,ss@h":                    nil,
		"redis://:pa,s/s@h":                   redact.ErrUnescaped,
		"s3://b/a,b?endpoint=http://h":        nil,
		"dir:///a,dir://b":                    nil,
		"unix:///a,unix://b":                  nil,
		"http://a,://b":                       nil,
		"http://h/a,b c://d":                  nil,
		"redis://user:hunter2,http://x@h:1/0": redact.ErrList,
	} {
		if err := redact.CheckOne(text); !errors.Is(err, want) {
			t.Errorf("%q: the error is %v, want %v", text, err, want)
		}
	}
}

func TestCheckList(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "",
		"nats://h":                             "",
		"nats://a,nats://b,c":                  "",
		"nats://u:p@a,nats://u:p@b, c":         "",
		"nats://h:4222,nats://[::1]:4222,u@b":  "",
		"nats://u:p@a,nats://h:1/,nats://u@b":  "",
		"nats://hunter2,hunter2@h":             "(if server 1 has no user, add its port)",
		"nats://u:hunter2,hunter2@h:4222":      "(if server 1 has no user, add its port)",
		"nats://a:1, nats://hunter2,hunter2@h": "(if server 2 has no user, add its port)",
		"nats://[::1],nats://u:p@h":            "(if server 1 has no user, add its port)",
		"nats://u:hunter2/x,hunter2@h":         "(if server 1 has no user, add its port)",
		"nats://u:hunter2,x/hunter2@h":         "(server 2)",
		"nats://u:hunter2/x@h":                 "(server 1)",
		"hunter2?x@h":                          "(server 1)",
	} {
		err := redact.CheckList(text)
		if (err == nil) != (want == "") || err != nil && (!errors.Is(err, redact.ErrUnescaped) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%q: the error is %v, want %q", text, err, want)
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
