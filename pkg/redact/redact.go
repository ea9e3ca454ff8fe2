// Package redact hides the credentials of URLs, so that they can be logged, shown in a status and counted in metrics.
package redact

import (
	"net/url"
	"strings"
)

// hidden stands in the place of what is hidden.
const hidden = "xxxxx"

// URL returns u without credentials. The whole user part is hidden, because a lone user name is a token to NATS and to many proxies,
// and so are the values of query parameters whose names tell of a secret.
func URL(u *url.URL) string {
	shown := *u
	if shown.User != nil {
		shown.User = url.User(hidden)
	}
	if shown.Opaque != "" { // user:password@host without //
		shown.Opaque = hidden
	}
	if shown.RawQuery != "" {
		q := shown.Query()
		for name := range q {
			if secretName(name) {
				q.Set(name, hidden)
			}
		}
		shown.RawQuery = q.Encode()
	}
	return shown.String()
}

// Text is URL for the text of one URL. Text that is no URL is not shown at all: it may hold a credential.
func Text(s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.Scheme == "" { // user:password@host without //, or text that is no URL
		return "(not a URL)"
	}
	return URL(u)
}

func secretName(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"pass", "secret", "token", "key", "cred"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
