package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	// MaxDepth is how many arrays and objects of a value may lie in one another.
	MaxDepth = 256
	// maxNumber is the length of the longest number.
	maxNumber = 1000
	// baseSteps and byteSteps bound the steps of a check: so many, and so many for each byte of the value.
	baseSteps = 10_000
	byteSteps = 8
	// stepBytes is how many bytes of a text, and how many members or items, one step includes.
	stepBytes = 64
)

// errSteps is the panic that ends a check of too many steps.
var errSteps = errors.New("the schema applies too many of its parts to the value")

// checker is a compiled schema for one check at a time: it counts the steps of that.
type checker struct {
	schema *jsonschema.Schema
	left   int // steps
}

func newChecker(text []byte) (*checker, error) {
	c := &checker{}
	var err error
	c.schema, err = compile(text, c.step)
	return c, err
}

// step counts the application of a schema to value.
func (c *checker) step(value any) error {
	size := 0
	switch v := value.(type) {
	case string:
		size = len(v)
	case map[string]any:
		size = len(v)
	case []any:
		size = len(v)
	}
	if c.left -= 1 + size/stepBytes; c.left < 0 {
		panic(errSteps) // no result of a step ends the check
	}
	return nil
}

func (c *checker) check(value []byte) (v *Violation) {
	doc, err := decode(value)
	if err != nil {
		return &Violation{Problem: strings.Replace(err.Error(), "it is no JSON", "the value is no JSON", 1)}
	}
	c.left = baseSteps + byteSteps*len(value)
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p == any(errSteps):
			v = &Violation{Problem: fmt.Sprintf("%v: more than %d for its %d bytes", errSteps, baseSteps+byteSteps*len(value), len(value))}
		default:
			panic(p)
		}
	}()
	if err := c.schema.Validate(doc); err != nil {
		invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
		if !ok { // not reached: Validate returns no other error
			return &Violation{Problem: err.Error()}
		}
		return violation(invalid)
	}
	return nil
}

// checkParts returns an error if a part of doc makes a check expensive: deep nesting, or a number that takes long to compare.
func checkParts(doc any, depth int) error {
	switch v := doc.(type) {
	case json.Number:
		return checkNumber(string(v))
	case map[string]any:
		if depth == 0 {
			return errDeep
		}
		for _, part := range v {
			if err := checkParts(part, depth-1); err != nil {
				return err
			}
		}
	case []any:
		if depth == 0 {
			return errDeep
		}
		for _, part := range v {
			if err := checkParts(part, depth-1); err != nil {
				return err
			}
		}
	}
	return nil
}

var errDeep = fmt.Errorf("it is nested deeper than %d levels, which no schema is checked with", MaxDepth)

// checkNumber returns an error for a number that takes long to compare. The exponent of 1e999 has three digits.
func checkNumber(text string) error {
	if len(text) > maxNumber {
		return fmt.Errorf("it has a number of %d characters, and numbers of at most %d are checked", len(text), maxNumber)
	}
	if at := strings.IndexAny(text, "eE"); at >= 0 && len(strings.TrimLeft(text[at+1:], "+-0")) > 3 {
		return fmt.Errorf("it has the number %.40s, and numbers with exponents of at most 3 digits are checked", text)
	}
	return nil
}
