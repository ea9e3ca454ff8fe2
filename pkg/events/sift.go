package events

import "bytes"

// sift returns the beacon data without the datasets that are not wanted, so that decoding costs what an instance has and not
// what the store has. mine is false if the bounds of the message, which come before its datasets, exclude every wanted name. If
// data is not laid out as expected, sift returns all of it: the decoder says what is wrong.
func (s *listening) sift(data []byte) (sifted []byte, mine bool) {
	var from, to []byte
	out := make([]byte, 0, 512)
	w := walker{data: data}
	if !w.take('{') {
		return data, true
	}
	out = append(out, '{')
	for first := true; !w.take('}'); first = false {
		if !first && !w.take(',') {
			return data, true
		}
		key, ok := w.str()
		if !ok || !w.take(':') {
			return data, true
		}
		if !first {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), key...), '"', ':')
		w.space()
		begin := w.at
		switch string(key) {
		case "newest":
			if !s.within(from, to) {
				return nil, false
			}
			out, ok = w.members(out, s.names)
		case "ids":
			out, ok = w.members(out, s.names)
		case "unread":
			out, ok = w.elements(out, s.names)
		default:
			ok = w.skip()
			value := data[begin:w.at]
			out = append(out, value...)
			if n := len(value); ok && n >= 2 && value[0] == '"' && bytes.IndexByte(value, '\\') < 0 {
				switch string(key) {
				case "from":
					from = value[1 : n-1]
				case "to":
					to = value[1 : n-1]
				}
			}
		}
		if !ok {
			return data, true
		}
	}
	if w.space(); w.at < len(data) {
		return data, true
	}
	return append(out, '}'), true
}

// within reports whether a wanted name lies from from on and before to.
func (s *listening) within(from, to []byte) bool {
	for name := range s.names {
		if name >= string(from) && (len(to) == 0 || name < string(to)) {
			return true
		}
	}
	return false
}

// walker passes over JSON. It checks no more than it needs to find where things end.
type walker struct {
	data []byte
	at   int
}

func (w *walker) space() {
	for w.at < len(w.data) && (w.data[w.at] == ' ' || w.data[w.at] == '\n' || w.data[w.at] == '\t' || w.data[w.at] == '\r') {
		w.at++
	}
}

// take passes over c, if it comes next.
func (w *walker) take(c byte) bool {
	w.space()
	if w.at < len(w.data) && w.data[w.at] == c {
		w.at++
		return true
	}
	return false
}

// str passes over a string and returns what stands within its quotes, escapes as they are.
func (w *walker) str() ([]byte, bool) {
	if !w.take('"') {
		return nil, false
	}
	begin := w.at
	for {
		n := bytes.IndexByte(w.data[w.at:], '"')
		if n < 0 {
			return nil, false
		}
		w.at += n
		escapes := 0 // an odd number of backslashes takes the quote into the string
		for w.at-escapes > begin && w.data[w.at-escapes-1] == '\\' {
			escapes++
		}
		w.at++
		if escapes%2 == 0 {
			return w.data[begin : w.at-1], true
		}
	}
}

// skip passes over a value.
func (w *walker) skip() bool {
	for depth := 0; ; {
		w.space()
		if w.at == len(w.data) {
			return false
		}
		switch w.data[w.at] {
		case '"':
			if _, ok := w.str(); !ok {
				return false
			}
		case '{', '[':
			depth++
			w.at++
			continue
		case '}', ']':
			if depth == 0 {
				return false // there is no value
			}
			depth--
			w.at++
		case ',', ':':
			if depth == 0 {
				return false
			}
			w.at++
			continue
		default:
			for w.at < len(w.data) && !ends(w.data[w.at]) {
				w.at++
			}
		}
		if depth == 0 {
			return true
		}
	}
}

// ends reports whether c cannot be part of a number or a word.
func ends(c byte) bool {
	switch c {
	case ' ', '\n', '\t', '\r', ',', ':', '{', '}', '[', ']', '"':
		return true
	}
	return false
}

// members passes over an object and appends it to out with the wanted members alone. A key with an escape may be any name.
func (w *walker) members(out []byte, wanted map[string]bool) ([]byte, bool) {
	if !w.take('{') {
		begin := w.at
		ok := w.skip()
		return append(out, w.data[begin:w.at]...), ok
	}
	out = append(out, '{')
	any := false
	for first := true; !w.take('}'); first = false {
		if !first && !w.take(',') {
			return out, false
		}
		w.space()
		begin := w.at
		key, ok := w.str()
		if !ok || !w.take(':') || !w.skip() {
			return out, false
		}
		if wanted[string(key)] || bytes.IndexByte(key, '\\') >= 0 {
			if any {
				out = append(out, ',')
			}
			out, any = append(out, w.data[begin:w.at]...), true
		}
	}
	return append(out, '}'), true
}

// elements is members for an array of strings.
func (w *walker) elements(out []byte, wanted map[string]bool) ([]byte, bool) {
	if !w.take('[') {
		begin := w.at
		ok := w.skip()
		return append(out, w.data[begin:w.at]...), ok
	}
	out = append(out, '[')
	any := false
	for first := true; !w.take(']'); first = false {
		if !first && !w.take(',') {
			return out, false
		}
		w.space()
		begin := w.at
		name, ok := w.str()
		if !ok {
			return out, false
		}
		if wanted[string(name)] || bytes.IndexByte(name, '\\') >= 0 {
			if any {
				out = append(out, ',')
			}
			out, any = append(out, w.data[begin:w.at]...), true
		}
	}
	return append(out, ']'), true
}
