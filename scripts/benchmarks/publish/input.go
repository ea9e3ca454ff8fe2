package publish

import (
	"bufio"
	"os"

	"freshet.dev/scripts/benchmarks/internal/rows"
)

// writeInput writes count rows as NDJSON. A version above 0 changes every hundredth row.
func writeInput(path string, count, version int) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	var line []byte
	for i := range count {
		if version > 0 && i%updateEvery == 0 {
			line = rows.AppendUpdate(line[:0], i)
		} else {
			line = rows.AppendValue(line[:0], i)
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return w.Flush()
}
