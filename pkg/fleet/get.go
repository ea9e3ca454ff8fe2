package fleet

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"freshet.dev/pkg/dataset"
	"github.com/nats-io/nats.go"
)

var (
	// ErrGetRefused is returned for an instance that does not answer remote gets, because its configuration does not allow them.
	ErrGetRefused = errors.New("the instance refuses remote gets")
	// ErrSilent is returned for an instance that does not answer a remote get in time, or that nothing answers for.
	ErrSilent = errors.New("the instance does not answer")
	// ErrGetFailed is returned for an instance that answers a remote get with an error, or with an unreadable message.
	ErrGetFailed = errors.New("the instance cannot answer")
)

// GetOptions says what to query with [Get].
type GetOptions struct {
	// Namespace is the namespace of the instances.
	Namespace string
	Dataset   string
	// Keys are the keys of the records, 1 to [MaxGetKeys].
	Keys [][]byte
	// Instances are the instances to query, as [Survey] returns them. [Selection.Filter] chooses among them.
	Instances []Status
	// Wait bounds the time that an instance may take to answer; 0 means 2 s. With many instances and large answers, an instance gets its
	// request when others have answered, or have taken that long.
	Wait time.Duration
}

// Answer is an instance's answer to a [Get]: what it serves at that moment.
type Answer struct {
	// Instance, Host, PID, Run and Labels are as in the instance's [Status].
	Instance string            `json:"instance"`
	Host     string            `json:"host,omitempty"`
	PID      int               `json:"pid,omitempty"`
	Run      string            `json:"run,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	// Version and ID are the served version's; Version is 0 if the instance serves none.
	Version uint64            `json:"version"`
	ID      dataset.VersionID `json:"id,omitzero"`
	// Records has one entry for each key, in the order of the keys; all are from that version. It is nil if Err is not.
	Records []Lookup `json:"records,omitempty"`
	// Err is an [ErrGetRefused], [ErrSilent] or [ErrGetFailed]; nil if the instance answered.
	Err error `json:"-"`
}

// Lookup is what an instance has for one key.
type Lookup struct {
	Found bool `json:"found"`
	// Digest and Bytes are the SHA-256 and the length of the value of a found record.
	Digest dataset.Digest `json:"digest,omitzero"`
	Bytes  int            `json:"bytes"`
	// Value is the value; nil if it has more than [MaxGetValueBytes], or did not fit into the message with the values before it.
	Value []byte `json:"value,omitempty"`
}

// HasValue reports whether Value is the value of a found record.
func (l Lookup) HasValue() bool { return l.Found && len(l.Value) == l.Bytes }

// Equal reports whether l and m are the same content: the same value, or no record.
func (l Lookup) Equal(m Lookup) bool { return l.Found == m.Found && l.Digest == m.Digest }

// Agree reports whether all answers have the same content for the key with the index. Answers with an Err do not count. An instance
// without a version differs from one that has the record.
func Agree(answers []Answer, key int) bool {
	var first *Lookup
	for i := range answers {
		switch a := &answers[i]; {
		case a.Err != nil:
		case first == nil:
			first = &a.Records[key]
		case !first.Equal(a.Records[key]):
			return false
		}
	}
	return true
}

// Get queries the instances for records, and returns one answer for each, in the order of opts.Instances. An instance that does not
// answer has an Err, and is no error of Get. Equal values share their memory.
func Get(ctx context.Context, nc *nats.Conn, opts GetOptions) ([]Answer, error) {
	request, err := encodeGet(opts)
	if err == nil && !nc.IsConnected() {
		err = ErrDisconnected
	}
	if err != nil {
		return nil, fmt.Errorf("get records of %.80s from instances: %w", opts.Dataset, err)
	}
	g := &getting{GetOptions: opts, answers: make([]Answer, len(opts.Instances)), pending: map[string]pendingGet{}, values: map[dataset.Digest][]byte{}}
	if err := g.run(ctx, nc, request); err != nil {
		return nil, fmt.Errorf("get records of %s from instances: %w", opts.Dataset, err)
	}
	return g.answers, nil
}

// maxGetBytes bounds the answers that may arrive at a time. A NATS server closes the connection of a client that it holds more than 64 MB
// for, by default.
const maxGetBytes = 16 << 20

// getting is the state of one Get.
type getting struct {
	GetOptions
	answers []Answer
	next    int                       // the first instance without a request
	pending map[string]pendingGet     // the requests without an answer, by the subject of the answer
	values  map[dataset.Digest][]byte // all values of the answers
}

// pendingGet is a request without an answer.
type pendingGet struct {
	instance int // its index
	until    time.Time
}

func (g *getting) run(ctx context.Context, nc *nats.Conn, request []byte) error {
	g.Wait = cmp.Or(g.Wait, defaultWait)
	inbox := nc.NewInbox() + "."
	// A channel and no NextMsg: that drops the subject of the server's message that there is no responder. The channel has room for
	// more than the answers, so that a second answer of an instance displaces none.
	arrived := make(chan *nats.Msg, 2*len(g.Instances)+16)
	sub, err := nc.ChanSubscribe(inbox+"*", arrived)
	if err != nil {
		return fmt.Errorf("subscribe to the answers: %w", err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // fails only if the connection is gone, and the subscription with it
	most := maxGetBytes / maxAnswer(len(g.Keys), nc.MaxPayload())
	timer := time.NewTimer(g.Wait)
	defer timer.Stop()
	for {
		for ; g.next < len(g.Instances) && len(g.pending) < most; g.next++ {
			if err := g.send(nc, inbox, request); err != nil {
				return err
			}
		}
		if len(g.pending) == 0 {
			return nil
		}
		timer.Reset(time.Until(g.earliest()))
		select {
		case m := <-arrived:
			g.receive(m)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			if !nc.IsConnected() {
				return ErrDisconnected
			}
			for range len(arrived) { // in time
				g.receive(<-arrived)
			}
			g.expire(time.Now())
		}
	}
}

// send sends the request to the next instance.
func (g *getting) send(nc *nats.Conn, inbox string, request []byte) error {
	s := g.Instances[g.next]
	g.answers[g.next] = Answer{Instance: s.Instance, Host: s.Host, PID: s.PID, Run: s.Run, Labels: s.Labels}
	if !validRun(s.Run) {
		g.answers[g.next].Err = failedGet(ErrSilent, "its release does not answer remote gets")
		return nil
	}
	reply := inbox + strconv.Itoa(g.next)
	if err := nc.PublishRequest(getSubject(g.Namespace, s.Run), reply, request); err != nil {
		return fmt.Errorf("send the request to instance %s: %w", s.Instance, err)
	}
	g.pending[reply] = pendingGet{g.next, time.Now().Add(g.Wait)}
	return nil
}

// earliest returns the time at which the first of the pending requests expires.
func (g *getting) earliest() (first time.Time) {
	for _, p := range g.pending {
		if first.IsZero() || p.until.Before(first) {
			first = p.until
		}
	}
	return first
}

// expire ends the pending requests that have had their time.
func (g *getting) expire(now time.Time) {
	for reply, p := range g.pending {
		if !now.Before(p.until) {
			delete(g.pending, reply)
			g.answers[p.instance].Err = failedGet(ErrSilent, fmt.Sprintf("no answer within %v", g.Wait))
		}
	}
}

// receive handles a message on a subject of an answer.
func (g *getting) receive(m *nats.Msg) {
	p, ok := g.pending[m.Subject]
	if !ok {
		return // a second answer, or one that is too late
	}
	delete(g.pending, m.Subject)
	a := &g.answers[p.instance]
	if len(m.Data) == 0 && m.Header.Get("Status") == noResponders {
		a.Err = failedGet(ErrSilent, "nothing answers remote gets for it: it has ended, its release is older, or NATS does not let it subscribe to "+
			getSubject(g.Namespace, a.Run))
		return
	}
	a.Err = g.decode(m.Data, a)
}

// noResponders is the status of a message by which the server answers a request that no subscription receives.
const noResponders = "503"

// decode stores the content of an answer in a.
func (g *getting) decode(data []byte, a *Answer) error {
	var r getResponse
	if err := json.Unmarshal(data, &r); err != nil {
		return failedGet(ErrGetFailed, "its answer is not readable: "+err.Error())
	}
	switch {
	case r.Kind == getRefused:
		return failedGet(ErrGetRefused, truncate(r.Error))
	case r.Kind != "" || r.Error != "":
		return failedGet(ErrGetFailed, truncate(r.Error))
	case len(r.Records) != len(g.Keys):
		return failedGet(ErrGetFailed, fmt.Sprintf("its answer has %d records for %d keys", len(r.Records), len(g.Keys)))
	}
	for i := range r.Records {
		l := &r.Records[i]
		if !l.Found {
			*l = Lookup{}
			continue
		}
		if !l.HasValue() {
			l.Value = nil
		}
		if !l.HasValue() { // still, unless the answer says that the value is empty
			continue
		}
		if sha256.Sum256(l.Value) != l.Digest {
			return failedGet(ErrGetFailed, fmt.Sprintf("its answer has a value with another digest for the key %.80q", g.Keys[i]))
		}
		if same, ok := g.values[l.Digest]; ok {
			l.Value = same
		} else {
			g.values[l.Digest] = l.Value
		}
	}
	a.Version, a.ID, a.Records = r.Version, r.ID, r.Records
	return nil
}
