package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// question is a reader's request and the version of the answer.
type question struct {
	version uint64
	of      string
}

// digest is the hash of an answer, kept because the answers are many and long.
type digest [sha256.Size]byte

// ask is a request that a reader repeats. of is its name, and keys are the records in the request and the answer.
type ask struct {
	of   string
	keys []string
	send func(ctx context.Context, i *subject) (version uint64, answer string, err error)
}

// none is the answer for a missing record. No record of the ledger has this value.
const none = "none"

// batches are requests for many records at a time: all of them, and some.
func batches(keys int) []ask {
	var all []string
	for k := range keys {
		all = append(all, "key-"+strconv.Itoa(k))
	}
	asks := []ask{batchOf(all[:min(len(all), 1000)])}
	const size = 32
	for n := 0; n+size <= len(all) && len(asks) < 12; n += size {
		asks = append(asks, batchOf(all[n:n+size]))
	}
	return asks
}

func batchOf(keys []string) ask {
	return ask{of: fmt.Sprintf("%d records from %s on", len(keys), keys[0]), keys: keys, send: func(ctx context.Context, i *subject) (uint64, string, error) {
		b, err := batchGet(ctx, i.program, i.name, keys)
		if err != nil {
			return 0, "", err
		}
		if len(b.Records) != len(keys) {
			return 0, "", fmt.Errorf("%d records in the answer, want %d", len(b.Records), len(keys))
		}
		var values []string
		for n, r := range b.Records {
			if r.Key != keys[n] {
				return 0, "", fmt.Errorf("record %d has the key %q, want %q", n, r.Key, keys[n])
			}
			if !r.Found {
				values = append(values, none)
				continue
			}
			values = append(values, string(r.Value))
		}
		return b.Version, strings.Join(values, "\n"), nil
	}}
}

// singles are requests for one record.
func singles(keys int) []ask {
	var asks []ask
	for k := range min(keys, 64) {
		key := "key-" + strconv.Itoa(k)
		asks = append(asks, ask{of: key, keys: []string{key}, send: func(ctx context.Context, i *subject) (uint64, string, error) {
			return single(ctx, i, key)
		}})
	}
	return asks
}

func single(ctx context.Context, i *subject, key string) (uint64, string, error) {
	code, header, body, err := do(ctx, http.MethodGet, i.URL+"/v1/datasets/"+i.name+"/records/"+url.PathEscape(key), "", nil)
	if err != nil {
		return 0, "", err
	}
	switch code {
	case http.StatusOK:
	case http.StatusNotFound:
		body = []byte(none)
	default:
		return 0, "", fmt.Errorf("%d %s", code, body)
	}
	version, err := strconv.ParseUint(header.Get("Freshet-Version"), 10, 64)
	return version, string(body), err
}

// answerWithin is how long a look-up may take. It waits for nothing but the processor.
const answerWithin = 10 * time.Second

// read sends the requests in turn until ctx ends, and records the answers.
func (i *subject) read(ctx context.Context, tr *trial, asks []ask) {
	var newest uint64
	life, answered, n := -1, false, 0
	i.again(ctx, readEvery, func() {
		down, now := i.life()
		if down {
			return
		}
		if now != life {
			life, newest, answered = now, i.lowest(), false
		}
		a := asks[n%len(asks)]
		n++
		limited, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		var version uint64
		var text string
		err := i.ask(ctx, func() (err error) { version, text, err = a.send(limited, i); return err })
		switch {
		case err != nil && (answered || !strings.Contains(err.Error(), "no-version-yet")):
			tr.t.Errorf("instance-%d does not answer: %s: %v", i.n, a.of, err)
		case err != nil || version == 0: // it has just been started, or it is down
		case version < newest:
			tr.t.Errorf("instance-%d went back from version %d to %d", i.n, newest, version)
		default:
			newest, answered = version, true
			i.answered(tr, question{version, a.of}, sha256.Sum256([]byte(text)))
		}
	})
}

// lowest returns the lowest version that the instance may serve.
func (i *subject) lowest() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.floor
}

// answered records the answer, which must be the same each time.
func (i *subject) answered(tr *trial, q question, d digest) {
	i.mu.Lock()
	was, again := i.answers[q]
	if !again {
		i.answers[q] = d
	}
	i.mu.Unlock()
	if again && was != d {
		tr.t.Errorf("instance-%d gives two answers of version %d: %s", i.n, q.version, q.of)
	}
}

// checkAnswers compares all answers with the ledger. It runs at the end, because an instance may serve a version before the publisher
// reports the commit, or dies.
func (i *subject) checkAnswers(tr *trial) {
	tr.t.Helper()
	keys := map[string][]string{}
	for _, a := range append(batches(tr.keys), singles(tr.keys)...) {
		keys[a.of] = a.keys
	}
	versions, wrong := map[uint64]bool{}, 0
	for q, got := range i.answers {
		if q.version == 0 || q.version > tr.newest() {
			tr.t.Fatalf("instance-%d answered from version %d; there are %d", i.n, q.version, tr.newest())
		}
		var values []string
		for _, key := range keys[q.of] {
			value, ok := tr.history[q.version-1][key]
			if !ok {
				value = none
			}
			values = append(values, value)
		}
		if got != sha256.Sum256([]byte(strings.Join(values, "\n"))) {
			tr.t.Errorf("instance-%d gave a wrong answer of version %d: %s", i.n, q.version, q.of)
			wrong++
		}
		versions[q.version] = true
	}
	tr.t.Logf("instance-%d: %d different answers of %d versions, %d of them wrong", i.n, len(i.answers), len(versions), wrong)
}

// metricOf returns the value of the metric in the text of all.
func metricOf(text, name string) (float64, error) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}
