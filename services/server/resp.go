package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/internal/build"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/server/internal/resp"
)

// validateResp returns the errors of the variables of Redis' protocol.
func (c *Config) validateResp() []error {
	if c.RespListen == "" {
		if c.RespPasswordFile != "" {
			return []error{fmt.Errorf("%w: FRESHET_RESP_PASSWORD_FILE is set and FRESHET_RESP_LISTEN is not: set both, or none", settings.ErrSettings)}
		}
		return nil
	}
	errs := []error{
		settings.CheckAtLeast("FRESHET_RESP_CONNECTIONS", c.RespConnections, 1),
		settings.CheckAtLeast("FRESHET_RESP_IDLE", c.RespIdle, 0),
		settings.CheckAtLeast("FRESHET_RESP_OUTPUT_BYTES", c.RespOutputBytes, c.BatchBytes+respHeadroom),
		settings.CheckAtLeast("FRESHET_RESP_TRACKED_KEYS", c.RespTrackedKeys, 0),
	}
	if _, err := resp.Address(c.RespListen); err != nil {
		errs = append(errs, fmt.Errorf("%w: FRESHET_RESP_LISTEN is %q: %w", settings.ErrSettings, c.RespListen, err))
	}
	return errs
}

// respHeadroom is what the replies that wait for a client need in addition to the values of an MGET.
const respHeadroom = 1 << 20

// newPort returns the port for Redis' protocol; nil without FRESHET_RESP_LISTEN.
func (s *Server) newPort() (*resp.Port, error) {
	cfg := s.cfg
	if cfg.RespListen == "" {
		return nil, nil
	}
	password := ""
	if cfg.RespPasswordFile != "" {
		var err error
		if password, err = resp.ReadPassword(cfg.RespPasswordFile); err != nil {
			return nil, fmt.Errorf("%w: FRESHET_RESP_PASSWORD_FILE: %w", settings.ErrSettings, err)
		}
	}
	datasets := make(map[string]resp.Dataset)
	for name, l := range s.datasets {
		datasets[name] = l.dataset
	}
	tracker, err := s.newTracker()
	if err != nil {
		return nil, err
	}
	return resp.New(resp.Config{
		Listen: cfg.RespListen, Password: password, Connections: cfg.RespConnections, Idle: cfg.RespIdle,
		Keys: cfg.BatchKeys, Bytes: int(cfg.BatchBytes), Output: int(cfg.RespOutputBytes), WaitMax: cfg.WaitMax,
	}, resp.Deps{Datasets: datasets, Tracker: tracker, AtLeast: s.respAtLeast, Log: s.deps.Log, Registry: s.deps.Registry, Build: build.Read().Version}), nil
}

// respAtLeast waits as lookups over HTTP do. Its error is the reply.
func (s *Server) respAtLeast(ctx context.Context, name, token string, wait time.Duration) error {
	l := s.datasets[name]
	if l == nil { // a token without a name
		_, err := dataset.ParseToken(token)
		return fmt.Errorf("ERR %w", err)
	}
	_, err := s.waitAtLeast(ctx, l, name, token, wait)
	var problem *web.Problem
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &problem): // the client has left
		return fmt.Errorf("%s %w", resp.NotYet, err)
	case problem.Kind == "not-yet" || problem.Kind == "busy" || problem.Kind == "stopping":
		return errors.New(resp.NotYet + " " + problem.Detail)
	case problem.Kind == "other-history":
		return errors.New("OTHERHISTORY " + problem.Detail)
	}
	return errors.New("ERR " + problem.Detail)
}

// runPort serves HTTP and Redis' protocol until ctx ends, or one of them fails.
func (s *Server) runPort(ctx context.Context) error {
	ln, err := s.port.Listen(ctx)
	if err != nil {
		return err
	}
	stop, err := s.followSwaps(ctx)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	defer stop()
	s.respAddr.Store(ln.Addr())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		defer cancel() // HTTP stops with it
		served <- s.port.Serve(ctx, ln)
	}()
	err = s.server.Run(ctx)
	cancel()
	return errors.Join(err, <-served)
}

// RespAddr returns the address of Redis' protocol, or "" before Ready and without FRESHET_RESP_LISTEN.
func (s *Server) RespAddr() string {
	if addr, ok := s.respAddr.Load().(net.Addr); ok {
		return addr.String()
	}
	return ""
}
