package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"freshet.dev/services/publisher"
)

// Settings returns the settings of a dataset.
func (c *Client) Settings(ctx context.Context, name string) (publisher.DatasetSettings, error) {
	return c.settings(ctx, request{method: http.MethodGet, path: settingsPath(name)})
}

// ChangeSettings changes the settings of a dataset. The error wraps [ErrUnknown] if they may have been changed; with the same
// id, a further call makes no second change.
func (c *Client) ChangeSettings(ctx context.Context, name string, change publisher.SettingsChange, id string) (publisher.DatasetSettings, error) {
	body, err := json.Marshal(change)
	if err != nil {
		return publisher.DatasetSettings{}, err
	}
	return c.settings(ctx, request{
		method: http.MethodPatch, path: settingsPath(name), contentType: "application/json", body: bytes.NewReader(body), id: id,
	})
}

func settingsPath(name string) []string { return []string{"v1", "datasets", name, "settings"} }

func (c *Client) settings(ctx context.Context, r request) (answer publisher.DatasetSettings, err error) {
	resp, err := c.call(ctx, r)
	if err != nil {
		return answer, err
	}
	if err = c.decode(resp, &answer); err != nil && r.id != "" {
		err = unknown(err)
	}
	return answer, err
}
