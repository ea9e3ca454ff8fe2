package parquet_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	library "github.com/parquet-go/parquet-go"

	"freshet.dev/pkg/publish/internal/parquet"
)

func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// write returns a Parquet file of rows.
func write[T any](t testing.TB, rows []T, options ...library.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w := library.NewGenericWriter[T](&b, options...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type pair struct {
	ID   string `parquet:"id"`
	Text string `parquet:"text,optional"`
}

type number struct {
	ID string  `parquet:"id"`
	N  float64 `parquet:"n"`
}

// A refusal names the row group, the column, the row and the bytes.
func TestRefusals(t *testing.T) {
	twins := make([]pair, 5000)
	for i := range twins {
		twins[i] = pair{strings.Repeat("z", 100), strings.Repeat("y", 100)}
	}
	long := strings.Repeat("x", 1<<20)
	many := make([]pair, 5000)
	for i := range many {
		many[i] = pair{fmt.Sprint(i), strings.Repeat("y", 100)}
	}
	dictionary := write(t, slices.Repeat([]struct {
		ID   int    `parquet:"id"`
		Text string `parquet:"text,dict"`
	}{{1, long}}, 3), library.SkipPageStatistics("text"), library.SkipPageBounds("text"))
	for name, c := range map[string]struct {
		data   []byte
		limits parquet.Limits
		want   string
	}{
		"eight bytes":     {[]byte("PAR1PAR1"), limits, "the Parquet file is damaged: it has 8 bytes; "},
		"a huge footer":   {[]byte("PAR1....\xff\xff\xff\x7fPAR1"), limits, "its footer has 2147483647 bytes, and the file 16"},
		"text":            {[]byte(strings.Repeat("text ", 10)), limits, `the input begins with "text": it is no Parquet file; name its format`},
		"cut":             {write(t, many)[:1000], limits, "the Parquet file is cut short: it does not end with PAR1"},
		"NaN":             {write(t, []number{{"a", 1}, {"b", math.NaN()}}), limits, `row 2: column "n": it has NaN or an infinity`},
		"not UTF-8":       {write(t, []pair{{"a", "\xff"}}), limits, `row 1: column "text": it has a string that is not UTF-8; convert it`},
		"a large page":    {write(t, []pair{{"a", long}}, library.SkipPageStatistics("text"), library.SkipPageBounds("text")), parquet.Limits{Memory: 1 << 20, RowBytes: 2 << 20, Columns: 2}, `row group 1, column "text": the pages of the column needs `},
		"a large row":     {write(t, []pair{{"a", "x"}, {"b", long}}), parquet.Limits{Memory: 32 << 20, RowBytes: 1 << 20, Columns: 2}, "row 2: the row has more than 1048576 bytes; split it into several records"},
		"many columns":    {write(t, many), parquet.Limits{Memory: 32 << 20, RowBytes: 1 << 20, Columns: 1}, "the Parquet file has 2 columns, the most is 1"},
		"both columns":    {write(t, twins), parquet.Limits{Memory: 2000 << 10, RowBytes: 1 << 20, Columns: 2}, "the pages of its 2 columns together, of which this one takes the most, "},
		"a dictionary":    {dictionary, parquet.Limits{Memory: 1 << 20, RowBytes: 2 << 20, Columns: 2}, `row group 1, column "text"`},
		"a column's type": {write(t, []map[string]any{}, library.NewSchema("s", library.Group{"b": library.BSON()})), limits, `column "b" has the type BSON, which is not read; leave the column out`},
		"a map's keys":    {write(t, []map[string]any{}, library.NewSchema("s", library.Group{"m": library.Map(library.Int(32), library.String())})), limits, `column "m" is a map whose keys are no strings`},
		"no removal":      {write(t, many), parquet.Limits{Memory: 32 << 20, RowBytes: 1 << 20, Columns: 2, Flag: "text"}, `column "text" marks removals, and is not of the type BOOLEAN; true removes`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(c.data, c.limits)
			if _, ok := errors.AsType[*parquet.Refusal](err); !ok || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// A page that decompresses to gigabytes is refused by its header, or once it has more bytes than that says.
func TestBombs(t *testing.T) {
	zeros := slices.Repeat([]pair{{"", strings.Repeat("\x00", 100_000)}}, 400)
	for _, codec := range []library.WriterOption{
		library.Compression(&library.Gzip), library.Compression(&library.Zstd), library.Compression(&library.Brotli), library.Compression(&library.Snappy), library.Compression(&library.Lz4Raw),
	} {
		data := write(t, zeros, codec, library.PageBufferSize(64<<20))
		tight := parquet.Limits{Memory: 8 << 20, RowBytes: 1 << 20, Columns: 2}
		before := allocated()
		_, err := read(data, tight)
		refused, ok := errors.AsType[*parquet.Refusal](err)
		if !ok || refused.Memory < 40_000_000 {
			t.Errorf("%v", err)
		}
		if took := allocated() - before; took > 16<<20 {
			t.Errorf("took %d bytes", took)
		}
	}
}

// Memory is admitted before it is used, and a failure of it or of the file is no refusal.
func TestErrorsOfTheReader(t *testing.T) {
	data := write(t, []pair{{"a", "b"}})
	busy := errors.New("busy")
	limited := limits
	limited.Admit = func(bytes int64) error {
		if bytes <= 0 {
			t.Errorf("asked for %d bytes", bytes)
		}
		return busy
	}
	if _, err := read(data, limited); err != busy {
		t.Errorf("got %v", err)
	}
	broken := errors.New("broken disk")
	for fails := range 12 {
		f, err := parquet.Open(&failing{bytes.NewReader(data), fails, broken}, int64(len(data)), limits)
		if err == nil {
			_, err = f.AppendRow(nil)
			f.Close()
		}
		if err != nil && !errors.Is(err, broken) {
			t.Errorf("the read %d fails: got %v", fails, err)
		}
	}
}

// failing fails at the read with the number.
type failing struct {
	io.ReaderAt
	left int
	err  error
}

func (f *failing) ReadAt(b []byte, at int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(b, at)
}
