package demo

import (
	"bytes"
	"embed"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// data holds successive releases of one dataset; data/README.md names their source and licence.
//
//go:embed data/*.ndjson.gz
var data embed.FS

const (
	dataDir    = "data"
	dataSuffix = ".ndjson.gz"
)

// release is the name of a release of the demo's data, as in its source.
type release string

// releases returns all releases, oldest first.
func releases() ([]release, error) {
	entries, err := data.ReadDir(dataDir)
	if err != nil {
		return nil, fmt.Errorf("list the demo's data: %w", err)
	}
	var all []release
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), dataSuffix); ok {
			all = append(all, release(name))
		}
	}
	slices.SortFunc(all, func(a, b release) int { return slices.Compare(a.numbers(), b.numbers()) })
	return all, nil
}

// numbers returns the numbers in a release's name, which sort 8.1.10 after 8.1.9.
func (r release) numbers() []int {
	var n []int
	for part := range strings.SplitSeq(string(r), ".") {
		v, _ := strconv.Atoi(part) // a part that is not a number sorts first
		n = append(n, v)
	}
	return n
}

func (r release) fileName() string { return string(r) + dataSuffix }

// open returns the release's records as gzipped NDJSON.
func (r release) open() (io.Reader, error) {
	b, err := data.ReadFile(dataDir + "/" + r.fileName())
	if err != nil {
		return nil, fmt.Errorf("read the demo's data: %w", err)
	}
	return bytes.NewReader(b), nil
}
