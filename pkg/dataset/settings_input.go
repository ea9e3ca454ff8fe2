package dataset

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"
)

// InputRules say how the records of a dataset are read from a text. The zero InputRules are those of a dataset of an earlier release.
type InputRules struct {
	// Key names the members that make the key of a record; see [JoinKey]. If it is empty, each publish names them.
	Key Names `json:"key,omitzero"`
	// NumberKeys says which JSON numbers are keys.
	NumberKeys NumberKeys `json:"number_keys,omitempty"`
	// CSVDelimiter is what stands between the columns of a CSV, as Delimiter reads it.
	CSVDelimiter string `json:"csv_delimiter,omitempty"`
	// CSVNumbers and CSVBooleans name the columns of a CSV whose fields become JSON numbers and booleans; those of others become strings.
	// They are nil while nothing is set, and empty if no column is to be of the type.
	CSVNumbers  Names `json:"csv_numbers,omitzero"`
	CSVBooleans Names `json:"csv_booleans,omitzero"`
	// CSVNull is the text of a field that becomes null, in the columns CSVNullColumns or, if that is nil, in all but those of the key.
	CSVNull        *string `json:"csv_null,omitempty"`
	CSVNullColumns Names   `json:"csv_null_columns,omitzero"`
}

// NumberKeys says which JSON numbers are keys. The zero NumberKeys is NumbersAsWritten.
type NumberKeys string

const (
	// NumbersPlain accepts a number that is written as a plain integer, such as 1 or -20, and refuses every other number.
	NumbersPlain NumberKeys = "plain"
	// NumbersInteger accepts every number whose value is an integer, and makes its key of its digits: 1, 1.0 and 1e0 are the key 1.
	NumbersInteger NumberKeys = "integer"
	// NumbersAsWritten accepts every number. Its text is the key, so that 1 and 1.0 are two keys.
	NumbersAsWritten NumberKeys = "as-written"
)

const (
	// MaxKeyMembers is how many members a key may have.
	MaxKeyMembers = 16
	maxColumns    = 1024
	maxNameBytes  = 256
)

const (
	wantKey        = `the name of a member, or a JSON array of up to 16 such as '["country","id"]'`
	wantNumberKeys = "plain, integer or as-written"
	wantDelimiter  = "one ASCII character that is no letter, digit or quote, or the word tab"
	wantColumns    = `the name of a column, or a JSON array of up to 1024 such as '["price","stock"]'; [] is no column`
	wantText       = `a text, in quotes if it is a JSON value itself: '"null"', '""'`
)

// inputSettings are the rows of the input rules.
var inputSettings = []Setting{
	{
		"key", "set by the first publish", "the member or members that make the key of a record",
		wantKey, isNames(1, MaxKeyMembers),
	},
	{
		"number_keys", "as-written; the first publish sets plain",
		"numbers as keys: plain refuses all but plain integers, integer makes 1 of 1, 1.0 and 1e0, as-written keeps each spelling as a key",
		wantNumberKeys, isNumberKeys,
	},
	{"csv_delimiter", ",", "what stands between the columns of CSV", wantDelimiter, isDelimiter},
	{"csv_numbers", "none", "the columns of CSV whose fields are JSON numbers", wantColumns, isNames(0, maxColumns)},
	{"csv_booleans", "none", "the columns of CSV whose fields are true or false (also t and f, 1 and 0, in any case)", wantColumns, isNames(0, maxColumns)},
	{"csv_null", "none", "the text of a field of CSV that is null", wantText, isText},
	{"csv_null_columns", "all but the key", "the columns of CSV in which the text csv_null is null", wantColumns, isNames(1, maxColumns)},
}

// Check returns an error that names the setting if no input can meet the rules.
func (r InputRules) Check() error {
	for _, name := range r.CSVBooleans {
		switch {
		case slices.Contains(r.CSVNumbers, name):
			return fmt.Errorf("csv_numbers and csv_booleans both name the column %.64q; name it in one", name)
		case slices.Contains(r.Key, name):
			return fmt.Errorf("csv_booleans names the column %.64q, which is in the key; a key is a text or a number", name)
		}
	}
	for _, name := range r.CSVNullColumns {
		if slices.Contains(r.Key, name) {
			return fmt.Errorf("csv_null_columns names the column %.64q, which is in the key; a key is never null", name)
		}
	}
	if r.CSVNullColumns != nil && r.CSVNull == nil {
		return fmt.Errorf("csv_null_columns is set without csv_null; set the text that is null there")
	}
	return nil
}

// Delimiter returns what stands between the columns of a CSV.
func (r InputRules) Delimiter() byte {
	switch r.CSVDelimiter {
	case "":
		return ','
	case "tab":
		return '\t'
	}
	return r.CSVDelimiter[0]
}

// Nullable reports whether the text CSVNull is null in the column.
func (r InputRules) Nullable(column string) bool {
	if r.CSVNull == nil || slices.Contains(r.Key, column) {
		return false
	}
	return r.CSVNullColumns == nil || slices.Contains(r.CSVNullColumns, column)
}

// Names are names of members or columns. Their JSON is an array; that of one name may be a string.
type Names []string

// MarshalJSON implements [json.Marshaler]. One name is a string.
func (n Names) MarshalJSON() ([]byte, error) {
	if len(n) == 1 {
		return json.Marshal(n[0])
	}
	return json.Marshal([]string(n))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (n *Names) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*n = Names{one}
		return nil
	}
	many := []string{}
	if err := json.Unmarshal(text, &many); err != nil {
		return err
	}
	*n = many
	return nil
}

// isNames returns a check for so many different names.
func isNames(least, most int) func(json.RawMessage) bool {
	return func(value json.RawMessage) bool {
		var names Names
		if names.UnmarshalJSON(value) != nil || len(names) < least || len(names) > most {
			return false
		}
		for i, name := range names {
			if name == "" || len(name) > maxNameBytes || slices.Contains(names[:i], name) {
				return false
			}
		}
		return true
	}
}

func isNumberKeys(value json.RawMessage) bool {
	text, ok := textOf(value)
	return ok && slices.Contains([]NumberKeys{NumbersPlain, NumbersInteger, NumbersAsWritten}, NumberKeys(text))
}

func isDelimiter(value json.RawMessage) bool {
	text, ok := textOf(value)
	if !ok || len(text) != 1 {
		return text == "tab"
	}
	switch c := text[0]; {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '"', c >= utf8.RuneSelf, c == 0x7f:
		return false
	default:
		return c >= ' ' || c == '\t'
	}
}

func isText(value json.RawMessage) bool {
	text, ok := textOf(value)
	return ok && len(text) <= maxNameBytes
}

func textOf(value json.RawMessage) (text string, ok bool) {
	return text, json.Unmarshal(value, &text) == nil
}
