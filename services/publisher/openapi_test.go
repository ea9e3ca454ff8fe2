package publisher_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// No key of the OpenAPI document comes twice, and every reference leads to something.
func TestDescriptionIsWhole(t *testing.T) {
	var whole map[string]any
	if err := yaml.Unmarshal(description, &whole); err != nil { // it refuses duplicate keys
		t.Fatal(err)
	}
	var check func(part any)
	check = func(part any) {
		switch part := part.(type) {
		case []any:
			for _, p := range part {
				check(p)
			}
		case map[string]any:
			for _, p := range part {
				check(p)
			}
			ref, ok := part["$ref"].(string)
			if !ok {
				return
			}
			var at any = whole
			for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
				m, _ := at.(map[string]any)
				at = m[name]
			}
			if at == nil {
				t.Errorf("%s leads to nothing", ref)
			}
		}
	}
	check(whole)
}
