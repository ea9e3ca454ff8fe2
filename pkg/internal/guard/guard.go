// Package guard turns panics into errors. The error's text is one line with the value and the place of the panic; the stack
// is kept for the log.
package guard

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/sourcegraph/conc/panics"
)

// Panic is the error of a function that panicked.
type Panic struct {
	recovered *panics.Recovered
}

// Try runs f and returns its error, or a *[Panic].
func Try(f func() error) error {
	var err error
	if r := panics.Try(func() { err = f() }); r != nil {
		return &Panic{r}
	}
	return err
}

// Recovered returns the error of a panic, given the result of recover. It is for code for which Try is too slow. The deferred
// function must call it directly.
func Recovered(value any) error {
	r := panics.NewRecovered(1, value)
	return &Panic{&r}
}

// Error returns one line, without the stack: reports and statuses contain it.
func (p *Panic) Error() string {
	return fmt.Sprintf("panic: %v (at %s)", p.recovered.Value, p.where())
}

// Unwrap returns the value of the panic if it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.recovered.Value.(error)
	return err
}

// Stack returns the goroutine's stack at the panic, as debug.Stack prints it.
func (p *Panic) Stack() string { return string(p.recovered.Stack) }

// Stack returns the stack of the panic that err wraps, or "" if err wraps none.
func Stack(err error) string {
	if p := (*Panic)(nil); errors.As(err, &p) {
		return p.Stack()
	}
	return ""
}

// where returns the function and the line of the panic: the frame that called into the runtime, or that the runtime
// interrupted.
func (p *Panic) where() string {
	frames := runtime.CallersFrames(p.recovered.Callers)
	panicking := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicking = true
		case panicking && !strings.HasPrefix(f.Function, "runtime."):
			return fmt.Sprintf("%s, %s:%d", f.Function, filepath.Base(f.File), f.Line)
		}
		if !more {
			return "an unknown place"
		}
	}
}
