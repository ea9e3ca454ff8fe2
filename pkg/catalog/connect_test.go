package catalog_test

import (
	"strings"
	"testing"

	"freshet.dev/pkg/catalog"
)

// The error of Connect contains no part of the URL, because a credential that is not escaped may be anywhere in it.
func TestURLsAreRefusedWithoutTheirText(t *testing.T) {
	for url, want := range map[string]string{
		"hunter2":                         "its scheme",
		"user:hunter2@h":                  "not a URL",
		"redis://:hun ter2@h:port":        "not a URL",
		"http://hunter2@h":                "its scheme",
		"redis://hun/ter2@h":              "%2F %3F %23",
		"redis://h/ter2/b@c":              "%2F %3F %23",
		"redis://:hun/ter2@h":             "%2F %3F %23",
		"redis://:hun?ter2@h":             "%2F %3F %23",
		"redis://h/hunter2":               "write / in a password as %2F",
		"redis://h:1,redis://:hunter2@g":  "it is a list of URLs; want one URL",
		"redis://h/1?read_timeout=hunter": "an option in its query",
		"redis://hunter2#b@h":             "%2F %3F %23",
		"unix://":                         "names no socket",
	} {
		_, err := catalog.Connect(url)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", url, err)
		}
		if err != nil && (strings.Contains(err.Error(), "ter2") || strings.Contains(err.Error(), "hunter")) {
			t.Errorf("the error repeats a part of the URL: %v", err)
		}
	}
	rdb, err := catalog.Connect("redis://:hun%2Fter2@h/1?read_timeout=5s") // the remedy that the message names
	if err != nil {
		t.Fatal(err)
	}
	if err := rdb.Close(); err != nil {
		t.Error(err)
	}
}
