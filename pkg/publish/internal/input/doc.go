// Package input reads records out of a pipeline's bytes: decompression, the three formats, and strict checking.
//
// The work is cut so that the part that must be serial is small. A [Source] finds where each record's text begins and
// ends and puts the texts into a [Batch], with their line numbers; a [Decoder] turns one text into key and value,
// checked. Many decoders may work on batches at a time.
//
// Whatever the input is, memory is bounded: a record's text is given up as too large as soon as it cannot fit any more.
package input

import "freshet.dev/pkg/dataset"

const (
	// batchBytes is how much a Source puts into a Batch: a millisecond or two of parsing, far more than handing it over
	// costs.
	batchBytes = 256 << 10
	// maxTextBytes is the length of a text (an NDJSON line, an element of an array) beyond which its end is not looked
	// for. It leaves room for blanks around the largest value.
	maxTextBytes = dataset.MaxValueBytes + 4<<10
)

// Source cuts an input into the texts of its records.
type Source interface {
	// Next replaces the content of b with the next texts, at least one. At the end of the input it returns io.EOF. A
	// *Refusal says what is wrong with the input, any other error that it could not be read. Texts that come before
	// what is wrong have all been returned by the calls before.
	Next(b *Batch) error
	// NewDecoder returns a decoder for the texts of this source. It may be called from any goroutine once Next has
	// returned nil.
	NewDecoder() Decoder
}

// Decoder turns texts into records. It is for one goroutine.
type Decoder interface {
	// Decode returns the key and the value of text i of b, within the limits of a record. They are valid until the next
	// call, or until b changes. The value is nil, and only then, if the record is to be removed; see Removals. The error
	// is a *Refusal.
	Decode(b *Batch, i int) (key, value []byte, err error)
}

// Option is an option of a source.
type Option func(*options)

type options struct {
	remove   string
	required bool
	refused  bool
}

// Removals makes removals of records whose member called name is true, or of rows whose column called name is true or
// 1. In a row that column is then no part of the value. The name must not be that of the key. A header that lacks a column
// which is required is refused; else nothing is removed.
func Removals(name string, required bool) Option {
	return func(o *options) { o.remove, o.required = name, required }
}

// NoRemovals refuses what Removals would make removals of, and a column called name whatever is in it: it is a patch that
// was taken for all records.
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
	// fields holds where each field of each row ends in data. Only CSV has it, where a text is a row of as many fields
	// as the header has, without separators or quotes.
	fields []int
}

// span is where a text lies in the batch, and its line in the input.
type span struct{ start, end, line int }

// Len returns the number of texts.
func (b *Batch) Len() int { return len(b.spans) }

// Bytes returns the length of all texts together, without separators for CSV.
func (b *Batch) Bytes() int { return len(b.data) }

// Line returns the line of the input on which text i begins.
func (b *Batch) Line(i int) int { return b.spans[i].line }

func (b *Batch) text(i int) []byte { return b.data[b.spans[i].start:b.spans[i].end] }

func (b *Batch) reset() {
	b.data, b.spans, b.fields = b.data[:0], b.spans[:0], b.fields[:0]
}
