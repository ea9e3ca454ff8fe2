package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"freshet.dev/pkg/publish"
	"freshet.dev/services/freshet/internal/client"
)

// inputFile is the input of publish: one source, or a body that has several.
type inputFile struct {
	io.ReadCloser
	name        string // for people
	bytes       int64  // -1 if unknown
	format      publish.Format
	contentType string // of several sources; else empty
	sources     *sources
}

// openInput opens what the names stand for; in is standard input. With FormatAuto each source has the format of its
// name. The caller calls close.
func openInput(ctx context.Context, names []string, in io.Reader, format publish.Format) (inputFile, error) {
	s, err := findSources(ctx, names, in)
	if err != nil {
		return inputFile{}, err
	}
	f := inputFile{sources: s, format: format, name: fmt.Sprintf("%d files", len(s.all))}
	for _, source := range s.all {
		if f.bytes >= 0 && source.bytes >= 0 {
			f.bytes += source.bytes
		} else {
			f.bytes = -1
		}
	}
	if len(s.all) == 1 {
		f.name, f.format = s.all[0].name, formatOf(s.all[0], format)
	}
	if err := f.open(); err != nil {
		s.close()
		return inputFile{}, err
	}
	return f, nil
}

// formatOf returns the format that the name of the source has, if given is FormatAuto, else given.
func formatOf(s source, given publish.Format) publish.Format {
	if given == publish.FormatAuto {
		return publish.FormatOf(s.name)
	}
	return given
}

// open makes the reader.
func (f *inputFile) open() (err error) {
	if len(f.sources.all) == 1 {
		f.ReadCloser, err = f.sources.all[0].open()
		return err
	}
	files := make([]client.File, 0, len(f.sources.all))
	for _, s := range f.sources.all {
		files = append(files, client.File{Name: s.name, Format: formatOf(s, f.format), Open: s.open})
	}
	body := client.NewMultipart(files)
	f.ReadCloser, f.contentType = body, body.ContentType()
	return nil
}

// close closes the input.
func (f *inputFile) close() {
	_ = f.ReadCloser.Close() // only read
	f.sources.close()
}

// again opens the input from its beginning. It reports false if that cannot be done.
func (f *inputFile) again() bool {
	for _, s := range f.sources.all {
		if s.once {
			return false
		}
	}
	_ = f.ReadCloser.Close()
	return f.open() == nil
}

// isTerminal reports whether w is a terminal.
func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
