package dataset

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Check returns an error that wraps [ErrVersionRecord] if r is not a valid version record.
func (r VersionRecord) Check() error {
	if err := CheckName(r.Dataset); err != nil {
		return fmt.Errorf("%w: %w", ErrVersionRecord, err)
	}
	for _, check := range []func() error{r.checkVersion, r.checkMetadata, r.checkLabels, r.checkObjects, r.checkDeleted} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrVersionRecord, r.ID(), err)
		}
	}
	return nil
}

// checkVersion checks the version's number, and the members whose validity depends on it alone.
func (r VersionRecord) checkVersion() error {
	switch {
	case r.Version == 0:
		return errors.New("versions begin at 1")
	case r.Version == 1 && !r.Previous.IsZero():
		return errors.New("version 1 has the id of a version before")
	}
	return nil
}

// checkMetadata checks the members that describe the publish: its time, source, promise and request id.
func (r VersionRecord) checkMetadata() error {
	switch {
	case r.Created.IsZero():
		return errors.New("the record has no creation time")
	case len(r.Source) > MaxSourceBytes:
		return fmt.Errorf("the source has %d bytes, the most is %d", len(r.Source), MaxSourceBytes)
	case !utf8.ValidString(r.Source): // JSON would not preserve it
		return fmt.Errorf("the source %.40q is not UTF-8", r.Source)
	case r.ExpectEvery != 0 && (r.ExpectEvery < MinExpectEvery || r.ExpectEvery > MaxExpectEvery):
		return fmt.Errorf("the next version is expected within %s; want %s to %s, or 0", r.ExpectEvery, MinExpectEvery, MaxExpectEvery)
	case r.RequestID != "":
		if err := CheckRequestID(r.RequestID); err != nil {
			return err
		}
	}
	if r.Restores.Version >= r.Version && r.Restores.Version > 0 {
		return fmt.Errorf("version %d restores the later version %d", r.Version, r.Restores.Version)
	}
	return CheckAudit(r.By, r.Reason)
}

// CheckAudit returns an error if by (who) or reason (why) is too long, is not UTF-8 or has a control character: logs and tables show both
// on one line.
func CheckAudit(by, reason string) error {
	for _, text := range []struct {
		name, value string
		most        int
	}{{"by", by, MaxByBytes}, {"reason", reason, MaxReasonBytes}} {
		switch {
		case len(text.value) > text.most:
			return fmt.Errorf("%s has %d bytes, the most is %d", text.name, len(text.value), text.most)
		case !utf8.ValidString(text.value): // JSON would not preserve it
			return fmt.Errorf("%s %.40q is not UTF-8", text.name, text.value)
		case strings.ContainsFunc(text.value, unicode.IsControl):
			return fmt.Errorf("%s %.40q has a control character; write it as one line of text", text.name, text.value)
		}
	}
	return nil
}

// checkLabels checks the labels. JSON does not preserve text that is not UTF-8: two such labels could become one.
func (r VersionRecord) checkLabels() error {
	if len(r.Labels) > MaxLabels {
		return fmt.Errorf("the record has %d labels, the most is %d", len(r.Labels), MaxLabels)
	}
	for k, v := range r.Labels {
		switch {
		case k == "" || len(k) > MaxLabelBytes || len(v) > MaxLabelBytes:
			return fmt.Errorf("the label %.40q is empty or over %d bytes", k, MaxLabelBytes)
		case !utf8.ValidString(k) || !utf8.ValidString(v):
			return fmt.Errorf("the label %.40q=%.40q is not UTF-8", k, v)
		}
	}
	return nil
}

// checkObjects checks the snapshot and the deltas, and that the deltas lead from the snapshot to the version.
func (r VersionRecord) checkObjects() error {
	deltas := uint64(len(r.Deltas))
	if deltas > MaxDeltas || deltas >= r.Version {
		return fmt.Errorf("the record has %d deltas, the most is %d", deltas, min(MaxDeltas, r.Version-1))
	}
	if !r.Snapshot.complete() {
		return errors.New("the snapshot has no digest, size or version")
	}
	first := r.Version - deltas // the version that the deltas reach back to
	for i, o := range r.Deltas {
		if !o.complete() {
			return fmt.Errorf("delta %d of %d has no digest, size or version", i+1, deltas)
		}
		if want := first + uint64(i) + 1; o.Version != want {
			return fmt.Errorf("delta %d of %d leads to version %d, want %d", i+1, deltas, o.Version, want)
		}
	}
	if r.Snapshot.Version < first || r.Snapshot.Version > r.Version {
		return fmt.Errorf("no chain of deltas leads to the version from the snapshot of version %d", r.Snapshot.Version)
	}
	return nil
}

// complete reports whether o has everything that names an object.
func (o Object) complete() bool { return !o.Digest.IsZero() && o.Bytes > 0 && o.Version > 0 }
