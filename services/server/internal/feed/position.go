package feed

import (
	"fmt"
	"strconv"
	"strings"

	"freshet.dev/pkg/dataset"
)

// nothing is the position of a reader that has no version.
const nothing = "0"

// positionOf returns the text of a version's position. A version without an id, as one that was recovered from a damaged cache folder may be,
// cannot be resumed from.
func positionOf(ref dataset.Ref) string {
	if ref.ID.IsZero() {
		return nothing
	}
	return strconv.FormatUint(ref.Version, 10) + "@" + ref.ID.String()
}

// parsePosition reads the text of a position: VERSION, VERSION@ID or 0.
func parsePosition(text string) (dataset.Ref, error) {
	number, id, named := strings.Cut(text, "@")
	version, err := strconv.ParseUint(number, 10, 64)
	ref := dataset.Ref{Version: version}
	if err == nil && named {
		err = ref.ID.UnmarshalText([]byte(id))
	}
	if err != nil || named && ref.ID.IsZero() || named && version == 0 {
		return dataset.Ref{}, fmt.Errorf("%.80q is no position: want the number of a version, better with its id as in the event before, VERSION@ID, or 0 for all", text)
	}
	return ref, nil
}
