package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// The handlers that a relay is compared with.
const (
	wholeFile = "whole-file" // reads the file for each request and writes it: the design that the relay replaces
	sendfile  = "sendfile"   // opens the file for each request and lets the kernel send it
)

// serve serves the file on addr with the named handler until ctx ends. It answers at most so many requests at a time; the
// others wait.
func serve(ctx context.Context, handler, addr, file string, most int) error {
	var answer func(w http.ResponseWriter) error
	switch handler {
	case wholeFile:
		answer = func(w http.ResponseWriter) error {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(b)))
			_, err = w.Write(b)
			return err
		}
	case sendfile:
		answer = func(w http.ResponseWriter) error {
			f, err := os.Open(file)
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return err
			}
			w.Header().Set("Content-Length", strconv.FormatInt(info.Size(), 10))
			_, err = f.WriteTo(w) // by sendfile
			return err
		}
	default:
		return fmt.Errorf("no handler is called %q", handler)
	}
	slots := make(chan struct{}, most)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-r.Context().Done():
			return
		}
		if answer(w) != nil {
			panic(http.ErrAbortHandler) // the client has left
		}
	})}
	ln, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
