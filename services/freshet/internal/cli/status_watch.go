package cli

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"freshet.dev/services/freshet/internal/overview"
)

// Control sequences of a terminal: move the cursor to the first line, erase the rest of the line, and erase everything below.
const (
	home     = "\x1b[H"
	restLine = "\x1b[K"
	rest     = "\x1b[J"
)

// keepLooking shows the status repeatedly and returns nil when ctx ends. On a terminal each look replaces the one before; other
// outputs get one block or line after the other.
func (f *statusFlags) keepLooking(ctx context.Context, p Process, sources overview.Sources, names []string) error {
	tick := time.NewTicker(f.interval)
	defer tick.Stop()
	terminal := f.out == textOutput && isTerminal(p.Out)
	if terminal {
		if _, err := fmt.Fprint(p.Out, home+rest); err != nil {
			return err
		}
	}
	for {
		o := overview.Look(ctx, sources, names)
		o.Retention(f.unset)
		if ctx.Err() != nil {
			return nil
		}
		if err := f.show(p, o, terminal); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// show writes one look in a single write, so that a terminal does not flicker.
func (f *statusFlags) show(p Process, o overview.Overview, terminal bool) error {
	warnings := omissions(o)
	if err := o.Err(); err != nil {
		warnings = append(warnings, err.Error())
	}
	if f.out == jsonOutput {
		for _, text := range warnings {
			fmt.Fprintf(p.Err, "freshet: warning: %s\n", text)
		}
		return writeLine(p.Out, o.Datasets)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\n", o.At.Format(time.DateTime))
	if err := printStatus(&b, o, f.wide); err != nil {
		return err
	}
	if text := retentionText(o); text != "" {
		fmt.Fprintf(&b, "\n%s\n", text)
	}
	for i, text := range warnings {
		if i == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "warning: %s\n", text)
	}
	text := b.Bytes()
	if terminal {
		text = append([]byte(home), bytes.ReplaceAll(text, []byte("\n"), []byte(restLine+"\n"))...)
		text = append(text, rest...)
	} else {
		text = append(text, '\n')
	}
	_, err := p.Out.Write(text)
	return err
}
