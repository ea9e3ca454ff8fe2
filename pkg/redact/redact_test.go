package redact_test

import (
	"testing"

	"freshet.dev/pkg/redact"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "",
		"http://h:8481/a":                    "http://h:8481/a",
		"http://user:hunter2@h:8481/a":       "http://xxxxx@h:8481/a",
		"https://hunter2@h":                  "https://xxxxx@h",
		"nats://hunter2@h:4222":              "nats://xxxxx@h:4222",
		"redis://:hunter2@h":                 "redis://xxxxx@h",
		"http://h/?Access_Token=hunter2&a=1": "http://h/?Access_Token=xxxxx&a=1",
		"user:hunter2@h":                     "(not a URL)",
		"hunter2":                            "(not a URL)",
		"http://hunter2 @h":                  "(not a URL)",
	} {
		if got := redact.Text(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}
