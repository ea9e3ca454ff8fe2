package input_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"freshet.dev/pkg/publish/internal/input"
	"github.com/klauspost/compress/zstd"
)

// The least bits of a block's header are its type and whether it is the last. No value of them panics or keeps a window.
func TestBlockHeaders(t *testing.T) {
	const window = 8 << 20
	var reserved []int64
	for _, checksum := range []byte{0, 4} {
		for bits := range byte(8) {
			for _, size := range []byte{0, 1, 31} {
				for _, first := range []string{"", "\x00\x00\x00"} { // an empty block before it
					name := fmt.Sprintf("checksum %d, bits %03b, size %d, after %x", checksum, bits, size, first)
					body := []byte{0x28, 0xb5, 0x2f, 0xfd, checksum, 0x68} // a window of 8 MiB
					body = append(body, first...)
					body = append(body, bits|size<<3, 0, 0)
					// The semaphore has no more: the next window waits in vain if this one is not released.
					windows := input.NewWindows(window)
					_, err := stream(t, body, windows, &reserved)
					r, refused := errors.AsType[*input.Refusal](err)
					if err != nil && !refused {
						t.Errorf("%s: %v", name, err)
					}
					if bits>>1 == 3 && (!refused || !strings.Contains(r.Problem, "the zstd data is damaged: ") || !strings.Contains(r.Problem, "reserved block type")) {
						t.Errorf("%s: %v; want a refusal of the reserved block type", name, err)
					}
					if got, err := stream(t, windowed(t, twoLines, window), windows, &reserved); err != nil || got != twoLines {
						t.Errorf("the window after %s: %q, %v", name, got, err)
					}
				}
			}
		}
	}
}

// A panic while an input begins releases its window.
func TestPanicReleasesWindow(t *testing.T) {
	const window = 8 << 20
	windows := input.NewWindows(window)
	packed := windowed(t, twoLines, window)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("there was no panic")
			}
		}()
		_, _ = input.NewStream(input.NewBody(t.Context(), bytes.NewReader(packed)), input.Limits{
			Windows: windows, Reserve: func(n int64) {
				if n > 0 {
					panic("of the test")
				}
			},
		})
	}()
	var reserved []int64
	if got, err := stream(t, packed, windows, &reserved); err != nil || got != twoLines {
		t.Errorf("the window after a panic: %q, %v", got, err)
	}
}

// A frame that needs a dictionary is refused with a remedy that works.
func TestDictionary(t *testing.T) {
	compress := func(opts ...zstd.EOption) []byte {
		w, err := zstd.NewWriter(nil, opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		return w.EncodeAll([]byte(twoLines), nil)
	}
	for _, id := range []uint32{7, 70_000} {
		var reserved []int64
		_, err := stream(t, compress(zstd.WithEncoderDictRaw(id, []byte(twoLines))), input.NewWindows(64<<20), &reserved)
		r, ok := errors.AsType[*input.Refusal](err)
		if !ok || !strings.Contains(r.Problem, "compressed with a dictionary") || r.Hint != "compress it without a dictionary" || r.Line != 1 {
			t.Errorf("dictionary %d: %v", id, err)
		}
	}
	var reserved []int64
	if got, err := stream(t, compress(), input.NewWindows(64<<20), &reserved); err != nil || got != twoLines {
		t.Errorf("without a dictionary: %q, %v", got, err)
	}
}
