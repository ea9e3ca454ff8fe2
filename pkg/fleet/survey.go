package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/oneline"
	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natsext"
)

var (
	// ErrDisconnected is returned by Survey and WatchReports when there is no connection, because an empty result would mean
	// that there is no instance.
	ErrDisconnected = errors.New("not connected to NATS")
	// ErrNoAnswer is returned by Survey when there are instances but none answers in time.
	ErrNoAnswer = errors.New("no instance answers")
	// ErrUnreadable is returned by Survey, together with the other answers, when an instance's answer is not a Status.
	ErrUnreadable = errors.New("an instance's status is not readable")
)

// SurveyOptions selects the instances to query, and the time to wait for answers. The zero value is valid.
type SurveyOptions struct {
	// Namespace is the namespace of the instances.
	Namespace string
	// Dataset, if not empty, restricts the answers to one dataset, so that they fit into a message for any number of datasets.
	// Instances of releases up to v0.2 answer for all datasets, and omit some if the message would be too long.
	Dataset string
	// Stall is the time to wait for the next answer after one; 0 means 300 ms.
	Stall time.Duration
	// Wait bounds the whole time; 0 means 2 s.
	Wait time.Duration
}

const (
	defaultStall = 300 * time.Millisecond
	defaultWait  = 2 * time.Second
)

// Survey queries the status of all instances of the namespace, and returns the answers sorted by instance, host and process. No
// instance at all is not an error. For an unreadable answer Survey returns [ErrUnreadable] together with the other answers.
func Survey(ctx context.Context, nc *nats.Conn, opts SurveyOptions) ([]Status, error) {
	all, err := survey(ctx, nc, opts)
	if err != nil {
		err = fmt.Errorf("survey the instances: %w", err)
	}
	return all, err
}

func survey(parent context.Context, nc *nats.Conn, opts SurveyOptions) ([]Status, error) {
	if err := dataset.CheckNamespace(opts.Namespace); err != nil {
		return nil, err
	}
	opts.Stall, opts.Wait = cmp.Or(opts.Stall, defaultStall), cmp.Or(opts.Wait, defaultWait)
	if !nc.IsConnected() {
		return nil, ErrDisconnected
	}
	ctx, cancel := context.WithTimeout(parent, opts.Wait)
	defer cancel()
	request, err := encodeQuery(opts.Dataset)
	if err != nil {
		return nil, err
	}
	answers, err := natsext.RequestMany(ctx, nc, statusSubject(opts.Namespace), request, natsext.RequestManyStall(opts.Stall))
	if err != nil {
		return nil, err
	}
	var all []Status
	var unreadable []error
	for m, err := range answers {
		if errors.Is(err, nats.ErrNoResponders) {
			return nil, nil
		}
		if err != nil {
			return all, err
		}
		var s Status
		if err := json.Unmarshal(m.Data, &s); err != nil {
			unreadable = append(unreadable, fmt.Errorf("%w: %w", ErrUnreadable, err))
			continue
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Host, b.Host), cmp.Compare(a.PID, b.PID))
	})
	switch {
	case parent.Err() != nil: // the answers end without an error when the context does
		return all, context.Cause(parent)
	case len(all) == 0 && len(unreadable) == 0 && !nc.IsConnected():
		return nil, ErrDisconnected
	case len(all) == 0 && len(unreadable) == 0:
		return nil, fmt.Errorf("%w within %v", ErrNoAnswer, opts.Wait)
	}
	return all, oneline.Join(unreadable...)
}

// query is the payload of a request for the status. A request without a payload is for all datasets.
type query struct {
	Dataset string `json:"dataset,omitempty"`
}

// encodeQuery returns the payload of a request for the dataset, or for all datasets if name is empty.
func encodeQuery(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	return json.Marshal(query{Dataset: name})
}

// decodeQuery returns the dataset of a request. It is empty if the request is for all datasets, or if the payload is
// unreadable.
func decodeQuery(payload []byte) string {
	var q query
	if len(payload) == 0 || json.Unmarshal(payload, &q) != nil {
		return ""
	}
	return q.Dataset
}
