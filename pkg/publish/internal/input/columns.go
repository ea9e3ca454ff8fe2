package input

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"freshet.dev/pkg/dataset"
)

func newRowForm(header []string, key Key, o options) rowForm {
	f := rowForm{key: key, columns: make([]column, len(header)), remove: -1}
	if o.rules.CSVNull != nil {
		f.null = []byte(*o.rules.CSVNull)
	}
	if o.remove != "" {
		f.remove = slices.Index(header, o.remove)
	}
	for i, name := range header {
		c := column{name: name, member: slices.Index(key.Members, name)}
		switch {
		case slices.Contains(o.rules.CSVNumbers, name):
			c.kind = number
		case slices.Contains(o.rules.CSVBooleans, name):
			c.kind = boolean
		}
		c.nullable = c.member < 0 && o.rules.Nullable(name)
		f.columns[i] = c
	}
	f.quoteNames()
	return f
}

// checkColumns refuses a header by its marks of removals and the types of its columns.
func (s *rows) checkColumns(o options) error {
	line, _ := s.csv.FieldPos(0)
	switch removals := s.form.remove >= 0; {
	case removals && o.refused:
		return &Refusal{
			Line:    line,
			Problem: fmt.Sprintf("the header has the column %q, which marks removals in a patch, and this publishes all records", o.remove),
			Hint:    "publish it as a patch, or rename the column",
		}
	case !removals && o.required:
		return s.lacks(o.remove, "which marks removals")
	}
	if o.refused { // the rows of a patch may have fewer columns
		for _, typed := range []struct {
			setting string
			names   []string
		}{{"csv_numbers", o.rules.CSVNumbers}, {"csv_booleans", o.rules.CSVBooleans}} {
			for _, name := range typed.names {
				if !slices.Contains(s.header, name) {
					return s.lacks(name, "which the setting "+typed.setting+" names")
				}
			}
		}
	}
	return s.checkHeld(o)
}

// checkHeld refuses columns that would turn numbers or booleans of the dataset into strings.
func (s *rows) checkHeld(o options) error {
	var problems, sets []string
	for _, held := range []struct {
		setting, what string
		set           dataset.Names
		names         []string
	}{
		{"csv_numbers", "numbers", o.rules.CSVNumbers, o.held.Numbers},
		{"csv_booleans", "booleans", o.rules.CSVBooleans, o.held.Booleans},
	} {
		if held.set != nil {
			continue // someone has decided
		}
		names := slices.DeleteFunc(slices.Clone(s.header), func(name string) bool {
			return !slices.Contains(held.names, name) || name == o.remove ||
				slices.Contains(o.rules.CSVNumbers, name) || slices.Contains(o.rules.CSVBooleans, name)
		})
		if len(names) == 0 {
			continue
		}
		list, err := json.Marshal(names)
		if err != nil {
			return err
		}
		problems = append(problems, fmt.Sprintf("the columns %s would turn %s of the dataset into strings", list, held.what))
		sets = append(sets, fmt.Sprintf("--set '%s=%s'", held.setting, strings.ReplaceAll(string(list), "'", `'\''`)))
	}
	if len(problems) == 0 {
		return nil
	}
	line, _ := s.csv.FieldPos(0)
	return &Refusal{
		Line: line, Problem: strings.Join(problems, ", and "),
		Hint: "name their types: freshet settings DATASET " + strings.Join(sets, " ") + " --reason TEXT; with [] in place of the names, the fields become strings",
	}
}
