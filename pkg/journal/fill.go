package journal

import (
	"context"
	"encoding/json"
	"maps"

	"freshet.dev/pkg/dataset"
)

// Fill sets those of the values that are not set yet, and returns the settings after that. If several callers fill a setting at a time, one
// of them sets it, and all get its value. A publisher fills settings at the first publish of a dataset. The errors are those of Set.
func (j *Journal) Fill(ctx context.Context, name string, values map[string]json.RawMessage, by, reason string) (dataset.Settings, error) {
	r, err := j.Set(ctx, name, Change{Set: values, By: by, Reason: reason, unsetOnly: true})
	return r.Settings, err
}

// unset returns those of the values that s does not have.
func unset(s dataset.Settings, values map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	has, err := s.Values()
	if err != nil {
		return nil, err
	}
	values = maps.Clone(values)
	maps.DeleteFunc(values, func(name string, _ json.RawMessage) bool { return has[name] != nil })
	return values, nil
}
