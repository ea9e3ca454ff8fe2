package demo

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// absent stands for a member that only one of two values has.
const absent = "(absent)"

// A difference is one member in which two JSON values differ.
type difference struct {
	path          string
	before, after string
}

// differences returns the members in which two JSON objects differ, by path.
func differences(before, after []byte) ([]difference, error) {
	a, err := leaves(before)
	if err != nil {
		return nil, fmt.Errorf("read the value before: %w", err)
	}
	b, err := leaves(after)
	if err != nil {
		return nil, fmt.Errorf("read the value after: %w", err)
	}
	var found []difference
	for path, was := range a {
		if is, ok := b[path]; !ok {
			found = append(found, difference{path, was, absent})
		} else if is != was {
			found = append(found, difference{path, was, is})
		}
	}
	for path, is := range b {
		if _, ok := a[path]; !ok {
			found = append(found, difference{path, absent, is})
		}
	}
	slices.SortFunc(found, func(a, b difference) int { return strings.Compare(a.path, b.path) })
	return found, nil
}

// leaves returns every member of a JSON value that is no object, as JSON by its path: "support.safari" for example.
func leaves(value []byte) (map[string]string, error) {
	var root any
	if err := json.Unmarshal(value, &root); err != nil {
		return nil, err
	}
	found := map[string]string{}
	var walk func(path string, v any) error
	walk = func(path string, v any) error {
		object, ok := v.(map[string]any)
		if !ok {
			b, err := json.Marshal(v)
			found[path] = string(b)
			return err
		}
		for name, member := range object {
			if path != "" {
				name = path + "." + name
			}
			if err := walk(name, member); err != nil {
				return err
			}
		}
		return nil
	}
	return found, walk("", root)
}
