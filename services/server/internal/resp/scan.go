package resp

import (
	"bytes"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"freshet.dev/pkg/dataset"
)

const (
	// cursorBits is the length of a cursor in bits: JavaScript's numbers hold it exactly.
	cursorBits = 52
	// defaultCount is how many records a SCAN without COUNT examines, mostCount the most that one examines.
	defaultCount, mostCount = 10, 10_000
	// stepsOfRecord is how many compared bytes count as one more record.
	stepsOfRecord = 256
)

// A cursor of SCAN is a position in the order of all records: the number of the dataset, in the order of names, and the leading bits of the
// hash of the next record. Versions of a dataset have the same seed, so that a position means the same in all of them: a record before it
// was returned, or was not there when the scan passed. Records whose hashes share these bits are returned together.

// scanOptions are the arguments of a SCAN.
type scanOptions struct {
	pattern string
	prefix  string // of every key that matches
	any     bool   // every key with the prefix matches
	count   int
	none    bool // TYPE of no record
}

// scan answers SCAN cursor [MATCH pattern] [COUNT count] [TYPE type].
func scan(x *executor, c *conn, out []byte) []byte {
	cursor, err := strconv.ParseUint(string(x.args[1]), 10, 64)
	if err != nil {
		return appendError(out, "ERR invalid cursor")
	}
	o, err := parseScan(x.args[2:])
	if err != nil {
		return appendError(out, err.Error())
	}
	p := x.port
	first, end, err := p.scanned(o.prefix)
	if err != nil {
		return appendError(out, err.Error())
	}
	hashBits := cursorBits - bits.Len(uint(len(p.sorted)))
	number, from := int(cursor>>hashBits), cursor<<(64-hashBits)
	if number < first {
		number, from = first, 0
	}
	var keys []byte
	n, left, next := 0, o.count, uint64(0)
	for ; number < end && next == 0; number, from = number+1, 0 {
		d := p.sorted[number]
		t := d.Table()
		if t == nil {
			continue // no record of it is there during the whole scan
		}
		bucket := from >> (64 - hashBits)
		for key := range t.From(from) {
			at := dataset.Hash(t.Seed(), key) >> (64 - hashBits)
			if at != bucket && left <= 0 {
				next = uint64(number)<<hashBits | at
				break
			}
			bucket = at
			left--
			name := d.name
			matched, steps := o.matches(name, key)
			left -= steps / stepsOfRecord
			if matched {
				keys = appendLine(keys, '$', len(name)+1+len(key))
				keys = append(append(append(keys, name...), ':'), key...)
				keys = append(keys, '\r', '\n')
				n++
			}
		}
		if left <= 0 && next == 0 && number+1 < end {
			next = uint64(number+1) << hashBits
		}
	}
	x.work += recordWork * (o.count - left)
	out = appendBulk(appendArray(out, 2), strconv.FormatUint(next, 10))
	return append(appendArray(out, n), keys...)
}

// scanned returns the numbers of the datasets that have keys with the prefix.
func (p *Port) scanned(prefix string) (first, end int, err error) {
	if name, _, ok := strings.Cut(prefix, ":"); ok {
		d := p.datasets[name]
		if d == nil {
			return 0, 0, p.noDataset([]byte(name))
		}
		if _, err := d.open(); err != nil {
			return 0, 0, err
		}
		return d.number, d.number + 1, nil
	}
	for end < len(p.sorted) && (p.sorted[end].name < prefix || strings.HasPrefix(p.sorted[end].name, prefix)) {
		if p.sorted[end].name < prefix {
			first++
		}
		end++
	}
	return first, end, nil
}

func parseScan(args [][]byte) (o scanOptions, err error) {
	o.pattern, o.any, o.count = "*", true, defaultCount
	for ; len(args) > 0; args = args[2:] {
		if len(args) == 1 {
			return o, replyError("ERR syntax error")
		}
		value := string(args[1])
		switch {
		case is(args[0], "match"):
			o.pattern = value
			i := strings.IndexAny(value, `*?[\`)
			if i < 0 {
				i = len(value)
			}
			o.prefix, o.any = value[:i], value[i:] == "*"
			if strings.Contains(value, "[") {
				return o, replyError(fmt.Sprintf("ERR the pattern %.80q has a [, which is not supported: MATCH takes *, ? and a backslash before them", value))
			}
		case is(args[0], "count"):
			n, err := strconv.Atoi(value)
			if err != nil {
				return o, replyError("ERR value is not an integer or out of range")
			}
			if n < 1 {
				return o, replyError("ERR syntax error")
			}
			o.count = min(n, mostCount)
		case is(args[0], "type"):
			o.none = !is(args[1], "string")
		default:
			return o, replyError("ERR syntax error")
		}
	}
	return o, nil
}

// matches reports whether the record of the dataset is one that the scan wants, and how many characters it compared one by one.
func (o *scanOptions) matches(name string, key []byte) (matched bool, steps int) {
	if o.none {
		return false, 0
	}
	if rest, ok := strings.CutPrefix(o.prefix, name+":"); ok { // nearly always
		if !bytes.HasPrefix(key, []byte(rest)) {
			return false, 0
		}
		if o.any {
			return true, 0
		}
	} else if o.any {
		return strings.HasPrefix(name+":", o.prefix), 0
	}
	return glob(name+":"+string(key), o.pattern)
}

// glob reports whether the text matches the pattern, in which * stands for any text, ? for any byte, and a backslash makes the next byte stand
// for itself. steps is the number of bytes compared, at most the product of the lengths.
func glob(text, pattern string) (matched bool, steps int) {
	i, j := 0, 0
	star, from := -1, 0 // the last star, and where in text it ends
	for i < len(text) {
		steps++
		if j < len(pattern) {
			switch c := pattern[j]; {
			case c == '*':
				j++
				star, from = j, i
				continue
			case c == '\\' && j+1 < len(pattern) && pattern[j+1] == text[i]:
				i, j = i+1, j+2
				continue
			case c == '?' || c == text[i] && c != '\\':
				i, j = i+1, j+1
				continue
			}
		}
		if star < 0 {
			return false, steps
		}
		from++
		i, j = from, star
	}
	return strings.Trim(pattern[j:], "*") == "", steps
}

func dbsize(x *executor, _ *conn, out []byte) []byte {
	n := 0
	for _, d := range x.port.sorted {
		if t := d.Table(); t != nil {
			n += t.Len()
		}
	}
	return appendInt(out, n)
}
