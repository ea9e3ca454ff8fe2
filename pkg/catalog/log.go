package catalog

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// LogTo has what the Redis client says of itself, such as every connection that it could not make, go to log at the level
// debug instead of to stderr: whoever uses a client has the errors, too. It is for the whole process, so only the main
// function of a program calls it.
func LogTo(log *slog.Logger) { redis.SetLogger(clientLog{log}) }

type clientLog struct{ log *slog.Logger }

// Printf is what the client calls.
func (l clientLog) Printf(ctx context.Context, format string, args ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "the Redis client says: "+fmt.Sprintf(format, args...))
	}
}
