// Package redact hides the credentials of URLs, so that they can be logged, shown in a status and counted in metrics.
package redact

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// hidden replaces a credential.
const hidden = "xxxxx"

// notURL replaces text that is not a URL.
const notURL = "(not a URL)"

// URL returns u without credentials:
//   - The user is hidden with the password, because a user name without a password is a token for NATS and for many proxies.
//   - Of the query, only the values of known parameters without secrets remain.
//   - The fragment is removed.
//   - If u looks like a URL with a credential that is not escaped, only the scheme remains. Such a credential extends into the path, the
//     query or the fragment, so the URL has an @ there or no host. This does not apply to dir and unix URLs, whose paths may be any text.
func URL(u *url.URL) string {
	if u.Opaque != "" || u.Scheme == "" && u.Host == "" { // user:password@host without //, or not a URL
		return notURL
	}
	hasFilePath := u.Scheme == "dir" || u.Scheme == "unix"
	if *u == (url.URL{Scheme: u.Scheme}) {
		return u.Scheme + "://"
	}
	if !hasFilePath && unescaped(u) {
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
			case !public(name):
				q.Set(name, hidden)
			}
		}
		shown.RawQuery = q.Encode()
	}
	return shown.String()
}

// Text is URL for the text of one URL. Text that is not a URL may contain a credential, and is replaced.
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

// ErrUnescaped is returned for a URL with a credential that is not escaped. Its text is a predicate.
var ErrUnescaped = errors.New("has an @ after the host, as if its user, password or token had a /, ?, # or comma that is not escaped; " +
	"write / ? # , in a password or token as %2F %3F %23 %2C, and an @ of the path or query as %40")

// ErrList is returned for a list of URLs where one URL is wanted. Its text is a predicate.
var ErrList = errors.New("is a list of URLs; want one URL")

// CheckOne returns ErrList if a comma and another URL follow the URL in text, and otherwise the result of [CheckEscapes]. It accepts every
// URL with the scheme dir or unix: their paths may contain commas. Callers use it before they parse the URL: the error of a parser does
// not say what to escape.
func CheckOne(text string) error {
	parts := strings.Split(text, ",")
	if s := scheme(parts[0]); s != "dir" && s != "unix" && slices.ContainsFunc(parts[1:], func(part string) bool { return scheme(part) != "" }) {
		return ErrList
	}
	return CheckEscapes(text)
}

// CheckList returns ErrUnescaped if text, a list of URLs with commas between them, looks like it has a credential that is not escaped: if
// one of the URLs does, or if a comma may be a part of a credential. Then one of the URLs has a user, and an earlier one has neither user nor
// port. A URL of the list may omit its scheme.
func CheckList(text string) error {
	bare := 0 // the number of the first URL without user and port
	for i, part := range strings.Split(text, ",") {
		_, rest, ok := strings.Cut(part, "://")
		if !ok {
			rest = part
		}
		if err := CheckEscapes("nats://" + rest); err != nil {
			return fmt.Errorf("%w (server %d)", err, i+1)
		}
		host, _, _ := strings.Cut(strings.TrimSpace(rest), "/")
		switch hasUser := strings.Contains(host, "@"); {
		case hasUser && bare > 0:
			return fmt.Errorf("%w (if server %d has no user, add its port)", ErrUnescaped, bare)
		case !hasUser && bare == 0 && !hasPort(host):
			bare = i + 1
		}
	}
	return nil
}

// hasPort reports whether host ends with a colon and digits.
func hasPort(host string) bool {
	i := strings.LastIndexByte(host, ':')
	if i < 0 {
		return false
	}
	_, err := strconv.ParseUint(host[i+1:], 10, 16)
	return err == nil
}

// scheme returns the scheme of the URL at the beginning of text in lower case, or "" if there is none.
func scheme(text string) string {
	s, _, ok := strings.Cut(strings.TrimSpace(text), "://")
	s = strings.ToLower(s)
	if !ok || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		return ""
	}
	return s
}

// CheckEscapes returns ErrUnescaped if text looks like a URL with a credential that is not escaped. The beginning of such a credential
// would be taken for the host: it would be logged, and sent to name servers. The URL has an @ after its host. CheckEscapes accepts every
// URL with the scheme dir, unix or s3: their paths may contain an @.
func CheckEscapes(text string) error {
	scheme, rest, ok := strings.Cut(strings.TrimSpace(text), "://")
	if !ok || slices.Contains([]string{"dir", "unix", "s3"}, strings.ToLower(scheme)) {
		return nil
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 && strings.Contains(rest[i:], "@") {
		return ErrUnescaped
	}
	return nil
}

// unescaped reports whether u looks like a URL with a credential that is not escaped. It ignores the endpoint in the query, which is another
// URL.
func unescaped(u *url.URL) bool {
	q, err := url.ParseQuery(u.RawQuery)
	q.Del("endpoint")
	query, _ := url.QueryUnescape(q.Encode()) // what Encode returns can be decoded
	return err != nil || u.Host == "" || strings.Contains(u.Path+query+u.Fragment, "@")
}

// public reports whether the query parameter is a parameter of stores or of Redis that contains no secret.
func public(name string) bool {
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
