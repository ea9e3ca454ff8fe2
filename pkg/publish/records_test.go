package publish_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"github.com/google/go-cmp/cmp"
)

// sequence yields records and then err, if it is not nil. It reuses the bytes of a record for the next, and fails the test if it is
// called again, or if its loop goes on after it ended.
func sequence(t *testing.T, records []dataset.Record, err error) iter.Seq2[dataset.Record, error] {
	calls := 0
	return func(yield func(dataset.Record, error) bool) {
		if calls++; calls > 1 {
			t.Errorf("Records is called %d times", calls)
		}
		var r dataset.Record
		for _, record := range records {
			r.Key, r.Value = append(r.Key[:0], record.Key...), append(r.Value[:0], record.Value...)
			r.Removed = record.Removed
			if !yield(r, nil) {
				return
			}
			for _, b := range [][]byte{r.Key, r.Value} {
				for i := range b {
					b[i] = 'x'
				}
			}
		}
		if err != nil {
			yield(dataset.Record{}, err)
		}
	}
}

func set(key, value string) dataset.Record {
	return dataset.Record{Key: []byte(key), Value: []byte(value)}
}

func removal(key string) dataset.Record { return dataset.Record{Key: []byte(key), Removed: true} }

// Any bytes are published as they are, by a publish and by a patch, in memory and with records that are spilled.
func TestRecordsOfAnyBytes(t *testing.T) {
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MemoryBytes = publish.MinMemoryBytes })
	want := map[string]string{
		"zero": "\x00", "ff": "\xff\x00\xfe", "empty": "", "\x00": "key", "\xff": "{", "json": "null", "large": strings.Repeat("\x00\xff", dataset.MaxValueBytes/2),
		strings.Repeat("k", dataset.MaxKeyBytes): "long key",
	}
	for i := range 12_000 {
		want[fmt.Sprintf("\xfe%05d", i)] = strings.Repeat(string(rune(i)), 500)
	}
	var progress publish.Progress
	made, err := r.Publish(t.Context(), "prices", publish.Input{
		Records: publish.Pairs(maps.All(want)),
		Progress: func(p publish.Progress) {
			if p.Phase == publish.PhaseReading {
				progress = p
			}
		},
	})
	if err != nil || made.Record.State.Records != uint64(len(want)) {
		t.Fatalf("%d records: %v", made.Record.State.Records, err)
	}
	if progress.Records != uint64(len(want)) || uint64(progress.BytesRead) != made.Record.PayloadBytes {
		t.Errorf("the last progress of reading is %+v, the payload has %d bytes", progress, made.Record.PayloadBytes)
	}
	if diff := cmp.Diff(want, content(t, r.store, made.Record)); diff != "" {
		t.Error(diff)
	}
	noTemp(t, r.temp)

	patched, err := r.Patch(t.Context(), "prices", publish.PatchInput{Input: publish.Input{Records: sequence(t, []dataset.Record{
		set("zero", "\x00"), set("ff", ""), removal("empty"), removal("none"), set("new\x00", "\x80"),
	}, nil)}})
	if err != nil || patched.Changes != (dataset.Changes{Added: 1, Changed: 1, Removed: 1}) || patched.Unchanged != 1 || patched.Missing != 1 {
		t.Fatalf("%+v, %v", patched, err)
	}
	want["ff"], want["new\x00"] = "", "\x80"
	delete(want, "empty")
	if diff := cmp.Diff(want, content(t, r.store, patched.Record)); diff != "" {
		t.Error(diff)
	}
	noTemp(t, r.temp)
}

// The same records as text and as a sequence are the same content.
func TestRecordsEqualText(t *testing.T) {
	r := newRig(t, nil)
	text := "{\"id\":\"a\",\"v\":1}\n{\"id\":\"b\"}\n"
	first := r.text(t, "prices", text)
	records := []dataset.Record{set("b", `{"id":"b"}`), set("a", `{"id":"a","v":1}`)}
	second, err := r.Publish(t.Context(), "prices", publish.Input{Records: sequence(t, records, nil)})
	if err != nil || second.Created || second.Record.VersionID() != first.Record.VersionID() {
		t.Errorf("the same content as a sequence: %+v, %v", second, err)
	}
	patch, err := r.Patch(t.Context(), "prices", publish.PatchInput{Input: publish.Input{Records: sequence(t, records, nil)}})
	if err != nil || patch.Created || patch.Unchanged != 2 {
		t.Errorf("the same content as a patch: %+v, %v", patch, err)
	}
	input := publish.Input{Records: sequence(t, append(records, set("c", "3")), nil), RequestID: "once"}
	third, err := r.Publish(t.Context(), "prices", input)
	if err != nil || !third.Created || third.Record.Changes.Added != 1 {
		t.Fatalf("%+v, %v", third, err)
	}
	input.Records = sequence(t, append(records, set("c", "3")), nil)
	if again, err := r.Publish(t.Context(), "prices", input); err != nil || !again.Repeated {
		t.Errorf("a repeated request: %+v, %v", again, err)
	}
}

// Records that cannot be published refuse all of them, with the record's number.
func TestRefusedRecords(t *testing.T) {
	long := strings.Repeat("x", dataset.MaxKeyBytes+1)
	body := strings.NewReader(`{"id":"a"}`)
	for name, c := range map[string]struct {
		in     publish.PatchInput
		patch  bool
		record int
		key    string
		want   string
		cause  error
	}{
		"duplicate":     {in: records(t, set("a", ""), set("b", ""), set("a", "1")), record: 3, key: "a", want: "record 1 has the key already"},
		"empty key":     {in: records(t, set("a", ""), set("", "")), record: 2, want: "the key is empty", cause: dataset.ErrRecord},
		"long key":      {in: records(t, set(long, "")), record: 1, key: long[:32] + "...", want: "the key has 1025 bytes, the most is 1024", cause: dataset.ErrRecord},
		"large value":   {in: records(t, set("a", strings.Repeat("x", 1<<20+1))), record: 1, key: "a", want: "the value has 1048577 bytes, the most is 1048576", cause: dataset.ErrRecord},
		"removal":       {in: records(t, set("a", ""), removal("b")), record: 2, key: "b", want: "publish it as a patch", cause: dataset.ErrRecord},
		"none":          {in: records(t), want: "the input has no record", cause: publish.ErrEmpty},
		"empty patch":   {in: records(t), patch: true, want: "the input has no record; a patch has one", cause: publish.ErrEmpty},
		"removed twice": {in: records(t, removal("a"), removal("a")), patch: true, record: 2, key: "a", want: "record 1 has the key already"},
		"removal with value": {
			in: records(t, dataset.Record{Key: []byte("a"), Value: []byte("1"), Removed: true}), patch: true,
			record: 1, key: "a", want: "the removal has a value", cause: dataset.ErrRecord,
		},
		"all removed": {in: records(t, removal("old")), patch: true, want: "removes every record", cause: publish.ErrEmpty},
		"body too":    {in: publish.PatchInput{Input: publish.Input{Records: sequence(t, nil, nil), Body: body}}, want: "two of Body, Files and Records are set"},
		"key member":  {in: publish.PatchInput{Input: publish.Input{Records: sequence(t, nil, nil), Key: "id"}}, want: "Key and Format describe Body"},
		"format": {
			in: publish.PatchInput{Input: publish.Input{Records: sequence(t, nil, nil), Format: publish.FormatCSV}}, want: "Key and Format describe Body",
		},
		"remove member": {
			in: publish.PatchInput{Input: publish.Input{Records: sequence(t, nil, nil)}, Remove: "gone"}, patch: true, want: "Remove describes Body",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.text(t, "prices", `{"id":"old"}`)
			var err error
			if c.patch {
				_, err = r.Patch(t.Context(), "prices", c.in)
			} else {
				_, err = r.Publish(t.Context(), "prices", c.in.Input)
			}
			e, ok := errors.AsType[*publish.InputError](err)
			if !ok || !errors.Is(err, publish.ErrInput) || c.cause != nil && !errors.Is(err, c.cause) {
				t.Fatalf("error is %v", err)
			}
			if e.Record != c.record || e.Line != 0 || e.Key != c.key || !strings.Contains(e.Problem+"; "+e.Hint, c.want) {
				t.Errorf("error is %#v", e)
			}
			if text := e.Error(); c.record > 0 && !strings.Contains(text, fmt.Sprintf("record %d: ", c.record)) {
				t.Errorf("message is %s", text)
			}
			r.nothingPublished(t)
		})
	}
}

func records(t *testing.T, all ...dataset.Record) publish.PatchInput {
	return publish.PatchInput{Input: publish.Input{Records: sequence(t, all, nil)}}
}

// nothingPublished fails unless version 1 is the newest and no temporary file is left.
func (r *rig) nothingPublished(t *testing.T) {
	t.Helper()
	noTemp(t, r.temp)
	newest, _, err := r.store.Newest(t.Context())
	if err != nil || newest["prices"].Version != 1 {
		t.Errorf("the newest versions are %v: %v", newest, err)
	}
}

// Records that fail half-way publish nothing, whatever comes of the call: an error, a panic, or the end of its goroutine.
func TestRecordsThatFail(t *testing.T) {
	const total, half = 20_000, 15_000 // several runs; with the least memory, records are spilled by then
	value := strings.Repeat("v", 1000)
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MemoryBytes = publish.MinMemoryBytes })
	r.text(t, "prices", `{"id":"old"}`)
	// until yields records and calls fail before the one in the middle. It ends with its loop.
	until := func(fail func(yield func(dataset.Record, error) bool)) publish.Input {
		return publish.Input{Records: func(yield func(dataset.Record, error) bool) {
			for i := range total {
				if i == half {
					fail(yield)
					return
				}
				if !yield(set(fmt.Sprint(i), value), nil) {
					t.Error("the loop ends early")
					return
				}
			}
		}}
	}
	calls := map[string]func(context.Context, publish.Input) error{
		"publish": func(ctx context.Context, in publish.Input) error {
			_, err := r.Publish(ctx, "prices", in)
			return err
		},
		"patch": func(ctx context.Context, in publish.Input) error {
			_, err := r.Patch(ctx, "prices", publish.PatchInput{Input: in})
			return err
		},
	}
	for name, call := range calls {
		t.Run(name+", an error", func(t *testing.T) {
			goesOn := true
			err := call(t.Context(), until(func(yield func(dataset.Record, error) bool) {
				goesOn = yield(dataset.Record{}, io.ErrUnexpectedEOF)
			}))
			if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "record 15001: ") || errors.Is(err, publish.ErrInput) || goesOn {
				t.Errorf("error is %v; the loop goes on: %v", err, goesOn)
			}
			r.nothingPublished(t)
		})
		t.Run(name+", the end of ctx", func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			stopped := errors.New("stopped")
			goesOn := true
			err := call(ctx, until(func(yield func(dataset.Record, error) bool) {
				cancel(stopped)
				goesOn = yield(set("more", ""), nil)
			}))
			if !errors.Is(err, stopped) || goesOn {
				t.Errorf("error is %v; the loop goes on: %v", err, goesOn)
			}
			r.nothingPublished(t)
		})
		t.Run(name+", the end of ctx without an error", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			if err := call(ctx, until(func(func(dataset.Record, error) bool) { cancel() })); !errors.Is(err, context.Canceled) {
				t.Errorf("error is %v", err)
			}
			r.nothingPublished(t)
		})
		t.Run(name+", a panic", func(t *testing.T) {
			defer r.nothingPublished(t)
			defer func() {
				if p := recover(); p != "broken" {
					t.Errorf("the panic is %v", p)
				}
			}()
			err := call(t.Context(), until(func(func(dataset.Record, error) bool) { panic("broken") }))
			t.Errorf("it returns %v", err)
		})
	}
}
