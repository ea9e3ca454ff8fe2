//go:build !linux

package relay

import (
	"context"
	"errors"
)

func (cfg swarm) run(context.Context) (haul, error) {
	return haul{}, errors.New("this benchmark needs Linux: its clients use epoll, and it reads /proc")
}
