package commit

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sourcegraph/conc/stream"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/schema"
)

// batchBytes is the size at which the copied records of a batch go to a worker.
const batchBytes = 128 << 10

// checks checks values on several goroutines. One goroutine adds them.
type checks struct {
	ctx     context.Context
	schema  *schema.Schema // nil for none
	workers *stream.Stream
	batches sync.Pool // of *batch
	filling *batch    // nil if it has no record
	faults  faults    // the workers' callbacks write it, one at a time
}

// batch has copies of records.
type batch struct {
	data  []byte
	items []item
}

// item is a record in the data of a batch.
type item struct{ line, key, value int } // lengths of key and value

// faults are the values that do not meet the schema.
type faults struct {
	count, checked uint64
	first          []fault // the first maxNamed by their lines
}

type fault struct {
	line      int
	key       string
	violation *schema.Violation
}

func newChecks(ctx context.Context, s *schema.Schema, workers int) *checks {
	c := &checks{ctx: ctx, schema: s, workers: stream.New().WithMaxGoroutines(max(workers, 1))}
	c.batches.New = func() any { return new(batch) }
	return c
}

// add checks the value of a record, which it copies, later. It fails when ctx has ended.
func (c *checks) add(line int, r dataset.Record) error {
	if c.schema == nil || r.Removed {
		return c.ctx.Err()
	}
	if c.filling == nil {
		c.filling = c.batches.Get().(*batch)
	}
	b := c.filling
	b.data = append(append(b.data, r.Key...), r.Value...)
	b.items = append(b.items, item{line, len(r.Key), len(r.Value)})
	if len(b.data) < batchBytes {
		return nil
	}
	c.flush()
	return c.ctx.Err()
}

func (c *checks) flush() {
	b := c.filling
	if c.filling = nil; b == nil {
		return
	}
	c.workers.Go(func() stream.Callback {
		found := c.check(b)
		b.data, b.items = b.data[:0], b.items[:0]
		c.batches.Put(b)
		return func() { c.faults.merge(found) }
	})
}

// check checks the records of a batch until ctx ends.
func (c *checks) check(b *batch) (found faults) {
	data := b.data
	for _, i := range b.items {
		if c.ctx.Err() != nil {
			return found
		}
		key, value := data[:i.key], data[i.key:i.key+i.value]
		data = data[i.key+i.value:]
		found.checked++
		if v := c.schema.Check(value); v != nil {
			found.merge(faults{count: 1, first: []fault{{i.line, string(key), v}}})
		}
	}
	return found
}

// end waits for all checks. It fails if ctx ended before.
func (c *checks) end() (faults, error) {
	c.flush()
	c.workers.Wait()
	if c.ctx.Err() != nil {
		return faults{}, context.Cause(c.ctx)
	}
	return c.faults, nil
}

func (f *faults) merge(o faults) {
	f.count += o.count
	f.checked += o.checked
	if len(o.first) == 0 || len(f.first) == maxNamed && o.first[0].line >= f.first[maxNamed-1].line {
		return
	}
	f.first = append(f.first, o.first...)
	slices.SortStableFunc(f.first, func(a, b fault) int { return cmp.Compare(a.line, b.line) })
	f.first = f.first[:min(len(f.first), maxNamed)]
}

// text names the number of records and the first of them.
func (f *faults) text(content Content) string {
	var texts []string
	for _, fault := range f.first {
		place := ""
		if fault.line > 0 {
			place = content.Place(fault.line) + ", "
		}
		texts = append(texts, fmt.Sprintf("%skey %.64q: %s", place, fault.key, fault.violation))
	}
	if more := f.count - uint64(len(texts)); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	of := "records that are added or changed"
	if content.Whole {
		of = "records"
	}
	return fmt.Sprintf("%d of %d %s do not meet the schema: %s", f.count, f.checked, of, strings.Join(texts, "; "))
}
