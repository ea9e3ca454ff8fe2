// Package schema checks values of records against a JSON Schema, draft 2020-12.
//
// A [Schema] stands alone: [Compile] refuses references to other files and addresses, and reads neither. Keywords have the meaning of the
// draft: format is an annotation and refuses nothing. Patterns are regular expressions of Go (RE2), whose time is linear in the text.
//
// The work for one value is bounded, whatever the schema: see [MaxDepth] and [Schema.Check].
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"freshet.dev/pkg/dataset"
)

// ErrSchema is wrapped by the errors of Compile: the text is no schema that values can be checked with. The message says why.
var ErrSchema = errors.New("not a usable JSON Schema")

// Draft is the one dialect that Compile accepts as "$schema".
const Draft = "https://json-schema.org/draft/2020-12/schema"

// place is the address of a schema. A reference to another file is relative to it.
const place = "freshet://settings/schema"

// Schema is a compiled schema. It is safe for concurrent use.
type Schema struct {
	checkers sync.Pool // of *checker
}

// Compile returns the schema with the given text, a JSON object of at most [dataset.MaxSchemaBytes]. Its error is an [ErrSchema]. It reads no
// file and uses no network.
func Compile(text []byte) (*Schema, error) {
	first, err := newChecker(text)
	if err != nil {
		return nil, err
	}
	own := bytes.Clone(text)
	s := &Schema{}
	s.checkers.New = func() any {
		c, err := newChecker(own)
		if err != nil { // not reached: the same text was compiled above
			panic(err)
		}
		return c
	}
	s.checkers.Put(first)
	return s, nil
}

// Check returns how a value does not meet the schema; nil if it does. A value that is no JSON text, that is nested deeper than [MaxDepth],
// that has a number of more than 1,000 characters or an exponent of more than 3 digits, or whose check takes more than about 8 steps for
// each of its bytes and 10,000 more, does not.
func (s *Schema) Check(value []byte) *Violation {
	c := s.checkers.Get().(*checker)
	defer s.checkers.Put(c)
	return c.check(value)
}

// compile compiles text. Each schema in it calls step with the value before it is applied to that, unless the value has another type.
func compile(text []byte, step func(value any) error) (*jsonschema.Schema, error) {
	if len(text) > dataset.MaxSchemaBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, the most is %d", ErrSchema, len(text), dataset.MaxSchemaBytes)
	}
	doc, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSchema, err)
	}
	if _, ok := doc.(map[string]any); !ok {
		return nil, fmt.Errorf("%w: it is no JSON object", ErrSchema)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(refuseAll{})
	c.RegisterVocabulary(&jsonschema.Vocabulary{
		URL: "freshet://settings/steps", Schema: anything(),
		Compile: func(ctx *jsonschema.CompilerContext, obj map[string]any) (jsonschema.SchemaExt, error) {
			// The schema that obj is compiled into. A format is called for each value that the schema is applied to, before any of its
			// subschemas: those may be applied again and again.
			ctx.Enqueue(nil).Format = &jsonschema.Format{Name: "steps", Validate: step}
			return nil, checkDraft(obj)
		},
	})
	c.AssertVocabs()
	if err := c.AddResource(place, doc); err != nil {
		return nil, refusal(err)
	}
	compiled, err := c.Compile(place)
	if err != nil {
		return nil, refusal(err)
	}
	return compiled, nil
}

// anything returns the schema that every value meets.
func anything() *jsonschema.Schema {
	yes := true
	return &jsonschema.Schema{Bool: &yes}
}

// checkDraft refuses schemas of other dialects: their keywords have other meanings.
func checkDraft(obj map[string]any) error {
	dialect, ok := obj["$schema"]
	if text, isText := dialect.(string); !ok || isText && strings.TrimSuffix(text, "#") == Draft {
		return nil
	}
	return fmt.Errorf("its $schema is %.80v; leave it out, or write %s", dialect, Draft)
}

// refuseAll refuses to load a schema from anywhere.
type refuseAll struct{}

func (refuseAll) Load(url string) (any, error) {
	return nil, fmt.Errorf("it refers to %.120q, outside of itself; files and addresses are not read: copy what it needs into its $defs, and refer to that as #/$defs/NAME", url)
}

// refusal returns the error of the compiler as an ErrSchema of one line.
func refusal(err error) error {
	if load, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return fmt.Errorf("%w: %w", ErrSchema, load.Err)
	}
	if bad, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if invalid, ok := errors.AsType[*jsonschema.ValidationError](bad.Err); ok {
			v := violation(invalid)
			return fmt.Errorf("%w: at %s: %s", ErrSchema, v.at(), v.Problem)
		}
	}
	return fmt.Errorf("%w: %s", ErrSchema, oneLine(strings.ReplaceAll(err.Error(), place, "")))
}

// decode returns the JSON value of text, with numbers as [json.Number].
func decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	if d.InputOffset() < int64(len(text)) && len(bytes.TrimSpace(text[d.InputOffset():])) > 0 {
		return nil, errors.New("it is no JSON: more follows the first value")
	}
	return doc, checkParts(doc, MaxDepth)
}
