package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/publisher"
)

// repeatAfter are the pauses before the retries of a request whose outcome is unknown.
var repeatAfter = []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

// requestVersions is how many of the newest versions send searches for a request id. A publisher searches the same number.
const requestVersions = 1000

// request is a request that makes at most one version.
type request struct {
	name   string // of the dataset
	id     string // of the request
	client *client.Client
	verb   string // what the request does, as a participle
	// once sends the request.
	once func() (publisher.Publication, error)
	// rewind prepares the next once. It reports false if there can be none; nil stands for a request that can always be sent again.
	rewind func() bool
}

// send publishes the input.
func (f *publishFlags) send(ctx context.Context, p Process, c *client.Client, name string, req client.PublishRequest, in *inputFile) (publisher.Publication, error) {
	once := func() (publisher.Publication, error) {
		body, hide := in.progress(p.Err, commitTick)
		defer hide()
		req.Body, req.ContentType = body, in.contentType
		return c.Publish(ctx, name, req)
	}
	return request{name, req.RequestID, c, "published", once, in.again}.send(ctx, p)
}

// send sends the request. If the outcome of an attempt is unknown, send retries with the same request id until the publisher answers with
// the version or that the id was used before. Any other failure of a retry leaves the outcome of the earlier attempt unknown, and the error
// says so. Standard input cannot be read again: send then searches the versions for the request id.
func (r request) send(ctx context.Context, p Process) (publisher.Publication, error) {
	result, err := r.once()
	if r.id == "" || !errors.Is(err, client.ErrUnknown) { // a dry run has no id, and publishes nothing
		return result, err
	}
	for _, pause := range repeatAfter {
		fmt.Fprintf(p.Err, "freshet: warning: %v; retrying\n", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return result, r.unknown(context.Cause(ctx))
		}
		if r.rewind != nil && !r.rewind() {
			if published, ok := find(ctx, r.client, r.name, r.id); ok {
				return published, nil
			}
			continue
		}
		result, err = r.once()
		switch {
		case err == nil, errors.Is(err, client.ErrReused):
			return result, err
		case !errors.Is(err, client.ErrUnknown) && !errors.Is(err, client.ErrUnavailable):
			return result, r.unknown(err)
		}
	}
	return result, r.unknown(err)
}

// unknown returns err, of the last attempt, with instructions to find out whether the request made a version.
func (r request) unknown(err error) error {
	code := exit.Failure // the code of a conflict, for example, would mean that nothing was published
	if exit.Of(err) == exit.Interrupted {
		code = exit.Interrupted
	}
	earlier := ""
	if !errors.Is(err, client.ErrUnknown) {
		earlier = "that is the error of the last attempt; of an earlier one "
	}
	return exit.With(code, fmt.Errorf("%w; %sit is not known whether it was %s: it was if \"freshet versions %s --output json\" shows the request_id %s; "+
		"within an hour and %[6]d versions, the same command with --request-id %[5]s makes one version at most", err, earlier, r.verb, r.name, r.id, requestVersions))
}

// find returns the version that the request with the id created.
func find(ctx context.Context, c *client.Client, name, id string) (publisher.Publication, bool) {
	list, err := c.Versions(ctx, name, requestVersions)
	if err != nil {
		return publisher.Publication{}, false
	}
	for _, rec := range list.Versions {
		if rec.RequestID == id {
			return publisher.Publication{
				Created: true, Repeated: true, Record: rec,
				Warnings: []string{"the publisher's answer was lost: it is not known whether the version was announced; the publisher service announces it if not"},
			}, true
		}
	}
	return publisher.Publication{}, false
}
