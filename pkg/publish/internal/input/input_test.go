package input_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"freshet.dev/pkg/publish/internal/input"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record is what was read.
type record struct {
	Line       int
	Key, Value string
}

type format string

const (
	detected format = "auto"
	ndjson   format = "ndjson"
	array    format = "json"
	csv      format = "csv"
)

// read reads a whole input the way Publish does, with the key in member key.
func read(ctx context.Context, r io.Reader, f format, key string, opts ...input.Option) ([]record, error) {
	return readKey(ctx, r, f, input.Member(key), opts...)
}

func readKey(ctx context.Context, r io.Reader, f format, key input.Key, opts ...input.Option) ([]record, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	text, err := input.NewStream(input.NewBody(ctx, r), input.Limits{Windows: input.NewWindows(64 << 20)})
	if err != nil {
		return nil, err
	}
	defer text.Close()
	var src input.Source
	switch f {
	case ndjson:
		src = input.NewNDJSON(text, key, opts...)
	case array:
		src = input.NewJSON(text, key, opts...)
	case csv:
		src, err = input.NewCSV(text, key, opts...)
	default:
		src, err = input.NewDetected(text, key, opts...)
	}
	if err != nil {
		return nil, err
	}
	var all []record
	var b input.Batch
	var d input.Decoder
	for {
		if err := src.Next(&b); err == io.EOF {
			return all, nil
		} else if err != nil {
			return all, err
		}
		if d == nil {
			d = src.NewDecoder()
		}
		for i := range b.Len() {
			k, v, err := d.Decode(&b, i)
			if err != nil {
				return all, err
			}
			all = append(all, record{b.Line(i), string(k), string(v)})
		}
	}
}

// packings are the ways in which the same text may arrive.
var packings = map[string]func(text string) []byte{
	"plain":           func(text string) []byte { return []byte(text) },
	"byte order mark": func(text string) []byte { return []byte("\ufeff" + text) },
	"gzip": func(text string) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(text))
		_ = w.Close()
		return b.Bytes()
	},
	"gzip in two members": func(text string) []byte {
		var b bytes.Buffer
		for _, half := range []string{text[:len(text)/2], text[len(text)/2:]} {
			w := gzip.NewWriter(&b)
			_, _ = w.Write([]byte(half))
			_ = w.Close()
		}
		return b.Bytes()
	},
	"zstd":                        pack,
	"byte order mark within zstd": func(text string) []byte { return pack("\ufeff" + text) },
	"zstd after a skippable frame": func(text string) []byte {
		return append([]byte{0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}, pack(text)...)
	},
}

func pack(text string) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll([]byte(text), nil)
}
