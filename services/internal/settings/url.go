package settings

import (
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"freshet.dev/pkg/redact"
)

// URL is the address of a backend. It may hold credentials: printed, logged or encoded in any way it hides them.
// [URL.Reveal] returns it as it is.
type URL string

// Reveal returns the URL with its credentials, for those that connect to it and for no one else.
func (u URL) Reveal() string { return string(u) }

// String returns the URL without credentials. Several URLs may stand in one, with commas between them, as NATS has it.
func (u URL) String() string {
	parts := strings.Split(string(u), ",")
	if !natsScheme(parts[0]) {
		// One URL, whose commas are its own. But what looks like several is hidden as several, for it is shown when it is
		// refused.
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

// natsSchemes are those of NATS, which alone takes several URLs with commas between them.
var natsSchemes = []string{"nats", "tls", "ws", "wss"}

func natsScheme(u string) bool {
	scheme, _, ok := strings.Cut(strings.TrimSpace(u), "://")
	return ok && slices.Contains(natsSchemes, strings.ToLower(scheme))
}

// GoString is String, for %#v.
func (u URL) GoString() string { return fmt.Sprintf("%q", u.String()) }

// MarshalText is String, for JSON.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText takes any text: CheckURL says what is wrong with it.
func (u *URL) UnmarshalText(text []byte) error {
	*u = URL(strings.TrimSpace(string(text)))
	return nil
}

// LogValue is String, for slog.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// CheckURL says what is wrong with the value u of the variable; nil means that it is a URL of one of the schemes, or
// more with commas between them if it is NATS's, and that it names a host unless it names a file: dir or unix. The text
// never holds credentials.
func CheckURL(variable string, u URL, schemes ...string) error {
	want := strings.Join(schemes, ":// or ") + "://"
	if u == "" {
		return fmt.Errorf("%w: %s is not set: want a URL beginning with %s", ErrSettings, variable, want)
	}
	parts := []string{string(u)}
	if natsScheme(string(u)) {
		parts = strings.Split(string(u), ",")
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
