// Package guard turns panics into errors that say in one line what panicked and where, and keep the stack for the log.
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

// Recovered returns the error of the panic whose recover() returned value. It is for code that is too hot for Try;
// call it in the deferred function itself.
func Recovered(value any) error {
	r := panics.NewRecovered(1, value)
	return &Panic{&r}
}

// Error is one line: an error goes into reports and statuses, a stack does not fit there.
func (p *Panic) Error() string {
	return fmt.Sprintf("panic: %v (at %s)", p.recovered.Value, p.where())
}

// Unwrap returns what was panicked with, if it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.recovered.Value.(error)
	return err
}

// Stack returns the goroutine's stack at the panic, as debug.Stack prints it.
func (p *Panic) Stack() string { return string(p.recovered.Stack) }

// Stack returns the stack of the panic that err wraps; empty if it wraps none.
func Stack(err error) string {
	if p := (*Panic)(nil); errors.As(err, &p) {
		return p.Stack()
	}
	return ""
}

// where returns the function and line that panicked: the frame that called into the runtime or was interrupted by it.
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
