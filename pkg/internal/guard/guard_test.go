package guard

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
)

func explode(v any) { panic(v) }

func overrun(b []byte, i int) byte { return b[i] }

func TestTryReturnsTheError(t *testing.T) {
	if err := Try(func() error { return io.EOF }); err != io.EOF {
		t.Errorf("got %v, want EOF", err)
	}
	if err := Try(func() error { return nil }); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestPanicHasValueAndPlace(t *testing.T) {
	for want, f := range map[string]func(){
		`^panic: boom \(at .*guard\.explode, guard_test\.go:\d+\)$`:                func() { explode("boom") },
		`^panic: .*index out of range.* \(at .*guard\.overrun, guard_test\.go:\d+`: func() { overrun(nil, 3) },
		`^panic: .*nil pointer.* \(at .*guard\.Test.*, guard_test\.go:\d+`:         func() { var p *Panic; _ = p.recovered.Value },
	} {
		err := Try(func() error { f(); return nil })
		if err == nil || !regexp.MustCompile(want).MatchString(err.Error()) {
			t.Errorf("got %v, want a match of %s", err, want)
		}
		if s := Stack(fmt.Errorf("wrapped: %w", err)); !strings.Contains(s, "guard_test.go") {
			t.Errorf("the stack of %v is %q", err, s)
		}
	}
	err := func() (err error) {
		defer func() { err = Recovered(recover()) }()
		explode("by hand")
		return nil
	}()
	if !strings.HasPrefix(err.Error(), "panic: by hand (at ") || !strings.Contains(err.Error(), "guard.explode") {
		t.Errorf("Recovered says %v", err)
	}
	if err := Try(func() error { explode(io.EOF); return nil }); !errors.Is(err, io.EOF) {
		t.Errorf("%v does not wrap what was panicked with", err)
	}
	if s := Stack(io.EOF); s != "" {
		t.Errorf("an error without a panic has the stack %q", s)
	}
}
