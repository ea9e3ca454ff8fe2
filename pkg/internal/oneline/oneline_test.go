package oneline_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"freshet.dev/pkg/internal/oneline"
)

func TestJoin(t *testing.T) {
	if err := oneline.Join(nil, nil); err != nil {
		t.Errorf("no errors are joined to %v", err)
	}
	err := oneline.Join(nil, io.EOF, oneline.Join(io.ErrClosedPipe, errors.ErrUnsupported))
	if err.Error() != "EOF; io: read/write on closed pipe; unsupported operation" || !errors.Is(err, io.EOF) || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("the joined error is %q", err)
	}
	nested := fmt.Errorf("read: %w", errors.Join(io.ErrClosedPipe, errors.ErrUnsupported))
	if err := oneline.Join(io.EOF, nested); err.Error() != "EOF; read: io: read/write on closed pipe; unsupported operation" {
		t.Errorf("the joined error is %q", err)
	}
}
