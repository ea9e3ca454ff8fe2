package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// edition is one version of a dataset as the input of a pipeline: gzipped NDJSON.
type edition struct {
	name string
	gzip []byte
}

// records returns the records of the edition, values byte for byte as in the input.
func (e edition) records(t *testing.T) map[string]string {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(e.gzip))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	lines := bufio.NewReader(zr)
	for {
		line, err := lines.ReadBytes('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 {
			var r struct{ Key string }
			if err := json.Unmarshal(line, &r); err != nil {
				t.Fatalf("%s: %v", e.name, err)
			}
			all[r.Key] = string(line)
		}
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// shipped returns the versions of MDN's browser-compat data that the demo ships.
func shipped(t *testing.T) []edition {
	t.Helper()
	return editions(t, "../freshet/internal/demo/data")
}

// cities returns the four versions of the GeoNames cities next to the checkout where freshet is developed. Elsewhere it returns four
// generated versions of the same shape, size and rate of change: the licence (CC-BY-4.0) keeps the real ones out of this repository.
func cities(t *testing.T) []edition {
	t.Helper()
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		real := filepath.Join(dir, "shared/data/cities")
		if _, err := os.Stat(real); err == nil {
			return editions(t, real)
		}
	}
	t.Log("no shared/data/cities beside this checkout: using made-up cities")
	return madeUpCities(t)
}

func editions(t *testing.T, dir string) []edition {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.ndjson.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no *.ndjson.gz in %s: %v", dir, err)
	}
	slices.Sort(files)
	var all []edition
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, edition{name: strings.TrimSuffix(filepath.Base(f), ".ndjson.gz"), gzip: b})
	}
	return all
}

// madeUpCities returns four versions of about 170,000 records of about 148 bytes. Each version adds, changes and removes about 1 % of the
// records.
func madeUpCities(t *testing.T) []edition {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	row := func(key string) string {
		return fmt.Sprintf(`{"key":%q,"admin1":"%02d","admin2":"","country":%q,"lat":%.5f,"lng":%.5f,"name":%q,"region":"Région %d"}`,
			key, rng.IntN(90), key[:2], rng.Float64()*180-90, rng.Float64()*360-180, key[6:], rng.IntN(1000))
	}
	key := func(i int) string {
		return fmt.Sprintf("%c%c/%02d//Villa %d", 'A'+i%26, 'A'+i/26%26, i%90, i)
	}
	const size = 170_000
	rows := map[string]string{}
	for i := range size {
		rows[key(i)] = row(key(i))
	}
	var all []edition
	for v := range 4 {
		if v > 0 {
			for range size / 300 {
				delete(rows, key(rng.IntN(size)))
				k := key(rng.IntN(size))
				rows[k] = row(k)
				k = key(size*(v+1) + rng.IntN(size))
				rows[k] = row(k)
			}
		}
		var b bytes.Buffer
		zw := gzip.NewWriter(&b)
		for _, k := range slices.Sorted(maps.Keys(rows)) {
			fmt.Fprintln(zw, rows[k])
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		all = append(all, edition{name: fmt.Sprintf("made up %d", v+1), gzip: b.Bytes()})
	}
	return all
}
