package input_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"freshet.dev/pkg/publish/internal/input"
)

// A context that ends ends the reading at once, although the reader below is stuck; the goroutine that is stuck with it
// ends when the reader returns.
func TestContextEndsAStuckRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		stop := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error)
		go func() {
			_, err := read(ctx, r, ndjson, "id")
			done <- err
		}()
		if _, err := io.WriteString(w, `{"id":"a"}`+"\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it waits for more
		cancel(stop)
		if err := <-done; !errors.Is(err, stop) {
			t.Errorf("error is %v", err)
		}
		_ = w.Close()
	})
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("reader of the caller") }

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

type lying struct{}

func (lying) Read(p []byte) (int, error) { return len(p) + 1, nil }

func TestBadReaders(t *testing.T) {
	for want, r := range map[string]io.Reader{
		"reader of the caller":                        panicking{},
		"multiple Read calls return no data or error": idle{},
		"the reader says that it read":                lying{},
	} {
		if _, err := read(t.Context(), r, ndjson, "id"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}

// What the reader itself fails with is no refusal, and never an end: not even the errors that mean one elsewhere.
func TestFailingReader(t *testing.T) {
	for _, cause := range []error{io.ErrUnexpectedEOF, errors.New("connection reset")} {
		for packing, packed := range packings {
			for _, f := range []format{ndjson, detected, csv} {
				text := `{"id":"a"}` + "\n"
				if f == csv {
					text = "id,v\n1,2\n"
				}
				p := packed(text)
				for _, keep := range []int{0, 1, len(p) - 1, len(p)} {
					r := io.MultiReader(bytes.NewReader(p[:keep]), failing{cause})
					_, err := read(t.Context(), r, f, "id")
					if _, refused := errors.AsType[*input.Refusal](err); refused || !errors.Is(err, cause) {
						t.Errorf("%s as %s, %d of %d bytes: error is %v, want %v", packing, f, keep, len(p), err, cause)
					}
				}
			}
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
