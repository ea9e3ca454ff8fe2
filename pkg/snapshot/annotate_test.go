package snapshot

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/dataset"
)

// annotator writes a file as hexadecimal text with the name and the value of every field. It implements the package
// comment and uses nothing of the package, so that a golden shows the specification and not the implementation. It
// panics if a file is malformed.
type annotator struct {
	file []byte
	off  int
	out  strings.Builder
}

func annotate(file []byte) string {
	a := &annotator{file: file}
	kind, bits := a.header()
	blocks := 0
	for string(a.file[a.off:a.off+4]) == "BLCK" {
		a.block(blocks)
		blocks++
	}
	a.footer(blocks)
	if a.off != len(file) {
		panic("bytes after the end")
	}
	return fmt.Sprintf("# %s of %d bytes, %d partition bits, %d blocks\n%s", kind, len(file), bits, blocks, a.out.String())
}

func (a *annotator) comment(format string, args ...any) {
	fmt.Fprintf(&a.out, "\n# "+format+"\n", args...)
}

// field writes the next n bytes, 16 to a line, the first line with the field's name.
func (a *annotator) field(n int, format string, args ...any) []byte {
	b := a.file[a.off : a.off+n]
	label := fmt.Sprintf(format, args...)
	for i := 0; i < n; i += 16 {
		line := b[i:min(n, i+16)]
		fmt.Fprintln(&a.out, strings.TrimRight(fmt.Sprintf("%08x  %-47x  %s", a.off+i, spaced(line), label), " "))
		label = ""
	}
	a.off += n
	return b
}

// spaced formats bytes as hexadecimal with a space between them.
type spaced []byte

func (s spaced) Format(f fmt.State, _ rune) {
	text := fmt.Sprintf("% x", []byte(s))
	width, _ := f.Width()
	fmt.Fprintf(f, "%-*s", width, text)
}

func (a *annotator) u32(name string) uint32 {
	v := le.Uint32(a.file[a.off:])
	a.field(4, "%s: %d", name, v)
	return v
}

func (a *annotator) u64(name string) uint64 {
	v := le.Uint64(a.file[a.off:])
	a.field(8, "%s: %d", name, v)
	return v
}

// sum writes a checksum. It panics if the checksum is not that of b.
func (a *annotator) sum(name string, b []byte) {
	if le.Uint64(a.file[a.off:]) != xxh3.Hash(b) {
		panic("checksum of " + name)
	}
	a.field(8, "checksum of %s", name)
}

func (a *annotator) header() (kind string, bits byte) {
	a.comment("header")
	a.field(8, "magic")
	a.field(1, "format version: %d", a.file[8])
	kind = map[byte]string{1: "snapshot", 2: "delta"}[a.file[9]]
	a.field(1, "kind: %d, %s", a.file[9], kind)
	bits = a.file[10]
	a.field(1, "partition bits: %d", bits)
	a.field(5, "reserved")
	a.field(8, "seed: %016x", le.Uint64(a.file[16:]))
	a.sum("the header so far", a.file[:24])
	return kind, bits
}

func (a *annotator) block(i int) {
	a.comment("block %d: prefix", i)
	start := a.off
	a.field(4, "block tag")
	a.u32("partition")
	stored, raw, entries := a.u32("stored bytes"), a.u32("raw bytes"), a.u32("entries")
	a.field(4, "reserved")
	body := a.file[start+48:][:stored]
	dec, err := zstd.NewReader(nil)
	if err != nil {
		panic(err)
	}
	defer dec.Close()
	plain, err := dec.DecodeAll(body, nil)
	if err != nil || len(plain) != int(raw) {
		panic(fmt.Sprint(len(plain), err))
	}
	a.sum("the stored bytes", body)
	a.sum("the raw bytes", plain)
	a.sum("the prefix so far", a.file[start:a.off])
	a.comment("block %d: stored bytes", i)
	frame := bytes.Index(body, []byte{0x50, 0x2a, 0x4d, 0x18})
	if frame < 0 {
		a.field(len(body), "zstd frame")
	} else {
		a.field(frame, "zstd frame")
		a.field(8, "skippable frame of %d bytes", len(body)-frame-8)
		a.field(len(body)-frame-8, "padding")
	}
	a.comment("block %d: its %d entries", i, entries)
	for at := 0; at < len(plain); {
		r, n, err := dataset.DecodeRecord(plain[at:])
		if err != nil {
			panic(err)
		}
		head := plain[at : at+n-len(r.Key)-len(r.Value)]
		switch {
		case r.Removed:
			fmt.Fprintf(&a.out, "#   raw byte %d: % x, remove %q\n", at, head, r.Key)
		case len(r.Value) > 64:
			fmt.Fprintf(&a.out, "#   raw byte %d: % x, %q = %.32q and so on, %d bytes\n", at, head, r.Key, r.Value, len(r.Value))
		default:
			fmt.Fprintf(&a.out, "#   raw byte %d: % x, %q = %q\n", at, head, r.Key, r.Value)
		}
		at += n
	}
}

func (a *annotator) footer(blocks int) {
	a.comment("footer")
	start := a.off
	a.field(4, "footer tag")
	a.u32("blocks")
	for i := range blocks {
		a.comment("footer: block %d", i)
		a.u64("offset")
		a.u32("partition")
		a.u32("stored bytes")
		a.u32("raw bytes")
		a.u32("entries")
		a.field(8, "checksum of the raw bytes")
	}
	a.comment("footer: totals")
	a.u64("entries")
	a.u64("removals")
	a.u64("raw bytes")
	a.u64("payload bytes")
	for _, name := range []string{"state", "base state"} {
		a.u64(name + ": records")
		a.field(8, "%s: high", name)
		a.field(8, "%s: low", name)
	}
	end := a.off
	a.comment("trailer")
	a.u64("length of the footer")
	a.sum("the footer", a.file[start:end])
	a.field(8, "end mark")
}

var hexLine = regexp.MustCompile(`^[0-9a-f]{8}  ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  |$)`)

// unannotate returns the file that text describes.
func unannotate(text []byte) ([]byte, error) {
	var file []byte
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if s.Text() == "" || strings.HasPrefix(s.Text(), "#") {
			continue
		}
		m := hexLine.FindStringSubmatch(s.Text())
		if m == nil || !strings.HasPrefix(s.Text(), fmt.Sprintf("%08x", len(file))) {
			return nil, fmt.Errorf("not a line of a golden: %q", s.Text())
		}
		b, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
		if err != nil {
			return nil, err
		}
		file = append(file, b...)
	}
	return file, nil
}
