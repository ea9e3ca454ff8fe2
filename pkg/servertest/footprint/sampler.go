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
	howSampled  = "VmHWM + queues of TCP sockets, sampled: no memory cgroup could be made"
)

// sampler measures a process by what /proc says about it.
type sampler struct {
	pid int

	mu       sync.Mutex // guards what follows
	resident int64      // VmHWM at the last look
	queues   int64      // the most that was found
}

// sample looks at the process until stop is called or the process is gone.
func sample(pid int) (s *sampler, stop func()) {
	s = &sampler{pid: pid}
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for s.look() == nil {
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return s, func() { close(end); <-done }
}

func (s *sampler) look() error {
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
	err := s.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resident == 0 {
		return Peak{}, fmt.Errorf("measure memory: %w", err)
	}
	return Peak{Bytes: s.resident + s.queues, How: howSampled}, nil
}

// highWater returns the most resident memory that the process had.
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

// socketQueues returns the bytes that wait in the TCP sockets of the process, to be sent or to be read.
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
				continue // another process's, or one that listens
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

// sockets returns the inodes of the sockets that the process has open.
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
