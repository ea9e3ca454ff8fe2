// Package input reads records out of a pipeline's bytes: decompression, the four formats, and strict checking.
//
// The serial part of the work is small. A [Source] finds where each record's text begins and ends, and puts the texts into a [Batch] with
// their line numbers. A [Decoder] turns one text into a checked key and value. Many decoders may work on batches at a time.
//
// Memory is bounded for any input: a record's text is refused as too large as soon as it exceeds the limits.
package input

import "freshet.dev/pkg/dataset"

const (
	// batchBytes is how much a Source puts into a Batch: a millisecond or two of parsing, far more than passing it to another goroutine
	// costs.
	batchBytes = 256 << 10
	// maxTextBytes is the length at which a text (an NDJSON line, an element of an array) is refused. It leaves space for blanks around
	// the largest value.
	maxTextBytes = dataset.MaxValueBytes + 4<<10
	// fieldBytes is the size of an element of Batch.fields.
	fieldBytes = 8
)

// Source cuts an input into the texts of its records.
type Source interface {
	// Next replaces the content of b with the next texts, at least one. At the end of the input it returns io.EOF. It returns a *Refusal
	// if the input is wrong, any other error if it could not be read. Earlier calls have returned all texts before the error.
	Next(b *Batch) error
	// NewDecoder returns a decoder for the texts of this source. It may be called from any goroutine once Next has
	// returned nil.
	NewDecoder() Decoder
}

// Decoder turns texts into records. It is for one goroutine.
type Decoder interface {
	// Decode returns the key and the value of text i of b, within the limits of a record. They are valid until the next
	// call, or until b changes. The value is nil only for a removal; see Removals. The error is a *Refusal.
	Decode(b *Batch, i int) (key, value []byte, err error)
}

// Option is an option of a source.
type Option func(*options)

type options struct {
	remove   string
	required bool
	refused  bool
	rules    dataset.InputRules
	held     Types
}

// Rules reads a CSV with the delimiter and the types of columns of the rules.
func Rules(rules dataset.InputRules) Option { return func(o *options) { o.rules = rules } }

// Types names the members of a dataset's records that hold numbers and booleans.
type Types struct{ Numbers, Booleans []string }

// Held refuses a CSV whose columns would turn what these members hold into strings.
func Held(types Types) Option { return func(o *options) { o.held = types } }

// Removals makes records removals if their member called name is true, and rows if their column called name is true or 1. In a row that
// column is no part of the value. The name must not be that of the key. If the column is required, a header without it is refused; else
// such an input has no removals.
func Removals(name string, required bool) Option {
	return func(o *options) { o.remove, o.required = name, required }
}

// NoRemovals refuses records that Removals would make removals, and a column called name whatever its content: the input is a patch, and
// not all records.
func NoRemovals(name string) Option {
	return func(o *options) { o.remove, o.refused = name, true }
}

func apply(opts []Option) (o options) {
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Batch holds the texts of consecutive records. It is reused: keep none of its parts.
type Batch struct {
	data  []byte
	spans []span
	// fields holds where each field of each row ends in data. Only CSV uses it: its texts are rows of as many fields as the header has,
	// without separators or quotes.
	fields []int
	added  int // bytes that a decoder adds to the rows: the names of their columns
}

// span is where a text lies in the batch, and its line in the input.
type span struct{ start, end, line int }

// Len returns the number of texts.
func (b *Batch) Len() int { return len(b.spans) }

// Bytes returns about how many bytes the values of all texts have together.
func (b *Batch) Bytes() int { return len(b.data) + b.added }

// Line returns the line of the input on which text i begins.
func (b *Batch) Line(i int) int { return b.spans[i].line }

func (b *Batch) text(i int) []byte { return b.data[b.spans[i].start:b.spans[i].end] }

func (b *Batch) reset() {
	b.data, b.spans, b.fields = b.data[:0], b.spans[:0], b.fields[:0]
	b.added = 0
}
