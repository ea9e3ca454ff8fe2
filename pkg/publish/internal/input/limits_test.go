package input_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"freshet.dev/pkg/publish/internal/input"
)

// bomb is one zstd frame of a text and then of as many bytes c, in blocks of 128 KiB that take four bytes each.
func bomb(text string, c byte, bytes int64) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x50} // a window of 1 MiB
	block := func(kind, size int, last bool) {
		header := size<<3 | kind<<1
		if last {
			header |= 1
		}
		b = append(b, byte(header), byte(header>>8), byte(header>>16))
	}
	for len(text) > 0 {
		n := min(len(text), 64<<10)
		block(0, n, false)
		b = append(b, text[:n]...)
		text = text[n:]
	}
	for ; bytes > 128<<10; bytes -= 128 << 10 {
		block(1, 128<<10, false)
		b = append(b, c)
	}
	block(1, int(bytes), true)
	return append(b, c)
}

// A body of 327 KB makes 10 GB of blanks. It is refused after some megabytes of them.
func TestBlanks(t *testing.T) {
	row := strings.Repeat("x", 1000)
	for name, c := range map[string]struct {
		format
		text  string
		blank byte
		bytes int64
		want  string // empty: it is taken
	}{
		"ndjson":                {ndjson, `{"id":"a"}` + "\n", '\n', 10 << 30, "bytes of blanks and empty lines"},
		"ndjson, spaces":        {ndjson, `{"id":"a"}` + "\n", ' ', 10 << 30, "has more than 1048576 bytes"},
		"ndjson, nothing else":  {ndjson, "", '\n', 10 << 30, "bytes of blanks and empty lines"},
		"told by the content":   {detected, `{"id":"a"}` + "\n", '\n', 10 << 30, "bytes of blanks and empty lines"},
		"array":                 {array, `[{"id":"a"}`, ' ', 10 << 30, "bytes of blanks and empty lines"},
		"array, lines":          {array, `[{"id":"a"}]`, '\n', 10 << 30, "bytes of blanks and empty lines"},
		"csv":                   {csv, "id,v\na,1\n", '\n', 10 << 30, "bytes of empty lines begin here"},
		"csv, before header":    {csv, "", '\n', 10 << 30, "bytes of empty lines begin here"},
		"ndjson, some":          {ndjson, `{"id":"a"}` + "\n", '\n', 10 << 20, ""},
		"array, some":           {array, `[{"id":"a"}]`, ' ', 10 << 20, ""},
		"csv, some":             {csv, "id,v\na,1\n", '\n', 1 << 20, ""},
		"ndjson, after records": {ndjson, strings.Repeat(`{"id":"a","v":"`+row+`"}`+"\n", 10_000), '\n', 20 << 20, ""},
	} {
		records, err := read(t.Context(), bytes.NewReader(bomb(c.text, c.blank, c.bytes)), c.format, "id")
		if c.want == "" {
			if err != nil || len(records) == 0 {
				t.Errorf("%s: %d records, %v", name, len(records), err)
			}
			continue
		}
		r, ok := errors.AsType[*input.Refusal](err)
		if !ok || !strings.Contains(r.Problem, c.want) || r.Line == 0 || r.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
		if c.text != "" && len(records) != 1 {
			t.Errorf("%s: %d records before what is wrong", name, len(records))
		}
	}
}

// Blanks between records add up.
func TestBlanksBetweenRecords(t *testing.T) {
	for f, row := range map[format]string{ndjson: `{"id":"a"}`, csv: "a,1"} {
		between := row + strings.Repeat("\n", 1<<20)
		text := strings.NewReader(strings.Repeat(between, 20))
		_, err := read(t.Context(), io.MultiReader(strings.NewReader(map[format]string{csv: "id,v\n"}[f]), text), f, "id")
		if r, ok := errors.AsType[*input.Refusal](err); !ok || !strings.Contains(r.Problem, "bytes of blanks and empty lines") || r.Line < 16<<20 {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestTextTooLarge(t *testing.T) {
	text := strings.Repeat(twoLines, 100_000)
	for name, c := range map[string]struct {
		limits input.Limits
		want   string
	}{
		"in all":       {input.Limits{MaxDecompressedBytes: int64(len(text)) - 1}, "more than 2199999 bytes once it is decompressed; raise FRESHET_TEXT_BYTES"},
		"just right":   {input.Limits{MaxDecompressedBytes: int64(len(text) + 3)}, ""},
		"ratio":        {input.Limits{Ratio: 10, RatioFrom: 1 << 20}, "more than 10 times its size once it is decompressed; send it uncompressed; FRESHET_BODY_BYTES of the publisher bounds an uncompressed body"},
		"little":       {input.Limits{Ratio: 10, RatioFrom: int64(len(text) + 3)}, ""},
		"usual ratios": {input.Limits{Ratio: 100_000}, ""},
	} {
		for packing, packed := range packings {
			c.limits.Windows = input.NewWindows(64 << 20)
			s, err := input.NewStream(input.NewBody(t.Context(), bytes.NewReader(packed(text))), c.limits)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, s)
			s.Close()
			r, refused := errors.AsType[*input.Refusal](err)
			plain := packing == "plain" || packing == "byte order mark" // which the remedy is
			if refused == (c.want == "" || plain) || refused && (!errors.Is(err, input.ErrTooLarge) || !strings.Contains(r.Problem+"; "+r.Hint, c.want)) {
				t.Errorf("%s, %s: %d bytes, %v", name, packing, n, err)
			}
		}
	}
}

// A context that ends ends the decompression of what has been read of the body already.
func TestContextEndsDecompression(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s, err := input.NewStream(input.NewBody(ctx, bytes.NewReader(bomb("", '\n', 10<<30))), input.Limits{Windows: input.NewWindows(64 << 20)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := io.CopyN(io.Discard, s, 1<<20); err != nil {
		t.Fatal(err)
	}
	left := errors.New("the client has left")
	cancel(left)
	if n, err := io.Copy(io.Discard, s); !errors.Is(err, left) || n > 1<<20 {
		t.Errorf("%d bytes after the end, %v", n, err)
	}
}
