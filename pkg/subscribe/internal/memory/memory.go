// Package memory reads how much memory this process may still take.
//
// Three limits count, and the least room decides: the limit of the process's control group (cgroup v2 or v1) and of the groups around it, the
// memory that the machine has available, and GOMEMLIMIT. Page cache that the kernel drops on demand does not count as used, and neither does
// free heap that the Go runtime keeps. Control groups and the machine's memory are read on Linux only.
package memory

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
)

// ErrUnknown is returned by Reader.Left when no limit can be read.
var ErrUnknown = errors.New("the memory that is left is not known: this platform has neither control groups nor /proc/meminfo, and GOMEMLIMIT is not set")

// Room is memory that may still be taken.
type Room struct {
	Bytes int64 // at least 0
	// Limit names what limits it, such as "the control group /app".
	Limit string
}

// Reader reads the room. The zero Reader reads nothing but GOMEMLIMIT; see Process.
type Reader struct {
	root    fs.FS                                  // "/"; nil for none
	runtime func() (limit, used int64, free int64) // of the Go runtime
}

// Process returns the Reader of this process.
func Process() *Reader { return &Reader{root: os.DirFS("/"), runtime: goRuntime} }

// goRuntime returns GOMEMLIMIT, the bytes that count to it, and the free heap that the runtime keeps.
func goRuntime() (limit, used, free int64) {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(samples)
	value := func(i int) int64 { return int64(samples[i].Value.Uint64()) }
	return debug.SetMemoryLimit(-1), value(0) - value(1), value(2)
}

// Left returns the room, or ErrUnknown. It reads a few small files.
func (r *Reader) Left() (Room, error) {
	limit, used, free := r.runtime()
	least, found := Room{Bytes: math.MaxInt64}, false
	consider := func(bytes int64, limit string) {
		if bytes = max(bytes, 0); bytes < least.Bytes {
			least, found = Room{bytes, limit}, true
		}
	}
	if limit < math.MaxInt64 {
		consider(limit-used, "GOMEMLIMIT")
	}
	if r.root != nil {
		if available, ok := r.field("proc/meminfo", "MemAvailable:"); ok {
			consider(available<<10, "the memory of the machine")
		}
		r.groups(consider)
	}
	if !found {
		return Room{}, ErrUnknown
	}
	least.Bytes += free
	return least, nil
}

// groups considers the limits of the process's control groups.
func (r *Reader) groups(consider func(bytes int64, limit string)) {
	text, err := fs.ReadFile(r.root, "proc/self/cgroup")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		hierarchy, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, ok := strings.Cut(rest, ":")
		switch {
		case !ok:
		case hierarchy == "0" && controllers == "":
			r.around(group, "sys/fs/cgroup", version2, consider)
		case strings.Contains(","+controllers+",", ",memory,"):
			r.around(group, "sys/fs/cgroup/memory", version1, consider)
		}
	}
}

// files are the names of a control group's files.
type files struct{ limit, used, reclaimable string }

var (
	version2 = files{"memory.max", "memory.current", "inactive_file"}
	version1 = files{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
)

// around considers the group and those around it. In a container the name of the group may be that outside of it; then only the root of the
// mount is there.
func (r *Reader) around(group, mount string, f files, consider func(bytes int64, limit string)) {
	for name := path.Join("/", group); ; name = path.Dir(name) {
		folder := mount + name
		limit, ok := r.number(path.Join(folder, f.limit))
		used, known := r.number(path.Join(folder, f.used))
		if ok && known && limit < math.MaxInt64/2 { // version 1 writes about 2^63 for no limit
			cache, _ := r.field(path.Join(folder, "memory.stat"), f.reclaimable)
			consider(limit-used+cache, fmt.Sprintf("the control group %.100s", name))
		}
		if name == "/" {
			return
		}
	}
}

// number returns the number in a file. A file with another text, such as "max", has none.
func (r *Reader) number(name string) (int64, bool) {
	text, err := fs.ReadFile(r.root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// field returns the number after the name in a file of lines with a name and a number each.
func (r *Reader) field(file, name string) (int64, bool) {
	text, err := fs.ReadFile(r.root, file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == name {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
