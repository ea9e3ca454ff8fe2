package journal

import (
	"bytes"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/schema"
)

// checkSchema returns an error if the settings after have another schema than those before, and no value can be checked with it. A schema
// that was set stays, so that other settings can be changed.
func checkSchema(before, after dataset.Settings) error {
	text := after.Gates.Schema
	if len(text) == 0 || bytes.Equal(text, before.Gates.Schema) {
		return nil
	}
	if _, err := schema.Compile(text); err != nil {
		return fmt.Errorf("%w: schema: %w", dataset.ErrSettings, err)
	}
	return nil
}
