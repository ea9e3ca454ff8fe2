package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/publisher"
)

// repeatAfter are the pauses before a request is repeated whose outcome is not known.
var repeatAfter = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

// requestVersions is how many of the newest versions are searched for a request's id; a publisher searches as many.
const requestVersions = 32

// send publishes what in holds. While it is not known whether that was done, it repeats the request with the same id. Standard input
// cannot be read again: send then looks for the version that has the id.
func (f *publishFlags) send(ctx context.Context, p Process, c *client.Client, name string, req client.PublishRequest, in inputFile) (publisher.Publication, error) {
	once := func() (publisher.Publication, error) {
		body, hide := in.progress(p.Err)
		defer hide()
		req.Body = body
		return c.Publish(ctx, name, req)
	}
	result, err := once()
	for _, pause := range repeatAfter {
		if !errors.Is(err, client.ErrUnknown) {
			return result, err
		}
		fmt.Fprintf(p.Err, "freshet: warning: %v; trying again\n", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return result, f.unknown(name, req, context.Cause(ctx))
		}
		if again, ok := in.again(); ok {
			in.Reader = again
			result, err = once()
			continue
		}
		if made, found := find(ctx, c, name, req.RequestID); found {
			return made, nil
		}
	}
	if !errors.Is(err, client.ErrUnknown) {
		return result, err
	}
	return result, f.unknown(name, req, err)
}

// unknown returns err with how to find out what became of the request.
func (f *publishFlags) unknown(name string, req client.PublishRequest, err error) error {
	return exit.With(exit.Of(err), fmt.Errorf("%w; it is not known whether it was published: it was if \"freshet versions %s --output json\" shows the request_id %s; "+
		"with --request-id %[3]s the same command publishes it once", err, name, req.RequestID))
}

// again returns the input from its beginning; ok is false if it cannot be read twice.
func (in inputFile) again() (r io.Reader, ok bool) {
	file, ok := in.Reader.(io.Seeker)
	if !ok || in.bytes < 0 {
		return nil, false
	}
	_, err := file.Seek(0, io.SeekStart)
	return in.Reader, err == nil
}

// find returns the version that the request with the id made.
func find(ctx context.Context, c *client.Client, name, id string) (publisher.Publication, bool) {
	versions, _, err := c.Versions(ctx, name, requestVersions)
	if err != nil {
		return publisher.Publication{}, false
	}
	for _, rec := range versions {
		if rec.RequestID == id {
			return publisher.Publication{
				Created: true, Repeated: true, Record: rec,
				Warnings: []string{"the publisher's answer was lost, and with it whether the version was announced; the publisher service completes it"},
			}, true
		}
	}
	return publisher.Publication{}, false
}
