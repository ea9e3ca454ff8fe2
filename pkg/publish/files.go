package publish

import (
	"cmp"
	"fmt"
	"io"
	"strconv"

	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/input"
)

// MaxFiles is the most files of an input.
const MaxFiles = 10_000

// File is one of the files of an input: see [Input.Files].
type File struct {
	// Name names the file in errors, up to 1,024 bytes; if it is empty, its number does. If an earlier file has the name, the errors add the
	// number: "x.csv (file 2)".
	Name string
	// Body is read as Input.Body is.
	Body io.Reader
	// Format is the format of Body; FormatAuto detects NDJSON, JSON or Parquet by the first characters.
	Format Format
}

// maxFileName is the most bytes of File.Name.
const maxFileName = 1 << 10

// content is what the records of in are read from.
func (in Input) content() build.Input {
	content := build.Input{Records: in.Records, Removals: in.removals != "", EmptyHint: in.emptyHint(), Places: new(build.Places)}
	switch {
	case in.Body != nil:
		content.Files = func(yield func(build.File, error) bool) {
			yield(build.File{Body: in.Body, Open: in.opener(in.Format)}, nil)
		}
	case in.Files != nil:
		content.Files = in.files
	}
	return content
}

// files yields the files of in.Files.
func (in Input) files(yield func(build.File, error) bool) {
	n := 0
	names := map[string]bool{}
	for file, err := range in.Files {
		n++
		name := cmp.Or(file.Name, strconv.Itoa(n))
		switch {
		case err != nil:
			err = fmt.Errorf("file %d of the input: %w", n, err)
		case n > MaxFiles:
			err = &input.Refusal{Problem: fmt.Sprintf("the input has more than %d files", MaxFiles), Hint: "put them together into fewer"}
		case len(name) > maxFileName:
			err = &input.Refusal{Problem: fmt.Sprintf("the name of file %d has more than %d bytes", n, maxFileName), Hint: "use a shorter one"}
		case file.Body == nil:
			err = &input.Refusal{File: name, Problem: "the file has no Body", Hint: "set one"}
		case file.Format > FormatParquet:
			err = &input.Refusal{File: name, Problem: "the format is unknown", Hint: "use one of " + formatNames}
		}
		if names[name] {
			name = fmt.Sprintf("%s (file %d)", name, n)
		}
		names[name] = true
		if !yield(build.File{Name: name, Body: file.Body, Open: in.opener(file.Format)}, err) || err != nil {
			return
		}
	}
}

// opener returns what opens the reader of a format.
func (in Input) opener(format Format) func(*input.Stream) (input.Source, error) {
	return func(text *input.Stream) (input.Source, error) {
		key, opts := in.ruling.Key(), in.ruling.Options()
		if in.removals == "" {
			opts = append(opts, input.NoRemovals(DefaultRemove))
		} else {
			opts = append(opts, input.Removals(in.removals, in.removals != DefaultRemove))
		}
		switch format {
		case FormatCSV:
			return input.NewCSV(text, key, opts...)
		case FormatNDJSON:
			return input.NewNDJSON(text, key, opts...), nil
		case FormatJSON:
			return input.NewJSON(text, key, opts...), nil
		case FormatParquet:
			return input.NewParquet(text, key, opts...)
		}
		return input.NewDetected(text, key, opts...)
	}
}
