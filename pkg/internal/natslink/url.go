package natslink

import (
	"errors"
	"fmt"
	neturl "net/url"
	"slices"
	"strings"

	"freshet.dev/pkg/redact"
)

// CheckURL returns an error if text is not a list of URLs of NATS servers, separated by commas. Like the client, it assumes
// nats:// for a server without a scheme. The error contains no part of text that may be a password.
func CheckURL(text string) error {
	if strings.TrimSpace(text) == "" {
		return errors.New("is empty; give the URL of a NATS server, such as nats://host:4222")
	}
	if err := redact.CheckList(text); err != nil {
		return err
	}
	for i, server := range strings.Split(text, ",") {
		u, err := neturl.Parse(withScheme(server))
		switch {
		case err != nil || u.Host == "":
			return fmt.Errorf("has no URL as server %d; want nats://host:port", i+1)
		case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			return fmt.Errorf("has the scheme %.16q in server %d; want nats, tls, ws or wss", u.Scheme, i+1)
		}
	}
	return nil
}

// shownURL returns text without credentials.
func shownURL(text string) string {
	servers := strings.Split(text, ",")
	for i, server := range servers {
		servers[i] = redact.Text(withScheme(server))
	}
	return strings.Join(servers, ", ")
}

func withScheme(server string) string {
	server = strings.TrimSpace(server)
	if !strings.Contains(server, "://") {
		return "nats://" + server
	}
	return server
}
