package fleet

import (
	"crypto/sha256"
	"testing"

	"freshet.dev/pkg/dataset"
)

// A request comes from anyone who may use the NATS account. A request that is accepted is within the bounds.
func FuzzDecodeGet(f *testing.F) {
	text, err := encodeGet(GetOptions{Dataset: "prices", Keys: [][]byte{[]byte("a"), {0xff}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"dataset":"prices","keys":[null]}`))
	f.Add([]byte(`{"dataset":"../x","keys":["YQ=="]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeGet(data)
		if err != nil {
			return
		}
		if dataset.CheckName(r.Dataset) != nil || len(r.Keys) == 0 || len(r.Keys) > MaxGetKeys {
			t.Errorf("%q is %+v", data, r)
		}
		for _, key := range r.Keys {
			if dataset.CheckKey(key) != nil {
				t.Errorf("%q has the key %q", data, key)
			}
		}
	})
}

// An answer comes from anyone who may use the NATS account. A value that is accepted has its digest, and an answer has a record for each key.
func FuzzDecodeAnswer(f *testing.F) {
	text, err := encodeContent(Content{Version: 3, Values: [][]byte{[]byte("a"), nil}}, 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"records":[{"found":true},{"found":false,"value":"YQ=="}]}`))
	f.Add([]byte(`{"kind":"refused","error":"no"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a Answer
		g := &getting{GetOptions: GetOptions{Keys: [][]byte{[]byte("a"), []byte("b")}}, values: map[dataset.Digest][]byte{}}
		if err := g.decode(data, &a); err != nil {
			return
		}
		if len(a.Records) != 2 {
			t.Fatalf("%q is %+v", data, a)
		}
		for _, l := range a.Records {
			if l.HasValue() && l.Digest != sha256.Sum256(l.Value) || !l.Found && l.Value != nil {
				t.Errorf("%q has %+v", data, l)
			}
		}
	})
}
