// Package apidoc compares an OpenAPI description with the routes of the service that it describes. Only tests import it.
package apidoc

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// document has the parts of an OpenAPI 3.1 document that Check reads.
type document struct {
	OpenAPI string `yaml:"openapi"`
	Info    struct {
		Title string `yaml:"title"`
	} `yaml:"info"`
	Paths map[string]map[string]yaml.Node `yaml:"paths"`
}

type operation struct {
	Summary   string         `yaml:"summary"`
	Responses map[string]any `yaml:"responses"`
}

// methods are the keys of a path item that are operations.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// Check fails the test unless text describes exactly the routes, which are patterns of http.ServeMux. Each description needs a
// summary and responses. A description of HEAD for a GET route is optional.
func Check(t testing.TB, text []byte, routes []string) {
	t.Helper()
	var doc document
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatalf("the OpenAPI description is no YAML: %v", err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Info.Title == "" {
		t.Errorf("it is OpenAPI %q with the title %q; want 3.1 and a title", doc.OpenAPI, doc.Info.Title)
	}
	var described []string
	for path, item := range doc.Paths {
		for method, node := range item {
			if !slices.Contains(methods, method) {
				continue
			}
			var op operation
			if err := node.Decode(&op); err != nil {
				t.Errorf("%s of %s: %v", method, path, err)
			}
			route := strings.ToUpper(method) + " " + path
			if method != "head" || !slices.Contains(routes, "GET "+strings.ReplaceAll(path, "{key}", "{key...}")) {
				described = append(described, route)
			}
			if op.Summary == "" || len(op.Responses) == 0 {
				t.Errorf("%s is described without a summary or responses", route)
			}
		}
	}
	var want []string
	for _, r := range routes {
		want = append(want, strings.ReplaceAll(r, "...}", "}"))
	}
	for _, problem := range difference(want, described) {
		t.Error(problem)
	}
}

func difference(routes, described []string) (problems []string) {
	for _, r := range routes {
		if !slices.Contains(described, r) {
			problems = append(problems, fmt.Sprintf("the route %s is not described", r))
		}
	}
	for _, d := range described {
		if !slices.Contains(routes, d) {
			problems = append(problems, fmt.Sprintf("%s is described, but there is no such route", d))
		}
	}
	slices.Sort(problems)
	return problems
}
