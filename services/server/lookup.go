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

// versionHeader is the header with the version of an answer.
const versionHeader = "Freshet-Version"

// idHeader is the header with the id of that version.
const idHeader = "Freshet-Version-Id"

// lookups serves the lookups of one dataset.
type lookups struct {
	dataset Dataset
	last    atomic.Pointer[versionHeaders]
}

// versionHeaders are the headers that name a version. They are made once for each version, not for each lookup. The pointer to the
// table is weak: a strong one would keep an old table in memory until the next lookup.
type versionHeaders struct {
	table   weak.Pointer[table.Table]
	version []string
	id      dataset.VersionID
	idText  []string
}

// view is the table that one request reads, with the headers that name its version.
type view struct {
	*table.Table
	*versionHeaders
	state []string // the value of stateHeader
}

// now returns the version that is served; ok is false before the first. The state is judged first, so that it never says fresh of a version
// that has just been replaced.
func (l *lookups) now() (v view, ok bool) {
	state := l.state()
	t, id := l.dataset.Table(), l.dataset.VersionID()
	if t == nil {
		return view{}, false
	}
	if l.dataset.Table() != t { // swapped in between: the id may be the next version's
		t, id = l.dataset.Table(), dataset.VersionID{}
	}
	return l.viewOf(t, id, state), true
}

// viewOf returns the view of a table of the version with the id, which may be zero, and a state that was judged before the table was read.
func (l *lookups) viewOf(t *table.Table, id dataset.VersionID, state []string) view {
	if n := l.last.Load(); n != nil && n.id == id && n.table.Value() == t {
		return view{t, n, state}
	}
	n := &versionHeaders{table: weak.Make(t), version: []string{strconv.FormatUint(t.Version(), 10)}, id: id}
	if !id.IsZero() {
		n.idText = []string{id.String()}
	}
	l.last.Store(n)
	return view{t, n, state}
}

// set sets the headers in h that name the version and the state of the dataset.
func (v view) set(h http.Header) {
	h[versionHeader] = v.version
	if v.idText != nil {
		h[idHeader] = v.idText
	}
	h[stateHeader] = v.state
}

// unknownDataset returns the problem of a dataset that the instance does not have.
func (s *Server) unknownDataset(name string) error {
	return web.Refuse(http.StatusNotFound, "unknown-dataset", "this instance does not have dataset %.80q; it has %s; FRESHET_DATASETS lists its datasets",
		name, strings.Join(s.deps.Source.Datasets(), ", ")).With("dataset", name)
}

// view returns the served version of the request's dataset, of at least the version that the request names. Its error is the problem to answer
// with.
func (s *Server) view(r *http.Request) (view, error) {
	name := r.PathValue("name")
	l, ok := s.datasets[name]
	if !ok {
		return view{}, s.unknownDataset(name)
	}
	token, wait, err := s.wanted(r)
	if err != nil {
		return view{}, err
	}
	var v view
	if token == "" {
		v, ok = l.now()
	} else {
		if v, err = s.waitAtLeast(r.Context(), l, name, token, wait); err != nil {
			return view{}, err
		}
		ok = v.Table != nil
	}
	if !ok || v.Len() == 0 {
		if rec, deleted := l.dataset.Deleted(); deleted && (!ok || rec.Dropped) {
			return view{}, l.decorate(web.Refuse(http.StatusNotFound, "deleted", "dataset %s is %s, and this instance has no records of it", name, rec.DeletedText()), name).
				With("version", rec.Version)
		}
	}
	if !ok {
		return view{}, l.decorate(web.Unavailable("no-version-yet", 2, nil, "no version of dataset %s is served here yet; /v1/status says why", name), name)
	}
	return v, nil
}

// Values of headers, shared by all responses.
var (
	typeJSON   = []string{"application/json"}
	typeBytes  = []string{"application/octet-stream"}
	revalidate = []string{"no-cache"} // caches may store a value and must revalidate it with its ETag
)

// implicitLength is the longest body for which net/http sets Content-Length without help.
const implicitLength = 2048

// record answers GET and HEAD of a record.
func (s *Server) record(w http.ResponseWriter, r *http.Request) error {
	if err := lookupQuery(r); err != nil {
		return err
	}
	v, err := s.view(r)
	if err != nil {
		return err
	}
	h := w.Header()
	v.set(h)
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
	_, _ = w.Write(value) // it fails only when the client has left
	return nil
}

// lookupQuery refuses the parameters of a query that no lookup has.
func lookupQuery(r *http.Request) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	_, err := web.Query(r, atLeastParameter, waitParameter)
	return err
}

// noRecord returns the problem of a key without a record: a bad key or an unknown one.
func noRecord(v view, name, key string) error {
	if err := dataset.CheckKey([]byte(key)); err != nil {
		return web.Refuse(http.StatusBadRequest, "bad-key", "%v", err).With("dataset", name)
	}
	return web.Refuse(http.StatusNotFound, "unknown-key", "version %d of dataset %s has no record with the key %q", v.Version(), name, key).
		With("dataset", name).With("key", key).With("version", v.Version())
}

// etag returns a strong entity tag of the value, without the version. A copy therefore stays valid until a version changes the
// value.
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

// contentType decides by the first and the last byte: values published as text are JSON objects without blanks around them. To parse
// each value would cost more than its lookup.
func contentType(value []byte) []string {
	if n := len(value); n > 1 && value[0] == '{' && value[n-1] == '}' {
		return typeJSON
	}
	return typeBytes
}
