package publish_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"freshet.dev/pkg/publish"
	"github.com/parquet-go/parquet-go"
)

// place is a row of about 130 bytes as JSON.
type place struct {
	Key        string  `parquet:"key" json:"key"`
	Name       string  `parquet:"name,optional" json:"name"`
	Country    string  `parquet:"country,dict" json:"country"`
	Region     string  `parquet:"region,dict,optional" json:"region"`
	Lat        float64 `parquet:"lat" json:"lat"`
	Lng        float64 `parquet:"lng" json:"lng"`
	Population int64   `parquet:"population" json:"population"`
}

func placeOf(i int) place {
	return place{
		fmt.Sprintf("item-%09d", i), fmt.Sprintf("Sant Julià %d", i), "AD", "Encamp",
		42 + float64(i*7919%99_991)/1e5, 1 + float64(i*6151%99_989)/1e5, int64(i * 31 % 1_000_003),
	}
}

// BenchmarkPublishParquet is a whole first publish of 1,000,000 records, from a Parquet file, and from the same records as NDJSON.
func BenchmarkPublishParquet(b *testing.B) {
	const rows = 1_000_000
	folder := b.TempDir()
	lines, columns := filepath.Join(folder, "places.ndjson"), filepath.Join(folder, "places.parquet")
	writePlaces(b, lines, columns, rows)
	for _, c := range []struct {
		name, path string
		piped      bool
	}{{"ndjson", lines, false}, {"parquet", columns, false}, {"parquet from a pipe", columns, true}} {
		b.Run(c.name, func(b *testing.B) {
			r := newRig(b, nil)
			n := 0
			for b.Loop() {
				n++
				file, err := os.Open(c.path)
				if err != nil {
					b.Fatal(err)
				}
				in := publish.Input{Body: file, Key: "key"}
				if c.piped {
					in.Body = io.MultiReader(file)
				}
				if _, err := r.Publish(b.Context(), fmt.Sprint("d", n), in); err != nil {
					b.Fatal(err)
				}
				file.Close()
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// writePlaces writes the same rows into two files.
func writePlaces(t testing.TB, lines, columns string, rows int) {
	t.Helper()
	text, err := os.Create(lines)
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.Create(columns)
	if err != nil {
		t.Fatal(err)
	}
	buffered := bufio.NewWriter(text)
	object := json.NewEncoder(buffered)
	w := parquet.NewGenericWriter[place](table, parquet.Compression(&parquet.Snappy), parquet.MaxRowsPerRowGroup(250_000))
	for i := range rows {
		row := placeOf(i)
		if err := object.Encode(row); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]place{row}); err != nil {
			t.Fatal(err)
		}
	}
	for _, end := range []func() error{buffered.Flush, text.Close, w.Close, table.Close} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
}
