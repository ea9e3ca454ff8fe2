package events

import (
	"fmt"
	"strings"

	"freshet.dev/pkg/dataset"
)

// subjects are the NATS subjects of one namespace.
type subjects struct {
	versions string // the dataset's name follows
	// beacon is where beacons are sent, over core NATS: who is not there when one is sent gets the next.
	beacon string
}

func newSubjects(namespace string) (subjects, error) {
	if err := dataset.CheckNamespace(namespace); err != nil {
		return subjects{}, err
	}
	root := dataset.SubjectRoot(namespace)
	return subjects{versions: root + "versions.", beacon: root + "beacon"}, nil
}

// of returns the subject on which the versions of the dataset are announced.
func (s subjects) of(name string) string { return s.versions + name }

// all returns the subject of the stream.
func (s subjects) all() string { return s.versions + ">" }

// nameOf returns the dataset whose subject it is.
func (s subjects) nameOf(subject string) string { return strings.TrimPrefix(subject, s.versions) }

// decode returns the version record of an event that came on the subject.
func (s subjects) decode(subject string, data []byte) (dataset.VersionRecord, error) {
	rec, err := dataset.DecodeEvent(data)
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	if subject != s.of(rec.Dataset) {
		return dataset.VersionRecord{}, fmt.Errorf("%w: version %s on the subject %s", dataset.ErrEvent, rec.ID(), subject)
	}
	return rec, nil
}

// streamName returns the name of the namespace's stream.
func streamName(namespace string) string {
	if namespace == "" {
		return defaultStream
	}
	return defaultStream + "_" + strings.ToUpper(namespace)
}
