package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"freshet.dev/pkg/redact"
)

// URL is the address of a backend and may hold credentials. Printing, logging and encoding hide the credentials; [URL.Reveal]
// returns them.
type URL string

// Reveal returns the URL with its credentials, for connecting only.
func (u URL) Reveal() string { return string(u) }

// String returns the URL without credentials. A URL of NATS may be a list of URLs, separated by commas.
func (u URL) String() string {
	parts := strings.Split(string(u), ",")
	switch isNATS := natsScheme(parts[0]); {
	case isNATS && redact.CheckList(string(u)) != nil: // any part may be of a credential
		scheme, _, _ := strings.Cut(strings.TrimSpace(parts[0]), "://")
		return strings.ToLower(scheme) + "://xxxxx"
	case !isNATS:
		// One URL, which may contain commas. A text that looks like several URLs is redacted as several: an error shows it when
		// CheckURL refuses it.
		for i := len(parts) - 1; i > 0; i-- {
			if !strings.Contains(parts[i], "://") {
				parts[i-1] += "," + parts[i]
				parts = slices.Delete(parts, i, i+1)
			}
		}
	}
	for i, p := range parts {
		parts[i] = redact.Text(strings.TrimSpace(p))
	}
	return strings.Join(parts, ",")
}

// natsSchemes are the schemes of NATS URLs. Only NATS takes a list of URLs.
var natsSchemes = []string{"nats", "tls", "ws", "wss"}

func natsScheme(u string) bool {
	scheme, _, ok := strings.Cut(strings.TrimSpace(u), "://")
	return ok && slices.Contains(natsSchemes, strings.ToLower(scheme))
}

// GoString is String, for %#v.
func (u URL) GoString() string { return fmt.Sprintf("%q", u.String()) }

// MarshalText is String, for JSON.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText accepts any text; [CheckURL] validates it.
func (u *URL) UnmarshalText(text []byte) error {
	*u = URL(strings.TrimSpace(string(text)))
	return nil
}

// LogValue is String, for slog.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// CheckURL returns an error unless u, the value of the variable, is a URL with one of the schemes. A NATS value may be a list,
// separated by commas. The URL must name a host, except with the schemes dir and unix. The error's text has no credentials.
func CheckURL(variable string, u URL, schemes ...string) error {
	want := strings.Join(schemes, ":// or ") + "://"
	if u == "" {
		return fmt.Errorf("%w: %s is not set: want a URL beginning with %s", ErrSettings, variable, want)
	}
	parts, check := []string{string(u)}, redact.CheckOne
	if natsScheme(string(u)) {
		parts, check = strings.Split(string(u), ","), redact.CheckList
	}
	// The checks precede the parser: a password with a slash makes a port that it refuses.
	switch err := check(string(u)); {
	case errors.Is(err, redact.ErrList):
		return fmt.Errorf("%w: %s is %s: want one URL, of one host", ErrSettings, variable, u)
	case err != nil:
		return fmt.Errorf("%w: %s is %s: it %w", ErrSettings, variable, u, err)
	}
	for _, p := range parts {
		p = strings.TrimSpace(p)
		parsed, err := url.Parse(p)
		switch {
		case err != nil || !slices.Contains(schemes, parsed.Scheme):
			return fmt.Errorf("%w: %s is %s: want a URL beginning with %s", ErrSettings, variable, URL(p), want)
		case parsed.Scheme == "dir" || parsed.Scheme == "unix":
		case parsed.Hostname() == "":
			return fmt.Errorf("%w: %s is %s: no host follows %s://", ErrSettings, variable, URL(p), parsed.Scheme)
		case strings.Contains(parsed.Host, ","):
			return fmt.Errorf("%w: %s is %s: want one URL, of one host", ErrSettings, variable, URL(p))
		}
	}
	return nil
}
