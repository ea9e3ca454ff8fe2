package events

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
)

const (
	// ReplayHeader is the NATS header of a replayed event, with the id of the replay. Instances ignore an event that has it, whatever brings
	// it to their subjects, such as a subject mapping of the server.
	ReplayHeader = "Freshet-Replay"
	// maxSubjectBytes bounds a subject, as nats-server does for its own.
	maxSubjectBytes = 256
)

// ErrSubject is returned by CheckReplaySubject. The message says what to use.
var ErrSubject = errors.New("events cannot be replayed to this subject")

// CheckReplaySubject returns an [ErrSubject] for a subject that replayed events must not be sent to: one of freshet, in any namespace, from
// which old events would reach instances; one of the NATS server; an inbox, at which someone waits for an answer; or an invalid one.
func CheckReplaySubject(subject string) error {
	first, _, _ := strings.Cut(subject, ".")
	switch {
	case subject == "":
		return fmt.Errorf("%w: it is empty; name one, such as prices.history", ErrSubject)
	case len(subject) > maxSubjectBytes:
		return fmt.Errorf("%w: %.40q... has %d bytes, the most is %d", ErrSubject, subject, len(subject), maxSubjectBytes)
	case strings.ContainsFunc(subject, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar }):
		return fmt.Errorf("%w: %q has a space or a control character", ErrSubject, subject)
	case strings.ContainsAny(subject, "*>"):
		return fmt.Errorf("%w: %q has a wildcard; name one subject", ErrSubject, subject)
	case strings.HasPrefix(subject, ".") || strings.HasSuffix(subject, ".") || strings.Contains(subject, ".."):
		return fmt.Errorf("%w: %q has an empty part between its dots", ErrSubject, subject)
	case strings.EqualFold(first, "freshet"):
		return fmt.Errorf("%w: %q is one of freshet's own, from which old events would reach instances; use one that does not begin with freshet", ErrSubject, subject)
	case strings.HasPrefix(subject, "$"):
		return fmt.Errorf("%w: %q is one of the NATS server", ErrSubject, subject)
	case strings.HasPrefix(subject, "_"):
		return fmt.Errorf("%w: %q is an inbox, at which a program waits for an answer", ErrSubject, subject)
	}
	return nil
}

// ReplayMessage returns the message that hands the event of rec to the subject. id is that of the replay. The payload is the event that
// announced the version. The header Nats-Msg-Id names the replay and the version: a stream that collects the subject drops what a repeated
// replay with the same id sends again.
func ReplayMessage(subject, id string, rec dataset.VersionRecord) (*nats.Msg, error) {
	if err := CheckReplaySubject(subject); err != nil {
		return nil, err
	}
	data, err := dataset.EncodeEvent(rec)
	if err != nil {
		return nil, err
	}
	m := nats.NewMsg(subject)
	m.Data = data
	m.Header.Set(ReplayHeader, id)
	m.Header.Set(nats.MsgIdHdr, id+"/"+rec.ID())
	m.Header.Set("Content-Type", "application/cloudevents+json")
	return m, nil
}
