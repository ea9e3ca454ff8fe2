package demo

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// absent is the value of a member that only the other object has.
const absent = "(absent)"

// difference is one member in which two JSON objects differ.
type difference struct {
	path          string
	before, after string
}

// differences returns the members in which two JSON objects differ, sorted by path.
func differences(before, after []byte) ([]difference, error) {
	a, err := leaves(before)
	if err != nil {
		return nil, fmt.Errorf("read the value before: %w", err)
	}
	b, err := leaves(after)
	if err != nil {
		return nil, fmt.Errorf("read the value after: %w", err)
	}
	var all []difference
	for path, was := range a {
		if is, ok := b[path]; !ok {
			all = append(all, difference{path, was, absent})
		} else if is != was {
			all = append(all, difference{path, was, is})
		}
	}
	for path, is := range b {
		if _, ok := a[path]; !ok {
			all = append(all, difference{path, absent, is})
		}
	}
	slices.SortFunc(all, func(a, b difference) int { return strings.Compare(a.path, b.path) })
	return all, nil
}

// leaves returns the members of a JSON value that are not objects, as JSON by path, such as "support.safari".
func leaves(value []byte) (map[string]string, error) {
	var root any
	if err := json.Unmarshal(value, &root); err != nil {
		return nil, err
	}
	byPath := map[string]string{}
	var walk func(path string, v any) error
	walk = func(path string, v any) error {
		object, ok := v.(map[string]any)
		if !ok {
			b, err := json.Marshal(v)
			byPath[path] = string(b)
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
	return byPath, walk("", root)
}
