package input_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"freshet.dev/pkg/publish/internal/input"
	"github.com/klauspost/compress/zstd"
)

// windowed returns text as one zstd frame that declares a window of the given bytes.
func windowed(t *testing.T, text string, window int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.SplitAfter(text, "\n") { // written in parts and flushed, a frame has no content size
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var h zstd.Header
	if err := h.Decode(b.Bytes()); err != nil || h.SingleSegment || h.WindowSize != uint64(window) {
		t.Fatalf("the frame is %+v, %v", h, err)
	}
	return b.Bytes()
}

const twoLines = `{"id":"a"}` + "\n" + `{"id":"b"}` + "\n"

// stream reads data to its end, within windows. reserved gets what it reserves.
func stream(t *testing.T, data []byte, windows *input.Windows, reserved *[]int64) (string, error) {
	s, err := input.NewStream(input.NewBody(t.Context(), bytes.NewReader(data)), input.Limits{
		Windows: windows, Reserve: func(n int64) { *reserved = append(*reserved, n) },
	})
	if err != nil {
		return "", err
	}
	defer s.Close()
	text, err := io.ReadAll(s)
	return string(text), err
}

func TestWindowTooLarge(t *testing.T) {
	for _, c := range []struct {
		patch    bool
		memory   int64
		window   int
		problem  string
		hint     string
		accepted bool
	}{
		{memory: 64 << 20, window: 32 << 20, accepted: true},
		{memory: 64 << 20, window: 64 << 20, problem: "needs a window of 64MiB to decompress, and the most for publishes is 32MiB", hint: "zstd --long=25, or with zstd -19 or less and without --long and --ultra; or raise FRESHET_MEMORY_BYTES of the publisher (MemoryBytes of the library) to 128MiB"},
		{memory: 128 << 20, window: 64 << 20, accepted: true}, // which the hint says
		{memory: 4 << 20, window: 8 << 20, accepted: true},    // zstd -19, whatever the memory
		{memory: 4 << 20, window: 16 << 20, problem: "most for publishes is 8MiB", hint: "--long=23"},
		{memory: 2 << 30, window: 128 << 20, accepted: true},
		{memory: 2 << 30, window: 256 << 20, problem: "most for publishes is 128MiB", hint: "--long=27, or with zstd -19 or less and without --long and --ultra"},
		{patch: true, memory: 64 << 20, window: 16 << 20, accepted: true},
		{patch: true, memory: 64 << 20, window: 32 << 20, problem: "needs a window of 32MiB to decompress, and the most for patches is 16MiB", hint: "zstd --long=24, or with zstd -19 or less and without --long and --ultra; or raise FRESHET_MEMORY_BYTES of the publisher (MemoryBytes of the library) to 128MiB"},
		{patch: true, memory: 128 << 20, window: 32 << 20, accepted: true},
		{patch: true, memory: 4 << 20, window: 8 << 20, accepted: true},
		{patch: true, memory: 2 << 30, window: 256 << 20, problem: "most for patches is 128MiB", hint: "--long=27, or with zstd -19 or less and without --long and --ultra"},
	} {
		windows := input.NewWindows(c.memory)
		if c.patch {
			windows = input.NewPatchWindows(c.memory)
		}
		// Also in a second frame, and behind a skippable one.
		for name, before := range map[string]string{"first": "", "second": string(pack(twoLines)), "skippable": "\x5a\x2a\x4d\x18\x03\x00\x00\x00abc"} {
			var reserved []int64
			got, err := stream(t, append([]byte(before), windowed(t, twoLines, c.window)...), windows, &reserved)
			if c.accepted {
				if err != nil || !strings.HasSuffix(got, twoLines) {
					t.Errorf("window %d of memory %d, %s: %q, %v", c.window, c.memory, name, got, err)
				}
				if n := len(reserved); n < 2 || reserved[n-2] != int64(c.window) || reserved[n-1] != 0 {
					t.Errorf("reserved %d for a window of %d", reserved, c.window)
				}
				continue
			}
			r, ok := errors.AsType[*input.Refusal](err)
			if !ok || !strings.Contains(r.Problem, c.problem) || !strings.HasSuffix(r.Hint, c.hint) && !strings.Contains(r.Hint, c.hint+", ") || r.Line != 1 {
				t.Errorf("window %d of memory %d, %s: %v", c.window, c.memory, name, err)
			}
		}
	}
}

// Windows of several inputs wait for one another, in order, and not for ever.
func TestWindowsWait(t *testing.T) {
	packed := windowed(t, twoLines, 8<<20)
	synctest.Test(t, func(t *testing.T) {
		windows := input.NewWindows(28 << 20) // 20 MiB without the share of patches
		open := func() (*input.Stream, error) {
			return input.NewStream(input.NewBody(t.Context(), bytes.NewReader(packed)), input.Limits{Windows: windows})
		}
		var held []*input.Stream
		for range 2 {
			s, err := open()
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, s)
		}
		if _, err := open(); !errors.Is(err, input.ErrBusy) {
			t.Errorf("a third window: %v", err)
		}
		done := make(chan error)
		go func() {
			s, err := open()
			if err == nil {
				held = append(held, s)
			}
			done <- err
		}()
		synctest.Wait()
		held[0].Close()
		if err := <-done; err != nil {
			t.Errorf("once a window is free: %v", err)
		}
		for _, s := range held[1:] {
			s.Close()
		}
	})
}

// The windows of publishes and patches take no more than the memory together, from 16 MiB on.
func TestSharesOfWindows(t *testing.T) {
	const window = 8 << 20
	for memory, want := range map[int64][2]int{
		4 << 20: {1, 1}, 8 << 20: {1, 1}, 16 << 20: {1, 1}, 32 << 20: {3, 1}, 64 << 20: {6, 2}, 256 << 20: {24, 8},
	} {
		packed := windowed(t, twoLines, window)
		synctest.Test(t, func(t *testing.T) {
			for i, windows := range []*input.Windows{input.NewWindows(memory), input.NewPatchWindows(memory)} {
				held := 0
				for {
					s, err := input.NewStream(input.NewBody(t.Context(), bytes.NewReader(packed)), input.Limits{Windows: windows})
					if err != nil {
						if !errors.Is(err, input.ErrBusy) {
							t.Error(err)
						}
						break
					}
					defer s.Close()
					held++
				}
				if held != want[i] {
					t.Errorf("memory %d: %d windows of 8 MiB at a time, want %v", memory, held, want)
				}
			}
		})
	}
}

// Whatever is wrong with zstd data, it is a refusal and never more text than was packed.
func TestDamagedFrames(t *testing.T) {
	whole := append(windowed(t, twoLines, 1<<20), pack(twoLines)...)
	want := twoLines + twoLines
	for i := range whole {
		var reserved []int64
		if got, err := stream(t, whole[:i], input.NewWindows(64<<20), &reserved); err == nil && len(whole)-i < 5 && got == want {
			t.Errorf("cut at %d of %d: %q is whole", i, len(whole), got)
		}
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x55
		got, err := stream(t, flipped, input.NewWindows(64<<20), &reserved)
		if _, refused := errors.AsType[*input.Refusal](err); err != nil && !refused {
			t.Errorf("byte %d of %d changed: %q, %v", i, len(whole), got, err)
		}
	}
}
