package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"freshet.dev/services/freshet/internal/exit"
)

// inputFile is what publish reads.
type inputFile struct {
	io.Reader
	name  string // as the user named it
	bytes int64  // -1 if it cannot be known
	close func() error
}

// openInput opens the file called name, or takes in for "-". The caller calls close.
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
		err = fmt.Errorf("look at %s: %w", name, err)
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

// progress returns a reader that shows on w, if that is a terminal, how much of in has been read, and a function that
// takes the bar away.
func (in inputFile) progress(w io.Writer) (io.Reader, func()) {
	if !isTerminal(w) {
		return in.Reader, func() {}
	}
	bar := progressbar.NewOptions64(in.bytes,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription("publishing "+in.name),
		progressbar.OptionShowBytes(true),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0), // no goroutine of its own
		progressbar.OptionClearOnFinish(),
	)
	reader := progressbar.NewReader(in.Reader, bar)
	return &reader, func() { _ = bar.Exit(); _ = bar.Clear() } // a bar that cannot be drawn harms nothing
}

func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
