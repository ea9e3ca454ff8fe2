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

// repeatAfter are the pauses before the retries of a request whose outcome is unknown.
var repeatAfter = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

// requestVersions is how many of the newest versions send searches for a request id. A publisher searches the same number.
const requestVersions = 1000

// send publishes the input. If the outcome of an attempt is unknown, send retries with the same request id until the publisher
// answers with the version or with 422. Any other failure of a retry leaves the outcome of the earlier attempt unknown, and the
// error says so. Standard input cannot be read again: send then searches the versions for the request id.
func (f *publishFlags) send(ctx context.Context, p Process, c *client.Client, name string, req client.PublishRequest, in inputFile) (publisher.Publication, error) {
	once := func() (publisher.Publication, error) {
		body, hide := in.progress(p.Err, commitTick)
		defer hide()
		req.Body = body
		return c.Publish(ctx, name, req)
	}
	result, err := once()
	if !errors.Is(err, client.ErrUnknown) {
		return result, err
	}
	for _, pause := range repeatAfter {
		fmt.Fprintf(p.Err, "freshet: warning: %v; retrying\n", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return result, f.unknown(name, req, context.Cause(ctx))
		}
		again, ok := in.again()
		if !ok {
			if published, ok := find(ctx, c, name, req.RequestID); ok {
				return published, nil
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

// unknown returns err, of the last attempt, with instructions to find out whether the request was published.
func (f *publishFlags) unknown(name string, req client.PublishRequest, err error) error {
	code := exit.Failure // the code of a conflict, for example, would mean that nothing was published
	if exit.Of(err) == exit.Interrupted {
		code = exit.Interrupted
	}
	earlier := ""
	if !errors.Is(err, client.ErrUnknown) {
		earlier = "that is the error of the last attempt; of an earlier one "
	}
	return exit.With(code, fmt.Errorf("%w; %sit is not known whether it was published: it was if \"freshet versions %s --output json\" shows the request_id %s; "+
		"within an hour and %[5]d versions, the same command with --request-id %[4]s publishes it at most once", err, earlier, name, req.RequestID, requestVersions))
}

// again returns a reader of the input from its beginning. ok is false if the input cannot be read again.
func (in inputFile) again() (r io.Reader, ok bool) {
	file, ok := in.Reader.(io.Seeker)
	if !ok || in.bytes < 0 {
		return nil, false
	}
	_, err := file.Seek(0, io.SeekStart)
	return in.Reader, err == nil
}

// find returns the version that the request with the id created.
func find(ctx context.Context, c *client.Client, name, id string) (publisher.Publication, bool) {
	versions, _, err := c.Versions(ctx, name, requestVersions)
	if err != nil {
		return publisher.Publication{}, false
	}
	for _, rec := range versions {
		if rec.RequestID == id {
			return publisher.Publication{
				Created: true, Repeated: true, Record: rec,
				Warnings: []string{"the publisher's answer was lost: it is not known whether the version was announced; the publisher service announces it if not"},
			}, true
		}
	}
	return publisher.Publication{}, false
}
