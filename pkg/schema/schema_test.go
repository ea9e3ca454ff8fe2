package schema_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"freshet.dev/pkg/schema"
)

func compile(t testing.TB, text string) *schema.Schema {
	t.Helper()
	s, err := schema.Compile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const price = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","required":["id","price"],
	"properties":{"id":{"type":"string","pattern":"^[a-z]+$"},"price":{"type":"number","minimum":0},"tags":{"type":"array","items":{"$ref":"#/$defs/tag"}}},
	"$defs":{"tag":{"enum":["a","b"]}}}`

func TestCheck(t *testing.T) {
	s := compile(t, price)
	for value, want := range map[string]string{
		`{"id":"a","price":1}`:                     "",
		` {"id":"a","price":1e3,"more":[null]} `:   "",
		`{"id":"a","price":"1"}`:                   "/price: got string, want number (schema /properties/price/type)",
		`{"id":"a","price":-1}`:                    "/price: minimum: got -1, want 0 (schema /properties/price/minimum)",
		`{"id":"A","price":-1}`:                    "/id: 'A' does not match pattern '^[a-z]+$' (schema /properties/id/pattern)",
		`{"id":"a"}`:                               "the value: missing property 'price' (schema /required)",
		`{"id":"a","price":1,"tags":["a","c"]}`:    "/tags/1: value must be one of 'a', 'b' (schema /$defs/tag/enum)",
		`{"id":"a","price":1,"tags":[{"a/b~":1}]}`: "/tags/0: value must be one of",
		`17`:                                "the value: got number, want object (schema /type)",
		``:                                  "the value: the value is no JSON",
		`price 7`:                           "the value is no JSON",
		`{"id":"a","price":1} {}`:           "more follows",
		"\x00\xff":                          "the value is no JSON",
		`{"id":"a","price":1e1000}`:         "the number 1e1000, and numbers with exponents of at most 3 digits",
		`{"id":"a","price":1e999999999999}`: "exponents of at most 3 digits",
		`{"id":"a","price":1` + strings.Repeat("0", 1000) + `}`:                                          "a number of 1001 characters",
		`{"id":"a","price":1,"x":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`:         "nested deeper than 256 levels",
		`{"id":"a","price":1,"x":` + strings.Repeat(`{"x":`, 300) + "1" + strings.Repeat("}", 300) + `}`: "nested deeper than 256 levels",
		`{"id":"a","price":"` + strings.Repeat("x\\n", 1000) + `"}`:                                      "/price: got string",
		`{"id":"a` + strings.Repeat("x\\n", 1000) + `","price":7}`:                                       "/id: 'ax",
	} {
		v := s.Check([]byte(value))
		switch {
		case v == nil && want != "", v != nil && (want == "" || !strings.Contains(v.String(), want)):
			t.Errorf("%.60s: %v, want %q", value, v, want)
		case v != nil && (strings.Contains(v.String(), "\n") || len(v.String()) > 700):
			t.Errorf("%.60s: %q is no short line", value, v)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``:                                     "it is no JSON",
		`{`:                                    "it is no JSON",
		`true`:                                 "no JSON object",
		`[]`:                                   "no JSON object",
		`{"type":"objekt"}`:                    "at /type: 'anyOf' failed: value must be one of 'array'",
		`{"properties":{"a":{"minimum":"x"}}}`: "at /properties/a/minimum: got string, want number",
		`{"pattern":"("}`:                      "'(' is not valid regex",
		`{"patternProperties":{"(":{}}}`:       "(",
		`{"$ref":"other.json"}`:                `it refers to "freshet://settings/other.json", outside of itself`,
		`{"$ref":"file:///etc/passwd"}`:        `it refers to "file:///etc/passwd"`,
		`{"$ref":"/etc/passwd"}`:               "outside of itself",
		`{"$ref":"http://169.254.169.254/x"}`:  `it refers to "http://169.254.169.254/x", outside of itself; files and addresses are not read`,
		`{"properties":{"a":{"anyOf":[{"$ref":"https://example.com/a#/b"}]}}}`:                       `it refers to "https://example.com/a"`,
		`{"$id":"https://example.com/a/","$ref":"b"}`:                                                `it refers to "https://example.com/a/b"`,
		`{"$dynamicRef":"https://example.com/a#x"}`:                                                  `it refers to "https://example.com/a"`,
		`{"$schema":"https://example.com/my-meta"}`:                                                  `it refers to "https://example.com/my-meta"`,
		`{"$schema":"http://json-schema.org/draft-07/schema#"}`:                                      "leave it out, or write https://json-schema.org/draft/2020-12/schema",
		`{"$defs":{"a":{"$id":"x","$schema":"http://json-schema.org/draft-07/schema#"}},"$ref":"x"}`: "leave it out",
		`{"$ref":"#/$defs/none"}`:                                                                    "#/$defs/none",
		`{"$ref":"#none"}`:                                                                           "none",
		`{"description":"` + strings.Repeat("x", 30<<10) + `"}`:                                      "the most is 20480",
	} {
		_, err := schema.Compile([]byte(text))
		if !errors.Is(err, schema.ErrSchema) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
	compile(t, `{"$ref":"https://json-schema.org/draft/2020-12/schema"}`) // is part of the library
	compile(t, `{"$id":"https://example.com/a","$defs":{"b":{"$id":"b","type":"string"}},"items":{"$ref":"b"}}`)
}

// Format is an annotation, as in the draft.
func TestFormatRefusesNothing(t *testing.T) {
	s := compile(t, `{"type":"string","format":"date"}`)
	if v := s.Check([]byte(`"no date"`)); v != nil {
		t.Error(v)
	}
}

// Schemas whose work grows exponentially end a check early, whatever hides the errors.
func TestStepsAreBounded(t *testing.T) {
	deep := strings.Repeat("[", 200) + "1" + strings.Repeat("]", 200)
	doubling := `"$defs":{"a":{"items":{"$ref":"#/$defs/a"},"contains":{"$ref":"#/$defs/a"},"minContains":0,"prefixItems":[{"$ref":"#/$defs/a"}],"unevaluatedItems":false}}`
	var chain strings.Builder
	for i := range 40 {
		fmt.Fprintf(&chain, `"c%d":{"allOf":[{"$ref":"#/$defs/c%d"},{"$ref":"#/$defs/c%d"}]},`, i, i+1, i+1)
	}
	for text, value := range map[string]string{
		`{"$ref":"#/$defs/a",` + doubling + `}`:                    deep,
		`{"not":{"$ref":"#/$defs/a"},` + doubling + `}`:            deep,
		`{"if":{"$ref":"#/$defs/a"},"then":true,` + doubling + `}`: deep,
		`{"not":{"$ref":"#/$defs/a"},"$defs":{"a":{"anyOf":[{"type":"array","items":{"$ref":"#/$defs/a"},"contains":{"$ref":"#/$defs/a"}},{"const":2}]}}}`: deep,
		`{"$ref":"#/$defs/c0","$defs":{` + chain.String() + `"c40":{}}}`:                                                                                   `1`,
	} {
		v := compile(t, text).Check([]byte(value))
		if v == nil || !strings.Contains(v.Problem, "too many of its parts") {
			t.Errorf("%.60s: %v", text, v)
		}
	}
	// A large value of a usual schema is within the bound.
	large := "[" + strings.Repeat(`{"a":[1,2],"b":"text"},`, 40_000) + "{}]"
	if v := compile(t, `{"items":{"type":"object","properties":{"a":{"type":"array","items":{"type":"number"}},"b":{"type":"string","maxLength":9}}}}`).Check([]byte(large)); v != nil {
		t.Error(v)
	}
	// A cycle without a value between is an error of the schema, and ends.
	if v := compile(t, `{"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}]},"b":{"$ref":"#/$defs/a"}}}`).Check([]byte(`1`)); v == nil {
		t.Error("a cycle meets the schema")
	}
}

func TestConcurrentChecks(t *testing.T) {
	s := compile(t, price)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				if v := s.Check(fmt.Appendf(nil, `{"id":"a","price":%d}`, i-4)); (v == nil) != (i >= 4) {
					t.Errorf("%d: %v", i, v)
				}
			}
		})
	}
	wg.Wait()
}

// No value makes Check panic, run long, or return a text that is no line.
func FuzzCheck(f *testing.F) {
	s := compile(f, price)
	tree := compile(f, `{"type":["object","array","number","string","null"],"propertyNames":{"maxLength":9},"patternProperties":{"^a+$":{"$ref":"#"}},
		"items":{"$ref":"#"},"uniqueItems":true,"multipleOf":0.01,"maximum":100,"oneOf":[{"minItems":1},{"minProperties":1},{"const":"x"},{"exclusiveMinimum":5}]}`)
	for _, value := range []string{`{"id":"a","price":1}`, `[[{"a":[1,2,2]}],1e5]`, `"x"`, `1e99999`, `{"a":1,"a":2}`, "\xff", `[1`, `-0.0`, `null`} {
		f.Add([]byte(value))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		for _, s := range []*schema.Schema{s, tree} {
			if v := s.Check(value); v != nil && (v.Problem == "" || strings.ContainsAny(v.String(), "\n\x00") || len(v.String()) > 700) {
				t.Errorf("%q: %q", value, v)
			}
		}
	})
}

// No text of a schema makes Compile panic or read anything, and none that compiles makes Check panic.
func FuzzCompile(f *testing.F) {
	for _, text := range []string{price, `{"$ref":"#"}`, `{"$id":"a","$dynamicAnchor":"b","$dynamicRef":"#b"}`, `{"not":{}}`, `{"$ref":"x"}`, `{"enum":[1,"a"]}`, `{"if":true,"else":false}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := schema.Compile(text)
		if err != nil {
			if !errors.Is(err, schema.ErrSchema) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		for _, value := range []string{`{"id":"a","price":1}`, `[[1,"a"],{}]`, `null`} {
			s.Check([]byte(value))
		}
	})
}

// A record of a gazetteer, with seven members that the schema names.
func BenchmarkCheck(b *testing.B) {
	s := compile(b, `{"type":"object","required":["key","name"],"properties":{"key":{"type":"string","pattern":"^item-"},"name":{"type":"string"},
		"country":{"type":"string","minLength":2,"maxLength":2},"region":{"type":"string"},"lat":{"type":"number"},"lng":{"type":"number"},
		"population":{"type":"integer","minimum":0}},"additionalProperties":false}`)
	value := []byte(`{"key":"item-000000123","name":"Sant Julià 123","country":"AD","region":"Encamp","lat":42.00123,"lng":1.00123,"population":100031}`)
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		if v := s.Check(value); v != nil {
			b.Fatal(v)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		compile(b, price)
	}
}
