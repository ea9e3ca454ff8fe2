package catalog

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// LogTo makes the Redis client write its messages, such as failed connections, to log at the level debug instead of to stderr. The
// client also returns these errors to its callers. LogTo changes the whole process, so only the main function of a program calls it.
func LogTo(log *slog.Logger) { redis.SetLogger(clientLog{log}) }

type clientLog struct{ log *slog.Logger }

// Printf implements the logger of the client.
func (l clientLog) Printf(ctx context.Context, format string, args ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "Redis client: "+fmt.Sprintf(format, args...))
	}
}
