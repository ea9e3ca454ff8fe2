package catalog

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"freshet.dev/pkg/dataset"
	"github.com/redis/go-redis/v9"
)

// newestBatch is the number of datasets that one script reads. The script blocks Redis for less than a millisecond.
const newestBatch = 512

//go:embed newest.lua
var newestSource string

var newestScript = redis.NewScript(newestSource)

// Newest returns the newest version of each of the named datasets that the catalog has. An incomplete or unreadable dataset counts as
// missing: [Catalog.Advance] writes it again, or returns the reason. Newest costs one request with a small response for each 512 datasets.
// An entry of a release before version ids has no id here; Latest returns it.
func (c *Catalog) Newest(ctx context.Context, names []string) (map[string]dataset.Ref, error) {
	newest := make(map[string]dataset.Ref, len(names))
	for batch := range slices.Chunk(names, newestBatch) {
		keys, args := []string{c.keys.datasets}, make([]any, len(batch))
		for i, name := range batch {
			if err := dataset.CheckName(name); err != nil {
				return nil, fmt.Errorf("look up the newest versions in the catalog: %w", err)
			}
			keys, args[i] = append(keys, c.keys.versions+name), name
		}
		versions, err := newestScript.Run(ctx, c.rdb, keys, args...).StringSlice()
		if err != nil {
			return nil, fmt.Errorf("look up the newest versions in the catalog: %w", err)
		}
		for i, text := range versions {
			if text == "" {
				continue
			}
			digits, id, _ := strings.Cut(text, " ")
			var ref dataset.Ref
			if ref.Version, err = strconv.ParseUint(digits, 10, 64); err != nil {
				continue // 20 digits can exceed a uint64
			}
			if err := ref.ID.UnmarshalText([]byte(id)); err != nil {
				continue
			}
			newest[batch[i]] = ref
		}
	}
	return newest, nil
}
