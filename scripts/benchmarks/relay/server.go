package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"freshet.dev/pkg/servertest/footprint"
)

// processors is how many a server may use.
const processors = 2

// server is a process that serves the object on Addr.
type server struct {
	name string
	addr string
	path string // of the object, in a URL
	cmd  *exec.Cmd
	out  bytes.Buffer // its output
	done chan struct{}
	// meter measures its memory, and that of its children.
	meter *footprint.Meter
}

// start runs the program until stop, and returns once it accepts connections. No server has a memory limit of the Go
// runtime.
func start(ctx context.Context, name, path string, addr string, env []string, program string, args ...string) (*server, error) {
	s := &server{name: name, addr: addr, path: path, done: make(chan struct{}), meter: footprint.New()}
	s.cmd = exec.CommandContext(ctx, program, args...)
	s.cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(processors), "GOMEMLIMIT=off")
	s.cmd.Env = append(s.cmd.Env, env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = 10 * time.Second
	s.meter.Wrap(s.cmd)
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, s.meter.Close())
	}
	s.meter.Watch(s.cmd.Process.Pid)
	go func() {
		_ = s.cmd.Wait()
		close(s.done)
	}()
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return s, conn.Close()
		}
		select {
		case <-s.done:
			_ = s.meter.Close()
			return nil, fmt.Errorf("%s ended on start: %s", name, s.out.Bytes())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			s.stop()
			return nil, fmt.Errorf("%s does not listen on %s: %w", name, addr, err)
		}
	}
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	_ = s.meter.Close() // a memory group that stays costs nothing
}

// freeAddress returns an unused address on loopback.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// object is a file in a store.
type object struct {
	folder string // of the store
	digest string
	bytes  int64
}

func (o object) file() string { return filepath.Join(o.folder, "objects", o.digest[:2], o.digest) }

// startRelay runs the relay's own program with a cache of budget bytes.
func startRelay(ctx context.Context, program string, o object, budget int64, settings ...string) (*server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	settings = append(settings, "FRESHET_LISTEN="+addr, "FRESHET_LOG_LEVEL=error", "FRESHET_STORE_URL=dir://"+o.folder,
		"FRESHET_RELAY_CACHE_BYTES="+strconv.FormatInt(budget, 10))
	return start(ctx, "relay", "/v1/objects/"+o.digest, addr, settings, program)
}

// nginxConf is a plain configuration for files: sendfile, and no log.
const nginxConf = `daemon off;
%s
worker_processes %d;
pid %[3]s/nginx.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  client_body_temp_path %[3]s/body; proxy_temp_path %[3]s/proxy; fastcgi_temp_path %[3]s/fastcgi; uwsgi_temp_path %[3]s/uwsgi; scgi_temp_path %[3]s/scgi;
  server { listen %[4]s reuseport backlog=4096; root %[5]s; default_type application/octet-stream; }
}
`

func startNginx(ctx context.Context, folder string, o object) (*server, error) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/nginx") // not in the PATH of every user
	}
	if err != nil {
		return nil, errors.New("nginx is missing: on Debian and Ubuntu, apt-get install nginx-light")
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // its workers must be able to read the store
	}
	dir, err := os.MkdirTemp(folder, "nginx-")
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxConf, user, processors, dir, addr, filepath.Dir(o.file()))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return start(ctx, "nginx", "/"+o.digest, addr, nil, program, "-c", conf, "-p", dir)
}

// startHandler runs a handler of this program as a server.
func startHandler(ctx context.Context, handler string, o object, most int) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return start(ctx, handler, "/", addr, nil, self, "relay", "-part", handler, "-addr", addr, "-file", o.file(), "-most", strconv.Itoa(most))
}
