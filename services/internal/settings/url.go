package settings

import (
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
)

// URL is the address of a backend. It may hold credentials: printed, logged or encoded in any way it hides them.
// [URL.Reveal] returns it as it is.
type URL string

// Reveal returns the URL with its credentials, for those that connect to it and for no one else.
func (u URL) Reveal() string { return string(u) }

// String returns the URL without credentials. Several URLs may stand in one, with commas between them, as NATS has it.
func (u URL) String() string {
	parts := strings.Split(string(u), ",")
	for i, p := range parts {
		parts[i] = redact(strings.TrimSpace(p))
	}
	return strings.Join(parts, ",")
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

// redact hides the whole user part, because a lone user name is a token to NATS, and query values that may be secrets.
func redact(s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil {
		return "(not a URL)"
	}
	if u.Opaque != "" || u.Scheme == "" { // user:password@host without //, or text that is no URL
		return "(not a URL)"
	}
	if u.User != nil {
		u.User = url.User("xxxxx")
	}
	if u.RawQuery != "" {
		q := u.Query()
		for name := range q {
			if secretName(name) {
				q.Set(name, "xxxxx")
			}
		}
		u.RawQuery = q.Encode()
	}
	return u.String()
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

// CheckURL says what is wrong with the value u of the variable; nil means that it is one URL, or more with commas
// between them, of one of the schemes. The text never holds credentials.
func CheckURL(variable string, u URL, schemes ...string) error {
	want := strings.Join(schemes, ":// or ") + "://"
	if u == "" {
		return fmt.Errorf("%w: %s is not set: want a URL beginning with %s", ErrSettings, variable, want)
	}
	for p := range strings.SplitSeq(string(u), ",") {
		parsed, err := url.Parse(strings.TrimSpace(p))
		if err != nil || !slices.Contains(schemes, parsed.Scheme) {
			return fmt.Errorf("%w: %s is %s: want a URL beginning with %s", ErrSettings, variable, redact(strings.TrimSpace(p)), want)
		}
	}
	return nil
}
