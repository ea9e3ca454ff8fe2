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
	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natsext"
)

var (
	// ErrDisconnected is returned by what asks the fleet while there is no connection: an empty answer would say that
	// there is no instance.
	ErrDisconnected = errors.New("not connected to NATS")
	// ErrNoAnswer is returned by Survey when instances are there, but none answered in time.
	ErrNoAnswer = errors.New("no instance answers")
	// ErrUnreadable is returned by Survey, beside the answers of the others, when an instance's answer is not a Status.
	ErrUnreadable = errors.New("an instance's status is not readable")
)

// SurveyOptions says which instances to ask, and how long to wait for answers. Its zero value is good.
type SurveyOptions struct {
	// Namespace is that of the instances.
	Namespace string
	// Dataset, if not empty, is the only dataset that the answers are to be about: they have room for it however many an
	// instance has. Instances of releases up to v0.2 answer about all, and leave out what does not fit.
	Dataset string
	// Stall is how long to wait after an answer for another one; 300 ms if 0.
	Stall time.Duration
	// Wait is how long to wait in all; 2 s if 0.
	Wait time.Duration
}

const (
	defaultStall = 300 * time.Millisecond
	defaultWait  = 2 * time.Second
)

// Survey asks all instances of the namespace for their status and returns the answers sorted by instance, host and process. There
// being no instance is no error. An answer that is not readable is [ErrUnreadable], beside which the others are returned.
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
	question, err := ask(opts.Dataset)
	if err != nil {
		return nil, err
	}
	answers, err := natsext.RequestMany(ctx, nc, statusSubject(opts.Namespace), question, natsext.RequestManyStall(opts.Stall))
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
	case parent.Err() != nil: // the answers end without a word when the context does
		return all, context.Cause(parent)
	case len(all) == 0 && len(unreadable) == 0 && !nc.IsConnected():
		return nil, ErrDisconnected
	case len(all) == 0 && len(unreadable) == 0:
		return nil, fmt.Errorf("%w within %v", ErrNoAnswer, opts.Wait)
	}
	return all, errors.Join(unreadable...)
}

// query is the payload of a request for the status. A request without one is about all datasets.
type query struct {
	Dataset string `json:"dataset,omitempty"`
}

// ask returns the payload of a request about the dataset; about all if name is empty.
func ask(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	return json.Marshal(query{Dataset: name})
}

// asked returns the dataset that a request is about; empty if it is about all, or if the payload is not readable.
func asked(payload []byte) string {
	var q query
	if len(payload) == 0 || json.Unmarshal(payload, &q) != nil {
		return ""
	}
	return q.Dataset
}
