// Package lineage decides whether a served version is a wanted one, or has it in its history.
//
// # Rules
//
// The id decides, and not the number. The served version satisfies the wanted one if
//
//   - it is that version: same number, same id;
//   - its record names the wanted version as the one before, or as the base of one of its deltas;
//   - it satisfied an earlier call, or a version that did is in its history by its record;
//   - the store has both versions, each with its id. A store has one version of each number, and each leads on from the one before.
//
// How many versions an instance skipped between two that it served makes no difference.
//
// For the last rule the store has to be queried: a [Lineage] asks for the id of one number at a time, on another goroutine, and remembers the
// answer for [Fresh], or until the instance serves another version. It asks at once if the served number is not below the wanted one, and only after [Patience] if it is: the version
// arrives without help, as a rule.
//
// A wanted version is of another history if the store has another id under its number. No wait helps then.
package lineage

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

const (
	// Fresh is how long an answer of the store is used. After a restore of the store, the answer may be another one.
	Fresh = 5 * time.Second
	// Retry is how long after a query that failed the store is queried again.
	Retry = time.Second
	// Patience is how long a caller waits for a higher version before the store is queried for the wanted one.
	Patience = 250 * time.Millisecond
	// maxAnswers and maxProven bound what is remembered of a dataset.
	maxAnswers = 64
	maxProven  = 256
)

// ErrNone is returned by an [Ask] if the store has no version with the number, or does not know such queries.
var ErrNone = errors.New("the store has no such version")

// Ask returns the id of the store's version with the number, or [ErrNone]. The Lineage calls it on a goroutine that it starts.
type Ask func(version uint64) (dataset.VersionID, error)

// Lineage decides for one dataset. Its methods may be called concurrently, and never wait for the store.
type Lineage struct {
	ask Ask
	run func(f func()) bool

	mu      sync.Mutex                  // guards the fields below
	answers map[uint64]*answer          // of the store, by number
	proven  map[dataset.Ref]dataset.Ref // by wanted version, a served version that satisfied it by an answer of the store
}

// answer is what the store has under a number. The fields are set before done is closed.
type answer struct {
	served dataset.Ref // when the store was queried
	done   chan struct{}
	id     dataset.VersionID
	err    error
	at     time.Time
}

// New returns a Lineage. run runs a function on a goroutine, and returns false if it cannot.
func New(ask Ask, run func(f func()) bool) *Lineage {
	return &Lineage{ask: ask, run: run, answers: make(map[uint64]*answer), proven: make(map[dataset.Ref]dataset.Ref)}
}

// Served is a served version. ID is zero if it is unknown; Record may then not be the committed one.
type Served struct {
	Record *dataset.VersionRecord // nil if nothing is served
	ID     dataset.VersionID
}

// ref returns the number and the id; zero if nothing is served.
func (s Served) ref() dataset.Ref {
	if s.Record == nil {
		return dataset.Ref{}
	}
	return dataset.Ref{Version: s.Record.Version, ID: s.ID}
}

// Verdict is what [Lineage.Judge] decided.
type Verdict struct {
	// Satisfied is true if the served version is the wanted one or has it in its history.
	Satisfied bool
	// Other is the id of the store's version with the wanted number, if that is another version than the wanted one; zero if not.
	Other dataset.VersionID
	// Why says why neither is known; empty if the version is not there yet, and nothing else is known.
	Why string
	// Answered is closed when the store has answered; nil if no query is in flight. Again is when Judge may decide otherwise without an
	// answer and without another served version.
	Answered <-chan struct{}
	Again    time.Time
}

// Satisfies reports whether served is the wanted version or has it in its history, as far as its record says. It allocates nothing.
func Satisfies(served Served, want dataset.Ref) bool {
	ref := served.ref()
	if ref.Version < want.Version || ref.ID.IsZero() {
		return false
	}
	if ref.Version == want.Version {
		return ref.ID == want.ID
	}
	id, ok := served.Record.Ancestor(want.Version)
	return ok && id == want.ID
}

// Judge decides whether served satisfies want, for a caller that has waited since began. It queries the store if that may decide.
func (l *Lineage) Judge(served Served, want dataset.Ref, began time.Time) Verdict {
	if Satisfies(served, want) {
		return Verdict{Satisfied: true}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	ref := served.ref()
	if l.wasProven(served, want) {
		return Verdict{Satisfied: true}
	}
	now := time.Now()
	if asks := began.Add(Patience); ref.Version < want.Version && now.Before(asks) {
		return Verdict{Again: asks}
	}
	a, v := l.query(want, ref, now)
	switch {
	case a == nil:
		return v
	case a.err != nil:
		v.Why = fmt.Sprintf("the store's version %d is not known: %v", want.Version, a.err)
		if errors.Is(a.err, ErrNone) {
			v.Why = fmt.Sprintf("the relays know no version %d; if the store was restored from an older copy, the version is lost; relays of releases up to v0.4 cannot be queried", want.Version)
		}
		return v
	case a.id != want.ID:
		return Verdict{Other: a.id}
	case ref.Version <= want.Version || ref.ID.IsZero():
		return v // the served version is older, or of another history, and the instance moves to the store's
	}
	if id, ok := served.Record.Ancestor(want.Version); ok && id != want.ID {
		return v // as above
	}
	a, v = l.query(ref, ref, now)
	switch {
	case a == nil:
	case a.err != nil:
		v.Why = fmt.Sprintf("whether version %s has it in its history is not known: %v", ref, a.err)
	case a.id == ref.ID:
		l.prove(want, ref)
		return Verdict{Satisfied: true}
	}
	return v
}

// wasProven reports whether served, or a version in its history by its record, satisfied want by an answer of the store. An answer stays true:
// an id covers the whole history.
func (l *Lineage) wasProven(served Served, want dataset.Ref) bool {
	by, ok := l.proven[want]
	if !ok || !Satisfies(served, by) {
		return false
	}
	l.proven[want] = served.ref() // so that the next version's record leads back to it
	return true
}

func (l *Lineage) prove(want, by dataset.Ref) {
	if len(l.proven) >= maxProven {
		clear(l.proven)
	}
	l.proven[want] = by
}

// query returns the store's answer about the number of version, while served is served. It is nil if there is none yet; the verdict says then
// what to wait for, and otherwise when the answer is too old.
func (l *Lineage) query(version, served dataset.Ref, now time.Time) (*answer, Verdict) {
	a := l.answers[version.Version]
	if a != nil {
		select {
		case <-a.done:
			if a.holds(version, served, now) {
				return a, Verdict{Again: a.until()}
			}
		default:
			return nil, Verdict{Answered: a.done}
		}
	}
	if a == nil && !l.makeRoom(now) {
		return nil, Verdict{Again: now.Add(Patience), Why: "the relays are being queried about other versions"}
	}
	a = &answer{served: served, done: make(chan struct{})}
	if !l.run(func() { l.answer(a, version.Version) }) {
		return nil, Verdict{Why: "the instance stops"}
	}
	l.answers[version.Version] = a
	return nil, Verdict{Answered: a.done}
}

// holds reports whether the answer about version still counts. The store may have got the version since, if the instance serves another one now
// that is not below it.
func (a *answer) holds(version, served dataset.Ref, now time.Time) bool {
	if !now.Before(a.until()) {
		return false
	}
	return a.served == served || served.Version < version.Version || a.err == nil && a.id == version.ID
}

// until returns when the answer is too old.
func (a *answer) until() time.Time {
	if a.err != nil && !errors.Is(a.err, ErrNone) {
		return a.at.Add(Retry)
	}
	return a.at.Add(Fresh)
}

// makeRoom removes old answers if there are too many, and reports whether there is room for another.
func (l *Lineage) makeRoom(now time.Time) bool {
	if len(l.answers) < maxAnswers {
		return true
	}
	for version, a := range l.answers {
		select {
		case <-a.done:
			if !now.Before(a.until()) {
				delete(l.answers, version)
			}
		default:
		}
	}
	return len(l.answers) < maxAnswers
}

// answer asks the store.
func (l *Lineage) answer(a *answer, version uint64) {
	defer close(a.done)
	a.err = guard.Try(func() (err error) {
		a.id, err = l.ask(version)
		return err
	})
	a.at = time.Now()
}
