package server

import (
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"weak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/table"
	"freshet.dev/services/internal/web"
	"github.com/zeebo/xxh3"
)

// versionHeader names the version that an answer is from.
const versionHeader = "Freshet-Version"

// idHeader holds the id of that version.
const idHeader = "Freshet-Version-Id"

// lookups is one dataset as lookups see it.
type lookups struct {
	dataset Dataset
	last    atomic.Pointer[names]
}

// names has the headers that name a version, made once a version and not once a lookup. It does not keep the version's table:
// without further lookups, an old table would stay in memory for as long as the process lives.
type names struct {
	table   weak.Pointer[table.Table]
	version []string
	id      dataset.VersionID
	idText  []string
}

// view is the table that one request reads, with its names.
type view struct {
	*table.Table
	*names
}

// now returns the version being served; ok is false if there is none yet.
func (l *lookups) now() (v view, ok bool) {
	t, id := l.dataset.Table(), l.dataset.VersionID()
	if t == nil {
		return view{}, false
	}
	if n := l.last.Load(); n != nil && n.id == id && n.table.Value() == t {
		return view{t, n}, true
	}
	if l.dataset.Table() != t { // swapped since: the id may be of the next version
		t, id = l.dataset.Table(), dataset.VersionID{}
	}
	n := &names{table: weak.Make(t), version: []string{strconv.FormatUint(t.Version(), 10)}, id: id}
	if !id.IsZero() {
		n.idText = []string{id.String()}
	}
	l.last.Store(n)
	return view{t, n}, true
}

// name sets the headers that name the version.
func (n *names) name(h http.Header) {
	h[versionHeader] = n.version
	if n.idText != nil {
		h[idHeader] = n.idText
	}
}

// view returns what is served of the dataset that the request names, or the problem to answer with.
func (s *Server) view(r *http.Request) (view, error) {
	name := r.PathValue("name")
	l, ok := s.datasets[name]
	if !ok {
		return view{}, web.Refuse(http.StatusNotFound, "unknown-dataset", "this instance does not have dataset %.80q; it has %s; FRESHET_DATASETS says which",
			name, strings.Join(s.deps.Source.Datasets(), ", ")).With("dataset", name)
	}
	v, ok := l.now()
	if !ok {
		return view{}, web.Unavailable("no-version-yet", 2, nil, "no version of dataset %s is served here yet; /v1/status says why", name).With("dataset", name)
	}
	return v, nil
}

// Values of headers, shared by all responses.
var (
	typeJSON   = []string{"application/json"}
	typeBytes  = []string{"application/octet-stream"}
	revalidate = []string{"no-cache"} // caches may keep a value, and ask with its ETag whether it still holds
)

// implicitLength is the length up to which net/http finds out by itself how long a response is.
const implicitLength = 2048

// record answers GET and HEAD of a record.
func (s *Server) record(w http.ResponseWriter, r *http.Request) error {
	v, err := s.view(r)
	if err != nil {
		return err
	}
	h := w.Header()
	v.name(h)
	value, ok := v.GetString(r.PathValue("key"))
	if !ok {
		return noRecord(v, r.PathValue("name"), r.PathValue("key"))
	}
	tag := etag(value)
	h["Etag"] = []string{tag}
	h["Cache-Control"] = revalidate
	if match := r.Header.Get("If-None-Match"); match != "" && web.MatchesETag(match, tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h["Content-Type"] = contentType(value)
	if len(value) > implicitLength {
		h["Content-Length"] = []string{strconv.Itoa(len(value))}
	}
	_, _ = w.Write(value) // a client that has left needs no answer
	return nil
}

// noRecord says that there is no such record, and whether there can be one.
func noRecord(v view, name, key string) error {
	if err := dataset.CheckKey([]byte(key)); err != nil {
		return web.Refuse(http.StatusBadRequest, "bad-key", "%v", err).With("dataset", name)
	}
	return web.Refuse(http.StatusNotFound, "unknown-key", "version %d of dataset %s has no record with the key %q", v.Version(), name, key).
		With("dataset", name).With("key", key).With("version", v.Version())
}

// etag returns a strong entity tag that follows the value alone, so that a copy stays good through the versions that do
// not change it.
func etag(value []byte) string {
	var sum [16]byte
	h := xxh3.Hash128(value)
	binary.BigEndian.PutUint64(sum[:8], h.Hi)
	binary.BigEndian.PutUint64(sum[8:], h.Lo)
	var tag [2 + 2*len(sum)]byte
	tag[0], tag[len(tag)-1] = '"', '"'
	hex.Encode(tag[1:], sum[:])
	return string(tag[:])
}

// contentType tells by the first byte: values that pkg/publish made are JSON objects.
func contentType(value []byte) []string {
	if len(value) > 0 && value[0] == '{' {
		return typeJSON
	}
	return typeBytes
}
