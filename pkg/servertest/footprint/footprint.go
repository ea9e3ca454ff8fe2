// Package footprint measures the peak memory of a process of a test or benchmark, as the kernel counts it.
//
// If it has the permission, a [Meter] runs the process in its own memory cgroup. The cgroup counts the same memory as the limit
// of a container: the memory of the process, socket buffers, pages passed to the kernel to send, and the page cache of files that
// the process is the first to read. Version 2 of cgroups has memory.peak. Version 1 has two peaks, memory.max_usage_in_bytes and
// memory.kmem.tcp.max_usage_in_bytes; their sum is at least the true peak.
//
// Otherwise, as in most containers and for users other than root, the meter adds VmHWM and the most bytes in the queues of the
// process's TCP sockets, from a sample every 50 ms. This misses peaks between samples, the overhead of an skb, and pages passed
// to the kernel. [Peak.How] names the method.
package footprint

import (
	"fmt"
	"os/exec"
	"sync"
)

// Peak is the most memory that a process has had so far.
type Peak struct {
	Bytes int64
	How   string // the source of Bytes
}

func (p Peak) String() string { return fmt.Sprintf("%d MiB (%s)", p.Bytes>>20, p.How) }

// Meter measures one process.
type Meter struct {
	group group // of the process; zero if there is none

	mu       sync.Mutex // guards the fields below
	sampler  *sampler
	stopping func()
}

// New returns a meter. The caller closes it after the end of the process.
func New() *Meter { return &Meter{group: newGroup()} }

// Wrap makes the process of cmd a member of the meter's cgroup from its first instruction on. Call it before cmd.Start.
func (m *Meter) Wrap(cmd *exec.Cmd) {
	if m.group.dir == "" {
		return
	}
	// exec replaces the shell by the program, with the same process id.
	cmd.Args = append([]string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, m.group.members(), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
}

// Watch starts to measure the process. Call it after the process has started.
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
