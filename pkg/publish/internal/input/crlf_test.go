package input_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"freshet.dev/pkg/publish/internal/input"
)

// CR LF in quotes and a byte order mark are found wherever the buffers end.
func TestCSVAtTheEndOfABuffer(t *testing.T) {
	const buffer = 64 << 10
	readers := map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "half": iotest.HalfReader, "one byte": iotest.OneByteReader,
	}
	for off := buffer - 4; off <= buffer+4; off++ {
		for name, reader := range readers {
			start := "id,v\na,\""
			filler := strings.Repeat("x", off-len(start))
			got, err := read(t.Context(), reader(strings.NewReader(start+filler+"\r\n\"\n")), csv, "id")
			want := fmt.Sprintf(`{"id":"a","v":"%s\r\n"}`, filler)
			if err != nil || len(got) != 1 || got[0].Value != want {
				t.Fatalf("CR LF at %d, %s: %d records, %v", off, name, len(got), err)
			}
			start = "id\n"
			_, err = read(t.Context(), reader(strings.NewReader(start+strings.Repeat("x\n", (off-len(start))/2-1)+strings.Repeat("y", 1+(off-len(start))%2)+"\n\ufeffid\n")), csv, "id")
			r, ok := errors.AsType[*input.Refusal](err)
			if !ok || r.Line != 2+(off-len(start))/2 || !strings.Contains(r.Problem, "byte order mark") {
				t.Fatalf("mark at %d, %s: %v", off, name, err)
			}
		}
	}
}

// Many CR LF in quotes leave the bound of the rows behind them as it is.
func TestEndlessRowBehindQuotedCRLF(t *testing.T) {
	const most = 3 << 20 // a row and the buffers
	var text strings.Builder
	text.WriteString("id,v\n")
	for n := range 4000 {
		fmt.Fprintf(&text, "%d,\"%s\"\n", n, strings.Repeat("\r\n", 1000))
	}
	text.WriteString(`last,"`)
	endless := &counter{r: strings.NewReader(strings.Repeat("x", 4*most))}
	_, err := read(t.Context(), io.MultiReader(strings.NewReader(text.String()), endless), csv, "id")
	if r, ok := errors.AsType[*input.Refusal](err); !ok || !strings.Contains(r.Problem+r.Hint, "not closed") {
		t.Fatalf("the error is %v", err)
	}
	if n := endless.n.Load(); n > most {
		t.Errorf("%d bytes of an endless row were read", n)
	}
}

type counter struct {
	r io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}
