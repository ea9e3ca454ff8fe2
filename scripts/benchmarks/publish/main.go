package publish

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"freshet.dev/scripts/benchmarks/internal/proc"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// name is the name of the dataset.
const name = "bench"

// updateEvery is the number of rows for each row that the second version changes.
const updateEvery = 100

// Main runs the measurement with the given command line and prints its table to out.
func Main(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("publish", flag.ContinueOnError)
	size := flags.Int64("bytes", 1_000_000_000, "size of the input file")
	temp := flags.String("temp", "", "folder for the files, which take about four times -bytes; default: the system's")
	part := flags.String("part", "", "used by the program itself: what a child process measures")
	dir := flags.String("dir", "", "used by the program itself: the folder of the files")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	count := int(*size / (rows.ValueBytes + 1)) // a row and its newline
	if count < 1 {
		return fmt.Errorf("%d bytes hold no row", *size)
	}
	if *part != "" {
		v, err := child(ctx, *part, *dir)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(v)
	}

	folder, err := os.MkdirTemp(*temp, "freshet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	run := func(part string) (cost, error) {
		var c cost
		return c, proc.Child(ctx, &c, "publish", "-part", part, "-dir", folder)
	}
	r := result{count: count}
	for version, c := range []*cost{&r.first, &r.second} {
		if err := writeInput(inputIn(folder), count, version); err != nil {
			return err
		}
		if *c, err = run("publish"); err != nil {
			return err
		}
	}
	if r.load, err = run("load"); err != nil {
		return err
	}
	return r.print(out)
}

// inputIn and storeIn return the paths of the input and the store in the folder.
func inputIn(folder string) string { return filepath.Join(folder, "input.ndjson") }
func storeIn(folder string) string { return "dir://" + filepath.Join(folder, "store") }
