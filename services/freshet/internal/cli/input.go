package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/term"

	"freshet.dev/services/freshet/internal/exit"
)

// inputFile is the input of publish.
type inputFile struct {
	io.Reader
	name  string // as given on the command line
	bytes int64  // -1 if unknown
	close func() error
}

// openInput opens the file with the name, or returns in for "-". The caller calls close.
func openInput(name string, in io.Reader) (inputFile, error) {
	if name == "-" {
		return inputFile{Reader: in, name: "standard input", bytes: -1, close: func() error { return nil }}, nil
	}
	file, err := os.Open(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return inputFile{}, exit.Errorf(exit.Usage, "there is no file %s; - reads standard input", name)
		}
		return inputFile{}, exit.With(exit.Usage, err)
	}
	info, err := file.Stat()
	switch {
	case err != nil:
		err = fmt.Errorf("stat %s: %w", name, err)
	case info.IsDir():
		err = exit.Errorf(exit.Usage, "%s is a folder; name one file, or - for standard input", name)
	}
	if err != nil {
		return inputFile{}, errors.Join(err, file.Close())
	}
	size := info.Size()
	if !info.Mode().IsRegular() {
		size = -1
	}
	return inputFile{Reader: file, name: name, bytes: size, close: file.Close}, nil
}

// isTerminal reports whether w is a terminal.
func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
