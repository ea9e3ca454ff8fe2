package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"freshet.dev/services/freshet/internal/show"
)

// commitTick is the interval at which a progress redraws the time of the commit. Tests change it.
var commitTick = 250 * time.Millisecond

// progress shows the progress of one publish on a terminal: a bar while the input is uploaded, then the time that the publisher takes
// to sort and commit the records.
type progress struct {
	in io.Reader
	w  io.Writer

	mu  sync.Mutex // guards bar, whose Clear is not safe for concurrent use
	bar *progressbar.ProgressBar

	bytes    int64         // read so far; constant once uploaded is closed
	uploaded chan struct{} // closed at the end of the input
	stop     chan struct{} // closed by hide
	hidden   chan struct{} // closed when the goroutine of run has ended
}

// progress returns a reader of the input that shows on w, if w is a terminal, how far the publish is. The caller calls hide once the
// publisher has answered, to clear the terminal. tick is the interval of updates during the commit.
func (in *inputFile) progress(w io.Writer, tick time.Duration) (r io.Reader, hide func()) {
	if !isTerminal(w) {
		return in.ReadCloser, func() {}
	}
	bar := progressbar.NewOptions64(in.bytes,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription("publishing "+in.name),
		progressbar.OptionShowBytes(true),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0), // without a goroutine
		progressbar.OptionClearOnFinish(),
	)
	p := &progress{
		in: in.ReadCloser, w: w, bar: bar,
		uploaded: make(chan struct{}), stop: make(chan struct{}), hidden: make(chan struct{}),
	}
	go p.run(tick)
	return p, func() {
		close(p.stop)
		<-p.hidden
		p.clear()
	}
}

// Read implements [io.Reader].
func (p *progress) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	select {
	case <-p.uploaded:
		return n, err
	default:
	}
	p.bytes += int64(n)
	p.mu.Lock()
	_ = p.bar.Add(n) // the publish does not depend on the bar
	p.mu.Unlock()
	if err == io.EOF {
		close(p.uploaded)
	}
	return n, err
}

// run shows the time since the upload until hide.
func (p *progress) run(tick time.Duration) {
	defer close(p.hidden)
	select {
	case <-p.uploaded:
	case <-p.stop:
		return
	}
	p.clear()
	began := time.Now()
	updates := time.NewTicker(tick)
	defer updates.Stop()
	line := ""
	for {
		select {
		case <-p.stop:
			fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", len(line)))
			return
		case <-updates.C:
			line = fmt.Sprintf("uploaded %s, committing ... %d s", show.Bytes(p.bytes), int(time.Since(began).Seconds()))
			fmt.Fprintf(p.w, "\r%s", line)
		}
	}
}

// clear removes the bar from the terminal.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.bar.Exit()
	_ = p.bar.Clear()
}
