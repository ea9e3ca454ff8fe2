package footprint

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// group is a memory cgroup.
type group struct {
	dir   string
	peaks []string // files of the group whose sum is its peak
	how   string
}

// versions describes the versions of cgroups, in order of preference.
var versions = []struct {
	how   string
	peaks []string
	// begin has the content of files to write: version 1 counts socket buffers only after their limit has been set.
	begin map[string]string
}{
	{"cgroup v2: memory.peak", []string{"memory.peak"}, nil},
	{
		"cgroup v1: memory.max_usage_in_bytes + memory.kmem.tcp.max_usage_in_bytes",
		[]string{"memory.max_usage_in_bytes", "memory.kmem.tcp.max_usage_in_bytes"},
		map[string]string{"memory.kmem.tcp.limit_in_bytes": "9223372036854771712"},
	},
}

// newGroup creates a group below the group of this process or one of its ancestors. It returns the zero group if that is not
// possible.
func newGroup() group {
	for i, parents := range [][]string{parents("cgroup2", ""), parents("cgroup", "memory")} {
		for _, parent := range parents {
			if g, ok := makeGroup(parent, i); ok {
				return g
			}
		}
	}
	return group{}
}

func makeGroup(parent string, version int) (group, bool) {
	dir, err := os.MkdirTemp(parent, "freshet-test-")
	if err != nil {
		return group{}, false
	}
	v := versions[version]
	g := group{dir: dir, peaks: v.peaks, how: v.how}
	for file, text := range v.begin {
		if os.WriteFile(filepath.Join(dir, file), []byte(text), 0) != nil {
			_ = g.remove()
			return group{}, false
		}
	}
	if _, err := g.peak(); err != nil {
		_ = g.remove()
		return group{}, false
	}
	return g, true
}

// members returns the file to which a process writes its id to become a member.
func (g group) members() string { return filepath.Join(g.dir, "cgroup.procs") }

func (g group) peak() (Peak, error) {
	p := Peak{How: g.how}
	for _, file := range g.peaks {
		text, err := os.ReadFile(filepath.Join(g.dir, file))
		if err != nil {
			return Peak{}, fmt.Errorf("measure memory: %w", err)
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
		if err != nil {
			return Peak{}, fmt.Errorf("measure memory: %s: %w", file, err)
		}
		p.Bytes += n
	}
	return p, nil
}

// removeWithin bounds the time that a process needs to leave its group after its end.
const removeWithin = 5 * time.Second

func (g group) remove() error {
	if g.dir == "" {
		return nil
	}
	for end := time.Now().Add(removeWithin); ; <-time.After(10 * time.Millisecond) {
		err := syscall.Rmdir(g.dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(end) {
			return fmt.Errorf("remove cgroup %s: %w", g.dir, err)
		}
	}
}

// parents returns the folders of this process's group and of its ancestors, nearest first, in the hierarchy of the given file
// system and controller.
func parents(fsType, controller string) []string {
	mount, root := mounted(fsType, controller)
	if mount == "" {
		return nil
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	var folders []string
	for line := range strings.Lines(string(text)) { // number:controllers:path
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 || !hasOption(f[1], controller) {
			continue
		}
		below, err := filepath.Rel(root, f[2])
		if err != nil || strings.HasPrefix(below, "..") {
			below = "." // the mount shows another part of the hierarchy
		}
		for ; below != "."; below = filepath.Dir(below) {
			folders = append(folders, filepath.Join(mount, below))
		}
		folders = append(folders, mount)
	}
	return folders
}

// mounted returns the mount point of the hierarchy, and the group that is its root.
func mounted(fsType, controller string) (mount, root string) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", ""
	}
	for line := range strings.Lines(string(text)) { // see proc_pid_mountinfo(5)
		before, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
		f, super := strings.Fields(before), strings.Fields(after)
		if len(f) >= 5 && len(super) >= 3 && super[0] == fsType && (controller == "" || hasOption(super[2], controller)) {
			return f[4], f[3]
		}
	}
	return "", ""
}

// hasOption reports whether the comma-separated list has the option.
func hasOption(list, option string) bool { return strings.Contains(","+list+",", ","+option+",") }
