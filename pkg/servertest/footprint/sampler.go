package footprint

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	sampleEvery = 50 * time.Millisecond
	howSampled  = "VmHWM + queues of TCP sockets, sampled: no permission for a memory cgroup"
)

// sampler measures a process from its files in /proc.
type sampler struct {
	pid int

	mu       sync.Mutex // guards the fields below
	resident int64      // VmHWM in the last sample
	queues   int64      // the most in a sample
}

// sample takes samples of the process until the caller calls stop or the process has ended.
func sample(pid int) (s *sampler, stop func()) {
	s = &sampler{pid: pid}
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for s.take() == nil {
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return s, func() { close(end); <-done }
}

func (s *sampler) take() error {
	resident, err := highWater(s.pid)
	if err != nil {
		return err
	}
	queues := socketQueues(s.pid)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resident, s.queues = max(s.resident, resident), max(s.queues, queues)
	return nil
}

func (s *sampler) peak() (Peak, error) {
	err := s.take()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resident == 0 {
		return Peak{}, fmt.Errorf("measure memory: %w", err)
	}
	return Peak{Bytes: s.resident + s.queues, How: howSampled}, nil
}

// highWater returns the peak resident memory of the process.
func highWater(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) >= 2 && string(f[0]) == "VmHWM:" {
			kib, err := strconv.ParseInt(string(f[1]), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmHWM", pid)
}

// socketQueues returns the bytes in the send and receive queues of the process's TCP sockets.
func socketQueues(pid int) (n int64) {
	own := sockets(pid)
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line) // see proc_net(5)
			if len(f) < 10 || !own[f[9]] || f[3] == "0A" {
				continue // a socket of another process, or one that listens
			}
			send, receive, _ := strings.Cut(f[4], ":")
			for _, queue := range []string{send, receive} {
				if bytes, err := strconv.ParseInt(queue, 16, 64); err == nil {
					n += bytes
				}
			}
		}
	}
	return n
}

// sockets returns the inodes of the process's open sockets.
func sockets(pid int) map[string]bool {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	inodes := make(map[string]bool, len(files))
	for _, f := range files {
		if target, err := os.Readlink(filepath.Join(folder, f.Name())); err == nil {
			if inode, ok := strings.CutPrefix(target, "socket:["); ok {
				inodes[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	return inodes
}
