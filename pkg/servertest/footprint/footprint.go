// Package footprint measures the most memory that a process of a test or benchmark has had, as the kernel counts it.
//
// Where it may, a [Meter] runs the process in a memory cgroup of its own. That counts what a container's limit counts: the
// memory of the process, socket buffers, pages that the kernel was given to send, and the page cache of files that the process
// is the first to read. Version 2 of cgroups has memory.peak. Version 1 has two peaks, memory.max_usage_in_bytes and
// memory.kmem.tcp.max_usage_in_bytes; their sum is at least the true peak.
//
// Elsewhere, as in most containers and for users other than root, the meter adds VmHWM and the most bytes that it found in the
// queues of the process's TCP sockets, of which it takes a sample every 50 ms. That misses peaks between samples, what an
// skb takes beyond its bytes, and pages that the kernel was given. [Peak.How] names the way that was taken.
package footprint

import (
	"fmt"
	"os/exec"
	"sync"
)

// Peak is the most memory that a process has had so far.
type Peak struct {
	Bytes int64
	How   string // the files that it comes from
}

func (p Peak) String() string { return fmt.Sprintf("%d MiB (%s)", p.Bytes>>20, p.How) }

// Meter measures one process.
type Meter struct {
	group group // of the process; zero where there is none

	mu       sync.Mutex // guards what follows
	sampler  *sampler
	stopping func()
}

// New returns a meter, to be closed after the process has ended.
func New() *Meter { return &Meter{group: newGroup()} }

// NewWithoutGroup returns a meter that reads VmHWM and the queues of sockets, whatever the system has.
func NewWithoutGroup() *Meter { return new(Meter) }

// Wrap makes the process that cmd starts a member of the meter's cgroup from its first instruction on. It is called before
// cmd.Start.
func (m *Meter) Wrap(cmd *exec.Cmd) {
	if m.group.dir == "" {
		return
	}
	// The shell becomes the program, with the same process id.
	cmd.Args = append([]string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, m.group.members(), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
}

// Watch begins to measure the process, which has started.
func (m *Meter) Watch(pid int) {
	if m.group.dir != "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sampler == nil {
		m.sampler, m.stopping = sample(pid)
	}
}

// Peak returns the peak so far.
func (m *Meter) Peak() (Peak, error) {
	if m.group.dir != "" {
		return m.group.peak()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sampler == nil {
		return Peak{}, fmt.Errorf("measure memory: no process is watched")
	}
	return m.sampler.peak()
}

// Close removes the cgroup, or ends the sampling.
func (m *Meter) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping != nil {
		m.stopping()
		m.stopping = nil
	}
	return m.group.remove()
}
