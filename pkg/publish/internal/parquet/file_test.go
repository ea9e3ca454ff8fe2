package parquet_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"freshet.dev/pkg/publish/internal/parquet"
)

var update = flag.Bool("update", false, "write the expected rows again")

var limits = parquet.Limits{Memory: 32 << 20, RowBytes: 1 << 20, Columns: 1 << 14}

// read returns all rows of a file.
func read(data []byte, limits parquet.Limits) (rows []string, err error) {
	f, err := parquet.Open(bytes.NewReader(data), int64(len(data)), limits)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for {
		row, err := f.AppendRow(nil)
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		rows = append(rows, string(row))
	}
}

func files(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.parquet")
	if err != nil || len(paths) < 30 {
		t.Fatalf("%d files in testdata: %v", len(paths), err)
	}
	all := make(map[string][]byte)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(path)] = data
	}
	return all
}

// Files of Impala, Spark, parquet-mr, Arrow and other writers become the rows in testdata/want.txt, or are refused as it says.
func TestFilesOfOtherPrograms(t *testing.T) {
	const shown = 3 // rows of a file
	var got strings.Builder
	for name, data := range sorted(files(t)) {
		rows, err := read(data, limits)
		fmt.Fprintf(&got, "%s: %d rows\n", name, len(rows))
		for i, row := range rows {
			if !json.Valid([]byte(row)) {
				t.Errorf("%s: row %d is not JSON: %s", name, i+1, row)
			}
			if i < shown {
				fmt.Fprintf(&got, "  %s\n", row)
			}
		}
		if err != nil {
			fmt.Fprintf(&got, "  %v\n", err)
			if _, ok := errors.AsType[*parquet.Refusal](err); !ok {
				t.Errorf("%s: the error %v is no Refusal", name, err)
			}
		}
	}
	const path = "testdata/want.txt"
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("the rows differ from %s (- want, + got):\n%s", path, diff)
	}
}

// A file in which any byte is wrong, or that ends anywhere, is read or refused. It takes neither much memory nor the process.
func TestDamagedFiles(t *testing.T) {
	tight := limits
	tight.Memory = 2 << 20
	for name, data := range files(t) {
		if len(data) > 3000 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			step := max(len(data)/200, 1)
			for at := 0; at < len(data); at += step {
				for _, value := range []byte{0x00, 0x7f, 0xff, data[at] ^ 1, data[at] + 1} {
					wrong := bytes.Clone(data)
					wrong[at] = value
					check(t, fmt.Sprintf("byte %d is %d", at, value), wrong, tight)
				}
				check(t, fmt.Sprintf("cut at %d", at), data[:at], tight)
			}
		})
	}
}

// check fails if reading data ends with another error than a Refusal, or if a row is not JSON.
func check(t *testing.T, what string, data []byte, limits parquet.Limits) {
	t.Helper()
	rows, err := read(data, limits)
	if _, ok := errors.AsType[*parquet.Refusal](err); err != nil && !ok {
		t.Errorf("%s: the error %v is no Refusal", what, err)
	}
	for _, row := range rows {
		if !json.Valid([]byte(row)) {
			t.Errorf("%s: not JSON: %s", what, row)
		}
	}
}

func FuzzFile(f *testing.F) {
	for _, data := range files(f) {
		f.Add(data)
	}
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		tight := parquet.Limits{Memory: 4 << 20, RowBytes: 1 << 16, Columns: 1 << 10}
		before := allocated()
		file, err := parquet.Open(bytes.NewReader(data), int64(len(data)), tight)
		rows := 0
		for ; err == nil && rows < 1000; rows++ {
			var row []byte
			if row, err = file.AppendRow(nil); err == nil && !json.Valid(row) {
				t.Errorf("not JSON: %s", row)
			}
		}
		if file != nil {
			file.Close()
		}
		if _, ok := errors.AsType[*parquet.Refusal](err); err != nil && err != io.EOF && !ok {
			t.Errorf("the error %v is no Refusal", err)
		}
		// The pages of each row group may take the memory again, and a row a buffer.
		if most := uint64(len(data)/20+rows+4) * uint64(tight.Memory); allocated()-before > most {
			t.Errorf("%d bytes took %d bytes of memory", len(data), allocated()-before)
		}
	})
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
