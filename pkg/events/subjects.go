package events

import (
	"fmt"
	"strings"

	"freshet.dev/pkg/dataset"
)

// subjects are the NATS subjects of one namespace.
type subjects struct {
	versions string // a prefix; the dataset's name follows
	// beacon is the subject of beacons, on core NATS: an instance that misses one receives the next.
	beacon string
	// journal is the prefix of the subjects of journal entries, on core NATS; the dataset's name follows. The stream does not take them.
	journal string
}

func newSubjects(namespace string) (subjects, error) {
	if err := dataset.CheckNamespace(namespace); err != nil {
		return subjects{}, err
	}
	root := dataset.SubjectRoot(namespace)
	return subjects{versions: root + "versions.", beacon: root + "beacon", journal: root + "journal."}, nil
}

// of returns the subject of the dataset's version events.
func (s subjects) of(name string) string { return s.versions + name }

// ofJournal returns the subject of the dataset's journal entries.
func (s subjects) ofJournal(name string) string { return s.journal + name }

// all returns the wildcard subject of the stream.
func (s subjects) all() string { return s.versions + ">" }

// nameOf returns the name of the dataset with the given subject.
func (s subjects) nameOf(subject string) string { return strings.TrimPrefix(subject, s.versions) }

// decode returns the version record of an event received on the subject.
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
