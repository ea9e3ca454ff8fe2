package system

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
)

// host implements the part of testing.TB that package servertest uses, outside a test. A failure ends Run.
type host struct {
	testing.TB // nil: other methods are not called
	ctx        context.Context
	dir        string
	cleanups   []func()
	failed     bool
}

// fatal is the value of the panic that ends Run.
type fatal struct{ error }

func (h *host) Helper()                  {}
func (h *host) Context() context.Context { return h.ctx }
func (h *host) Cleanup(f func())         { h.cleanups = append(h.cleanups, f) }
func (h *host) Failed() bool             { return h.failed }

func (h *host) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Error logs the failure and goes on.
func (h *host) Error(args ...any) {
	h.failed = true
	fmt.Fprintln(os.Stderr, args...)
}

func (h *host) Fatal(args ...any) {
	h.failed = true
	panic(fatal{fmt.Errorf("%s", fmt.Sprint(args...))})
}

func (h *host) Fatalf(format string, args ...any) {
	h.failed = true
	panic(fatal{fmt.Errorf(format, args...)})
}

func (h *host) TempDir() string {
	dir, err := os.MkdirTemp(h.dir, "system-")
	if err != nil {
		h.Fatal(err)
	}
	return dir
}

// run calls f and returns its error, or the error of a fatal.
func (h *host) run(f func() error) (err error) {
	defer func() {
		switch end := recover().(type) {
		case nil:
		case fatal:
			err = end.error
		default:
			h.failed = true
			h.clean()
			panic(end)
		}
		h.failed = h.failed || err != nil
		h.clean()
	}()
	return f()
}

func (h *host) clean() {
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
	h.cleanups = nil
}
