package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"freshet.dev/services/publisher"
)

// Pins returns the pins of a dataset.
func (c *Client) Pins(ctx context.Context, name string) (publisher.DatasetPins, error) {
	return c.pins(ctx, request{method: http.MethodGet, path: pinsPath(name)})
}

// Pin pins instances to a version of a dataset. The error wraps [ErrUnknown] if the pin may have been set. With the same id, a further call
// sets no second one.
func (c *Client) Pin(ctx context.Context, name string, in publisher.PinRequest, id string) (publisher.DatasetPins, error) {
	return c.changePins(ctx, http.MethodPost, name, in, id)
}

// Unpin removes pins of a dataset. The error wraps [ErrUnknown] if they may have been removed.
func (c *Client) Unpin(ctx context.Context, name string, in publisher.PinRequest, id string) (publisher.DatasetPins, error) {
	return c.changePins(ctx, http.MethodDelete, name, in, id)
}

func (c *Client) changePins(ctx context.Context, method, name string, in publisher.PinRequest, id string) (publisher.DatasetPins, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return publisher.DatasetPins{}, err
	}
	return c.pins(ctx, request{method: method, path: pinsPath(name), contentType: "application/json", body: bytes.NewReader(body), id: id})
}

func pinsPath(name string) []string { return []string{"v1", "datasets", name, "pins"} }

func (c *Client) pins(ctx context.Context, r request) (answer publisher.DatasetPins, err error) {
	resp, err := c.call(ctx, r)
	if err != nil {
		return answer, err
	}
	if err = c.decode(resp, &answer); err != nil && r.id != "" {
		err = unknown(err)
	}
	return answer, err
}
