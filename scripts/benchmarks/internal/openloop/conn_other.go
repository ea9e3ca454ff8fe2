//go:build !linux

package openloop

import (
	"context"
	"errors"
)

type conn struct{}

func dial(context.Context, string) (*conn, error) {
	return nil, errors.New("this benchmark needs Linux: its clients block threads, and it reads /proc")
}

func (*conn) close() {}

func (*conn) get([]byte) (int, error) { return 0, errors.ErrUnsupported }
