package footprint_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet.dev/pkg/servertest/footprint"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// asChild is the variable that makes the test binary the measured process.
const asChild = "FOOTPRINT_CHILD"

func TestMain(m *testing.M) {
	if address := os.Getenv(asChild); address != "" {
		if err := child(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	heapBytes = 64 << 20
	sendBytes = 64 << 20 // more than the buffers of sockets
)

// child allocates memory, writes to a peer that does not read until the socket is full, prints the queued bytes, and waits.
func child(address string) error {
	heap := make([]byte, heapBytes)
	for i := range heap {
		heap[i] = 1
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
	_, err = conn.Write(heap[:sendBytes])
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the socket accepted all bytes: %v", err)
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	var queued int
	if err := raw.Control(func(fd uintptr) { queued, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
		return err
	}
	fmt.Println(queued)
	_, err = io.Copy(io.Discard, os.Stdin) // until the parent closes it
	return err
}

// Invariant: the peak includes the memory of the process and the send queues of its sockets, with and without a cgroup.
func TestPeak(t *testing.T) {
	for name, meter := range map[string]*footprint.Meter{"best": footprint.New(), "without a group": footprint.NewWithoutGroup()} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), asChild+"="+l.Addr().String())
			cmd.Stderr = os.Stderr
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			meter.Wrap(cmd)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			meter.Watch(cmd.Process.Pid)
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			text, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			var queued int64
			if _, err := fmt.Sscan(text, &queued); err != nil || queued == 0 {
				t.Fatalf("%q: %v", text, err)
			}
			peak, err := meter.Peak()
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v, %d KiB of it in send queues", peak, queued>>10)
			// The child is this program. The race detector needs up to four times the memory of its heap.
			if least := heapBytes + queued; peak.Bytes < least || peak.Bytes > 6*least {
				t.Errorf("the peak is %d bytes, the process has %d", peak.Bytes, least)
			}
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if err := meter.Close(); err != nil {
				t.Error(err)
			}
			if strings.Contains(peak.How, "VmHWM") != (name != "best") && os.Geteuid() == 0 && hasGroups() {
				t.Errorf("measured by %s", peak.How)
			}
		})
	}
}

// hasGroups reports whether this process may create a memory cgroup at the usual mount point of version 1.
func hasGroups() bool {
	const probe = "/sys/fs/cgroup/memory/freshet-probe"
	return syscall.Mkdir(probe, 0o700) == nil && syscall.Rmdir(probe) == nil
}

func TestPeakOfNothing(t *testing.T) {
	m := footprint.NewWithoutGroup()
	if _, err := m.Peak(); err == nil {
		t.Error("there is a peak without a process")
	}
	m.Watch(1 << 30) // no such process
	if _, err := m.Peak(); err == nil {
		t.Error("there is a peak of a process that has ended")
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
