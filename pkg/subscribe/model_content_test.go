package subscribe_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
)

// shapes are what datasets are like: how many keys there can be, the length of a value in bytes, and of how many seeds
// in ten. The last has several partitions in a table and several blocks in a snapshot.
var shapes = []struct{ keys, value, share int }{{8, 20, 1}, {300, 60, 4}, {1000, 200, 3}, {1500, 400, 2}}

// universe is all the keys that a dataset of the model ever has, and how values are drawn.
type universe struct {
	r     *rand.Rand
	keys  []string
	value int
}

func newUniverse(r *rand.Rand) *universe {
	shape, n := shapes[0], r.IntN(10)
	for _, shape = range shapes {
		if n -= shape.share; n < 0 {
			break
		}
	}
	u := &universe{r: r, value: shape.value}
	for i := range shape.keys {
		key := fmt.Sprint("k", i)
		switch r.IntN(40) {
		case 0:
			key += strings.Repeat("/long", r.IntN(200))
		case 1:
			key += " \"é\\\n\U0001f30d"
		}
		u.keys = append(u.keys, key)
	}
	return u
}

func (u *universe) key() string { return u.keys[u.r.IntN(len(u.keys))] }

// line returns the record of the key as the input has it, which is also its value: often one that was there before.
func (u *universe) line(key string) string {
	quoted, err := json.Marshal(key)
	if err != nil {
		panic(err)
	}
	switch u.r.IntN(20) {
	case 0:
		return fmt.Sprintf(`{"id":%s,"n":%d}`, quoted, u.r.IntN(2))
	case 1:
		return fmt.Sprintf(`{"id":%s,"v":%q}`, quoted, strings.Repeat("x", u.r.IntN(10*u.value)))
	}
	var b strings.Builder
	for b.Len() < u.value/2+u.r.IntN(u.value) {
		fmt.Fprintf(&b, "%x ", u.r.Uint32())
	}
	return fmt.Sprintf(`{"id":%s,"v":%q}`, quoted, b.String())
}

// edit has the changes of a patch: records by key, nil for a removal.
type edit map[string]*string

// edit draws up to n changes of content: new records, other values, the values that are there, removals, also of keys
// that are not there.
func (u *universe) edit(content records, n int) edit {
	e := edit{}
	for range 1 + u.r.IntN(n) {
		key := u.key()
		switch was, had := content[key]; {
		case u.r.IntN(3) == 0:
			e[key] = nil
		case had && u.r.IntN(4) == 0:
			e[key] = &was
		default:
			line := u.line(key)
			e[key] = &line
		}
	}
	return e
}

// lines returns the edit as the input of a patch, in random order.
func (u *universe) lines(e edit) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(e)) {
		line := e[key]
		if line == nil {
			quoted, _ := json.Marshal(key)
			removal := fmt.Sprintf(`{"id":%s,"$remove":true}`, quoted)
			line = &removal
		}
		all = append(all, *line)
	}
	return u.shuffled(all)
}

// text returns the content as the input of a publish, in random order.
func (u *universe) text(content records) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(content)) {
		all = append(all, content[key])
	}
	return u.shuffled(all)
}

func (u *universe) shuffled(lines []string) string {
	u.r.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	return strings.Join(lines, "\n")
}

// rewrite draws content for a full publish: some changes of old, or much of it gone, or much more of it.
func (u *universe) rewrite(old records) records {
	next := maps.Clone(old)
	if next == nil {
		next = records{}
	}
	switch u.r.IntN(5) {
	case 0: // most goes
		for _, key := range u.keys {
			if u.r.IntN(4) > 0 {
				delete(next, key)
			}
		}
	case 1: // everything is there, and most of it new
		for _, key := range u.keys {
			if _, had := next[key]; !had || u.r.IntN(2) == 0 {
				next[key] = u.line(key)
			}
		}
	}
	next = u.edit(next, 1+len(u.keys)/20).of(next)
	for len(next) == 0 {
		key := u.key()
		next[key] = u.line(key)
	}
	return next
}

// of returns old with the edit applied.
func (e edit) of(old records) records {
	next := maps.Clone(old)
	for key, line := range e {
		if line == nil {
			delete(next, key)
		} else {
			next[key] = *line
		}
	}
	return next
}

// between counts how new differs from old.
func between(old, new records) (c dataset.Changes) {
	for key, line := range new {
		switch was, had := old[key]; {
		case !had:
			c.Added++
		case was != line:
			c.Changed++
		}
	}
	for key := range old {
		if _, has := new[key]; !has {
			c.Removed++
		}
	}
	return c
}

// counts returns the counts that a patch with the edit, applied to old, must report.
func (e edit) counts(old records) (unchanged, missing uint64) {
	for key, line := range e {
		switch was, had := old[key]; {
		case line == nil && !had:
			missing++
		case line != nil && had && was == *line:
			unchanged++
		}
	}
	return unchanged, missing
}

// sums are the state checksum and the payload bytes of a content.
type sums struct {
	state   dataset.Checksum
	payload uint64
}

// sumOf computes the sums of records by themselves.
func sumOf[B []byte | string](seed dataset.Seed, all iter.Seq2[B, B]) (s sums) {
	var buf []byte
	for key, value := range all {
		buf = dataset.AppendRecord(buf[:0], dataset.Record{Key: []byte(key), Value: []byte(value)})
		s.state.Add(uint64(seed), buf)
		s.payload += uint64(len(key) + len(value))
	}
	return s
}

// ndjson returns text as an input. Models shrink datasets on purpose.
func ndjson(text string) publish.Input {
	return publish.Input{Body: strings.NewReader(text), Key: "id", Format: publish.FormatNDJSON, AllowShrink: true, Reason: "a model"}
}
