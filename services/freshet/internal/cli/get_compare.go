package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/services/freshet/internal/show"
)

// comparison is the output of a remote get.
type comparison struct {
	Dataset string `json:"dataset"`
	// Agree is true if all instances answered, and have the same content for every key.
	Agree bool `json:"agree"`
	// Versions are the versions that the instances serve, ascending.
	Versions []dataset.Ref `json:"versions"`
	Keys     []keyContent  `json:"keys"`
	Answers  []answer      `json:"answers"`
	// Failed are the instances that did not answer or refused.
	Failed []failure `json:"failed"`
}

// keyContent is the comparison of one key.
type keyContent struct {
	Key string `json:"key"`
	// Agree is true if the answers have the same content; Found if any has the record.
	Agree bool `json:"agree"`
	Found bool `json:"found"`
}

// answer is what one instance answered.
type answer struct {
	Instance string            `json:"instance"`
	Host     string            `json:"host,omitempty"`
	PID      int               `json:"pid,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Version  uint64            `json:"version"`
	ID       dataset.VersionID `json:"id,omitzero"`
	Records  []record          `json:"records"`
}

// record is what one instance has for one key. A value has the form of the server's records:batchGet.
type record struct {
	Key    string          `json:"key"`
	Found  bool            `json:"found"`
	SHA256 *dataset.Digest `json:"sha256,omitempty"`
	Bytes  int             `json:"bytes"`
	Value  json.RawMessage `json:"value,omitempty"`
	Base64 []byte          `json:"value_base64,omitempty"`

	lookup fleet.Lookup
}

// failure is an instance without an answer. The instance is empty if it is unknown.
type failure struct {
	Instance string `json:"instance,omitempty"`
	Host     string `json:"host,omitempty"`
	PID      int    `json:"pid,omitempty"`
	Why      string `json:"why"`

	err error
}

// compare fills r with the answers, which have one record for each key.
func (r *comparison) compare(keys []string, answers []fleet.Answer) {
	slices.SortStableFunc(answers, func(a, b fleet.Answer) int {
		return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Host, b.Host), cmp.Compare(a.PID, b.PID))
	})
	r.Answers, r.Versions, r.Agree = []answer{}, []dataset.Ref{}, true
	for _, a := range answers {
		if a.Err != nil {
			r.Failed = append(r.Failed, failure{Instance: a.Instance, Host: a.Host, PID: a.PID, Why: a.Err.Error(), err: a.Err})
			continue
		}
		shown := answer{Instance: a.Instance, Host: a.Host, PID: a.PID, Labels: a.Labels, Version: a.Version, ID: a.ID}
		for i, l := range a.Records {
			shown.Records = append(shown.Records, recordOf(keys[i], l))
		}
		r.Answers = append(r.Answers, shown)
		if ref := (dataset.Ref{Version: a.Version, ID: a.ID}); !slices.Contains(r.Versions, ref) {
			r.Versions = append(r.Versions, ref)
		}
	}
	slices.SortFunc(r.Versions, func(a, b dataset.Ref) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), strings.Compare(a.ID.String(), b.ID.String()))
	})
	for i, key := range keys {
		k := keyContent{Key: key, Agree: fleet.Agree(answers, i)}
		k.Found = slices.ContainsFunc(answers, func(a fleet.Answer) bool { return a.Err == nil && a.Records[i].Found })
		r.Keys = append(r.Keys, k)
		r.Agree = r.Agree && k.Agree
	}
	if r.Failed == nil {
		r.Failed = []failure{}
	}
	r.Agree = r.Agree && len(r.Failed) == 0
}

func recordOf(key string, l fleet.Lookup) record {
	r := record{Key: key, Found: l.Found, Bytes: l.Bytes, lookup: l}
	if l.Found {
		r.SHA256 = &l.Digest
	}
	switch {
	case !l.HasValue():
	case utf8.Valid(l.Value) && json.Valid(l.Value):
		r.Value = l.Value
	default:
		r.Base64 = l.Value
	}
	return r
}

var remoteColumns = []show.Column{
	{Title: "key"},
	{Title: "instance"},
	{Title: "version", Align: show.Right},
	{Title: "id"},
	{Title: "sha256"},
	{Title: "bytes", Align: show.Right},
	{Title: "value"},
}

const (
	// shownDigest is how many digits of a digest the table has: as many as of a version id.
	shownDigest = 12
	// shownValue is how many characters of a value the table has.
	shownValue = 60
)

// print writes a table with a row for each key and instance, and below it whether the instances agree.
func (r *comparison) print(w io.Writer) error {
	named := map[string]int{} // the number of processes with a name
	for _, a := range r.Answers {
		named[a.Instance]++
	}
	var rows [][]string
	for i, k := range r.Keys {
		for _, a := range r.Answers {
			instance := a.Instance
			if named[instance] > 1 {
				instance += fmt.Sprintf(" (process %d on %s)", a.PID, a.Host)
			}
			rows = append(rows, append([]string{quoteKey(k.Key), instance}, cells(a, a.Records[i])...))
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if err := show.Table(w, remoteColumns, rows); err != nil {
		return err
	}
	for _, k := range r.Keys {
		if !k.Agree {
			return nil // the error says on which keys
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", r.agreement())
	return err
}

// agreement describes the instances that agree.
func (r *comparison) agreement() string {
	text := "1 instance answers"
	if n := len(r.Answers); n > 1 {
		text = fmt.Sprintf("%d instances agree", n)
	}
	var versions []string
	for _, v := range r.Versions {
		if v.Version > 0 {
			versions = append(versions, strconv.FormatUint(v.Version, 10))
		}
	}
	if len(versions) > 1 {
		text += ", and serve different versions: " + some(versions)
	}
	return text
}

// cells returns the cells of a record.
func cells(a answer, r record) []string {
	switch {
	case a.Version == 0:
		return []string{show.None, "", "", "", "(no version is served yet)"}
	case !r.Found:
		return []string{strconv.FormatUint(a.Version, 10), a.ID.Short(), "", "", "(no such record)"}
	}
	value := "(not in the answer, which has values up to " + show.Bytes(fleet.MaxGetValueBytes) + ")"
	if r.Bytes <= fleet.MaxGetValueBytes {
		value = "(not in the answer, which is full; ask for fewer keys)"
	}
	if r.lookup.HasValue() {
		value = shownText(r.lookup.Value)
	}
	return []string{
		strconv.FormatUint(a.Version, 10), a.ID.Short(), r.lookup.Digest.String()[:shownDigest], show.Count(uint64(r.Bytes)), value,
	}
}

// shownText returns the begin of a value as text that a terminal may print.
func shownText(value []byte) string {
	begin, more := value, ""
	if len(begin) > shownValue {
		begin, more = begin[:shownValue], "..."
		for len(begin) > 0 && !utf8.RuneStart(value[len(begin)]) { // not in the middle of a character
			begin = begin[:len(begin)-1]
		}
	}
	text := string(begin)
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
		text = strconv.Quote(text)
	}
	return text + more
}

// quoteKey returns a key as text that a terminal may print.
func quoteKey(key string) string {
	if !utf8.ValidString(key) || strings.ContainsFunc(key, func(c rune) bool { return !unicode.IsGraphic(c) }) {
		return strconv.Quote(key)
	}
	return key
}
