// Package redact hides the credentials of URLs, so that they can be logged, shown in a status and counted in metrics.
package redact

import (
	"net/url"
	"strings"
)

// hidden stands in the place of what is hidden.
const hidden = "xxxxx"

// notURL is shown for text that is no URL.
const notURL = "(not a URL)"

// URL returns u without credentials. It hides the whole user part, because a lone user name is a token to NATS and to many proxies.
// Of the query it shows the parameters that freshet's URLs have and that hold no secret. It shows no fragment. A credential that is
// not escaped reaches into the path, the query or the fragment of a parsed URL, and leaves an @ there or no host: of such a URL it
// shows the scheme alone. The URLs of files, dir and unix, have paths of any text.
func URL(u *url.URL) string {
	if u.Opaque != "" || u.Scheme == "" && u.Host == "" { // user:password@host without //, or no URL
		return notURL
	}
	file := u.Scheme == "dir" || u.Scheme == "unix"
	if *u == (url.URL{Scheme: u.Scheme}) {
		return u.Scheme + "://"
	}
	if !file && torn(u) {
		return u.Scheme + "://" + hidden
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	if u.User != nil {
		shown.User = url.User(hidden)
	}
	if u.RawQuery != "" {
		q := u.Query()
		for name, values := range q {
			switch {
			case name == "endpoint" && len(values) == 1:
				q.Set(name, Text(values[0]))
			case !harmless(name):
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
	if err != nil || u.Scheme == "" {
		return notURL
	}
	return URL(u)
}

// torn reports whether u looks like a URL with a credential that is not escaped. The URL of an endpoint in the query is one by itself.
func torn(u *url.URL) bool {
	q, err := url.ParseQuery(u.RawQuery)
	q.Del("endpoint")
	query, _ := url.QueryUnescape(q.Encode()) // what Encode returns can be decoded
	return err != nil || u.Host == "" || strings.Contains(u.Path+query+u.Fragment, "@")
}

// harmless reports whether a query parameter of that name holds no secret: those of stores, and of Redis.
func harmless(name string) bool {
	switch name {
	case "region", "path-style", "db", "protocol", "addr", "network":
		return true
	}
	for _, end := range []string{"_timeout", "_backoff", "_retries", "_size", "_conns", "_time", "_age", "_lifetime", "_delay", "_fifo"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}
