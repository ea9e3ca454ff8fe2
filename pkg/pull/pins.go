package pull

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
)

// errOtherStore is the error of an answer about the pins in another store than the wanted one.
var errOtherStore = errors.New("the relay reads another store")

// PinsInOrder queries one relay after another for the pins of the dataset, until accept accepts an answer. The Newest that accept gets has
// no Record. A relay of a release before pins answers that there are none (none is true): it does not know. The error is an *[Error], or
// ctx's; it is [ErrNotFound] if every relay answered so.
func (c *Client) PinsInOrder(ctx context.Context, name string, accept Accept) (pins dataset.Pins, err error) {
	if err := dataset.CheckName(name); err != nil {
		return pins, fmt.Errorf("pull the pins: %w", err)
	}
	err = c.inOrder(ctx, "the pins of "+name, []byte(name), "/v1/datasets/"+name+"/pins", accept, func(r *relays.Relay, s *stream, n *Newest) error {
		return s.decodeUpTo(dataset.MaxPinsBytes, func(text []byte) (err error) {
			if pins, err = dataset.DecodePins(text, name); err == nil {
				c.served(r)
			}
			return err
		})
	})
	if err != nil {
		return dataset.Pins{}, err
	}
	return pins, nil
}

// Pins returns the pins of the dataset from the first relay that reads the store own; a zero own accepts every store. The errors are those
// of PinsInOrder.
func (c *Client) Pins(ctx context.Context, name string, own dataset.StoreID) (dataset.Pins, error) {
	return c.PinsInOrder(ctx, name, func(n Newest, none bool) error {
		if !none && !own.IsZero() && n.Store != own {
			return fmt.Errorf("%w, %s", errOtherStore, n.Store)
		}
		return nil
	})
}
