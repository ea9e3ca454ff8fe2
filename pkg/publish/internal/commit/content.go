package commit

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/schema"
)

// Content is what gates see of the records of a version.
type Content struct {
	// ChangedBytes are the bytes of the keys and new values of the records that change in place.
	ChangedBytes uint64
	// Records yields all records of the version if Whole is true, else those that it adds, changes or removes. A record is valid until the
	// next one. It may be called several times.
	Records func(ctx context.Context) iter.Seq2[dataset.Record, error]
	// Whole records are the same whatever the version before is.
	Whole bool
	// Line returns the line of the record that Records yielded last, 0 if it is not known, and Place describes a line, such as "line 7". Both
	// may be nil.
	Line  func() int
	Place func(line int) string
	// Lacking returns those of the keys that the version before lacks. It is unused if Whole is true.
	Lacking func(ctx context.Context, keys []string) ([]string, error)
}

// judgement is what the gates about content say of whole content.
type judgement struct {
	gates    string // the schema and the keys
	refusals []dataset.GateRefusal
}

// judgeContent returns the gates about values and keys that the content does not meet.
func (r *Race) judgeContent(ctx context.Context, gates dataset.Gates, content Content) ([]dataset.GateRefusal, error) {
	if content.Records == nil || len(gates.Schema) == 0 && len(gates.RequiredKeys) == 0 {
		return nil, nil
	}
	name, err := json.Marshal([]any{gates.Schema, gates.RequiredKeys})
	if err != nil {
		return nil, fmt.Errorf("judge the records of dataset %q: %w", r.dataset, err)
	}
	if content.Whole && r.whole.gates == string(name) {
		return r.whole.refusals, nil // of an attempt that lost its race
	}
	var values *schema.Schema
	if len(gates.Schema) > 0 {
		if values, err = schema.Compile(gates.Schema); err != nil {
			return nil, fmt.Errorf("dataset %q: no version can be checked with the setting schema: %w; set another with freshet settings %[1]s --set schema=JSON", r.dataset, err)
		}
	}
	refusals, err := r.inspect(ctx, values, gates.RequiredKeys, content)
	if err != nil {
		return nil, err
	}
	if content.Whole {
		r.whole = judgement{string(name), refusals}
	}
	return refusals, nil
}

// inspect reads the content once. A nil schema is none.
func (r *Race) inspect(ctx context.Context, values *schema.Schema, keys []string, content Content) (refusals []dataset.GateRefusal, err error) {
	required := requirement{}
	for _, key := range keys {
		required[key] = unseen
	}
	check := newChecks(ctx, values, r.committer.workers)
	for record, e := range content.Records(ctx) {
		if err = e; err != nil {
			break
		}
		required.see(record)
		line := 0
		if content.Line != nil {
			line = content.Line()
		}
		if err = check.add(line, record); err != nil {
			break
		}
	}
	faults, failed := check.end()
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, fmt.Errorf("judge the records of dataset %q: %w", r.dataset, err)
	}
	if faults.count > 0 {
		refusals = append(refusals, dataset.GateRefusal{Gate: "schema", Detail: faults.text(content)})
	}
	missing, err := required.missing(ctx, keys, content)
	if err != nil {
		return nil, fmt.Errorf("look up the required keys of dataset %q: %w", r.dataset, err)
	}
	if len(missing) > 0 {
		refusals = append(refusals, dataset.GateRefusal{Gate: "required_keys", Detail: missingText(missing, len(keys))})
	}
	return refusals, nil
}

// requirement has what was seen of each required key.
type requirement map[string]sight

type sight uint8

const (
	unseen sight = iota
	present
	removed
)

func (q requirement) see(r dataset.Record) {
	if _, ok := q[string(r.Key)]; !ok {
		return
	}
	if r.Removed {
		q[string(r.Key)] = removed
	} else {
		q[string(r.Key)] = present
	}
}

// missing returns the keys, of all in their order, that the version lacks.
func (q requirement) missing(ctx context.Context, keys []string, content Content) (missing []string, err error) {
	var unknown []string
	for _, key := range keys {
		if q[key] == unseen {
			unknown = append(unknown, key)
		}
	}
	if !content.Whole && len(unknown) > 0 {
		lacking, err := content.Lacking(ctx, unknown)
		if err != nil {
			return nil, err
		}
		for _, key := range unknown {
			q[key] = present
		}
		for _, key := range lacking {
			q[key] = unseen
		}
	}
	for _, key := range keys {
		if q[key] != present {
			missing = append(missing, key)
		}
	}
	return missing, nil
}

// maxNamed is how many records and keys a refusal names.
const maxNamed = 3

func missingText(missing []string, all int) string {
	var names []string
	for _, key := range missing[:min(len(missing), maxNamed)] {
		names = append(names, fmt.Sprintf("%.64q", key))
	}
	if more := len(missing) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("the version lacks %d of %d keys: %s", len(missing), all, strings.Join(names, ", "))
}
