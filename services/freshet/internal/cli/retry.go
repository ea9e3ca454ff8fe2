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
const requestVersions = 1000

// send publishes what in holds. Once the outcome of an attempt is not known, send repeats the request with the same id, until the
// publisher answers with the version or with 422. Every other failure after that says nothing about the earlier attempt, and becomes
// an error that says so. Standard input cannot be read again: send then looks for the version that has the id.
func (f *publishFlags) send(ctx context.Context, p Process, c *client.Client, name string, req client.PublishRequest, in inputFile) (publisher.Publication, error) {
	once := func() (publisher.Publication, error) {
		body, hide := in.progress(p.Err)
		defer hide()
		req.Body = body
		return c.Publish(ctx, name, req)
	}
	result, err := once()
	if !errors.Is(err, client.ErrUnknown) {
		return result, err
	}
	for _, pause := range repeatAfter {
		fmt.Fprintf(p.Err, "freshet: warning: %v; trying again\n", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return result, f.unknown(name, req, context.Cause(ctx))
		}
		again, ok := in.again()
		if !ok {
			if made, found := find(ctx, c, name, req.RequestID); found {
				return made, nil
			}
			continue
		}
		in.Reader = again
		result, err = once()
		switch {
		case err == nil, errors.Is(err, client.ErrReused):
			return result, err
		case !errors.Is(err, client.ErrUnknown) && !errors.Is(err, client.ErrUnavailable):
			return result, f.unknown(name, req, err)
		}
	}
	return result, f.unknown(name, req, err)
}

// unknown returns err, of the last attempt, with how to find out what became of the request.
func (f *publishFlags) unknown(name string, req client.PublishRequest, err error) error {
	code := exit.Failure // a code such as that of a conflict would say that nothing was published
	if exit.Of(err) == exit.Interrupted {
		code = exit.Interrupted
	}
	earlier := ""
	if !errors.Is(err, client.ErrUnknown) {
		earlier = "that ended the last attempt; of an earlier one "
	}
	return exit.With(code, fmt.Errorf("%w; %sit is not known whether it was published: it was if \"freshet versions %s --output json\" shows the request_id %s; "+
		"with --request-id %[4]s the same command publishes it once, within an hour and %[5]d versions", err, earlier, name, req.RequestID, requestVersions))
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
