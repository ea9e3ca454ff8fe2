package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"freshet.dev/pkg/index"
	"freshet.dev/pkg/nearest"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/server/internal/jsonrecord"
)

const (
	// findLimit is how many records a page has if the request does not say.
	findLimit = 100
	// findReads is how many records a page reads, at a microsecond each, to check further conditions.
	findReads = 2000
)

// Parameters that are no conditions.
const (
	paramLimit  = "limit"
	paramCursor = "cursor"
	paramIP     = "ip" // for the only index of addresses
)

// noConditions are the parameters that stand for no index, also if there is one with the name: its condition is NAME.eq.
var noConditions = []string{paramLimit, paramCursor, atLeastParameter, waitParameter}

// operators are the endings of parameters that are conditions.
var operators = []string{".eq", ".prefix", ".min", ".max", ".ip"}

// find answers GET /v1/datasets/{name}/records: the records that meet conditions, from secondary indexes.
func (s *Server) find(w http.ResponseWriter, r *http.Request) error {
	name, began := r.PathValue("name"), time.Now()
	v, err := s.view(r)
	if err != nil {
		return err
	}
	q, err := s.findQuery(r, name)
	if err != nil {
		return err
	}
	set, err := s.indexesOf(r, name, began)
	if err != nil {
		return err
	}
	matches, err := set.FindAfter(q.cursor, q.conditions...)
	switch {
	case errors.Is(err, index.ErrCursor):
		return web.Refuse(http.StatusBadRequest, "bad-cursor", "the cursor is not of this lookup; begin again without it, and repeat the other parameters with each cursor")
	case err != nil:
		return s.refuseIndex(name, "wrong-index", "%v", err)
	}
	page, cursor := matches.Page(index.Limits{Records: q.limit, Bytes: int(s.cfg.BatchBytes), Reads: findReads})
	body, err := encodePage(name, set, page, cursor)
	if err != nil {
		return err
	}
	h := w.Header()
	h[stateHeader] = v.state
	h.Set(versionHeader, strconv.FormatUint(set.Table().Version(), 10))
	if id := set.ID(); !id.IsZero() {
		h.Set(idHeader, id.String())
	}
	h["Content-Type"] = typeJSON
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // it fails only when the client has left
	return nil
}

// indexesOf returns the dataset's indexes, of at least the version that the request names. They may be a little older than the table, so that
// this may wait although the view did not. The wait of both together, since began, is bounded.
func (s *Server) indexesOf(r *http.Request, name string, began time.Time) (set *index.Set, err error) {
	l := s.datasets[name]
	token, wait, err := s.wanted(r)
	switch {
	case err != nil:
		return nil, err
	case token == "":
		set = l.dataset.Indexes()
	default:
		want, err := parseToken(name, token)
		if err != nil {
			return nil, err
		}
		err = s.wait(r.Context(), l, name, max(0, wait-time.Since(began)), func(ctx context.Context) (err error) {
			set, err = l.dataset.IndexesAtLeast(ctx, want)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if set == nil {
		return nil, web.Unavailable("indexes-building", 2, nil, "the indexes of dataset %s are being built for the first time; /v1/status has them", name).With("dataset", name)
	}
	return set, nil
}

// refuseIndex returns a problem that names the dataset's indexes.
func (s *Server) refuseIndex(name, kind, format string, args ...any) error {
	texts := []string{}
	for _, spec := range s.indexes[name] {
		texts = append(texts, spec.String())
	}
	has := "dataset " + name + " has the indexes " + strings.Join(texts, ", ")
	if len(texts) == 0 {
		has = "dataset " + name + " has no index"
	}
	return web.Refuse(http.StatusBadRequest, kind, "%s; %s; FRESHET_INDEXES=%s:MEMBER declares one, MEMBER^ for ranges and prefixes, MEMBER/ip for addresses",
		fmt.Sprintf(format, args...), has, name).With("dataset", name).With("indexes", texts)
}

// findQuery is what a request looks for.
type findQuery struct {
	conditions []index.Condition
	limit      int
	cursor     string
}

// findQuery parses the parameters. The error is a problem.
func (s *Server) findQuery(r *http.Request, name string) (findQuery, error) {
	var q findQuery
	values, err := web.Query(r, slices.Collect(keysOf(r.URL.RawQuery))...)
	if err != nil {
		return q, err
	}
	q.limit, q.cursor = min(findLimit, s.cfg.BatchKeys), values.Get(paramCursor)
	if values.Has(paramLimit) {
		if q.limit, err = strconv.Atoi(values.Get(paramLimit)); err != nil || q.limit < 1 || q.limit > s.cfg.BatchKeys {
			return q, web.Refuse(http.StatusBadRequest, "bad-parameter", "limit is %.40q; want 1 to %d", values.Get(paramLimit), s.cfg.BatchKeys)
		}
	}
	params := make([]string, 0, len(values))
	for param := range values {
		if !slices.Contains(noConditions, param) {
			params = append(params, param)
		}
	}
	slices.Sort(params) // so that pages of the same lookup have the same conditions
	for _, param := range params {
		spec, op, err := s.indexFor(name, param)
		if err != nil {
			return q, err
		}
		if op == ".max" && values.Has(spec.Name()+".min") {
			continue // together with the minimum
		}
		c, err := condition(spec, op, param, values)
		if err != nil {
			return q, err
		}
		q.conditions = append(q.conditions, c)
	}
	if len(q.conditions) == 0 {
		return q, s.refuseIndex(name, "no-condition", "the request has no condition, such as country=KR, name.prefix=Se, pop.min=1000 or ip=203.0.113.7")
	}
	return q, nil
}

// keysOf returns an iterator over the names of the parameters in a query. It leaves out those that [web.Query] refuses.
func keysOf(query string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for pair := range strings.SplitSeq(query, "&") {
			escaped, _, _ := strings.Cut(pair, "=")
			if name, err := url.QueryUnescape(escaped); err == nil && name != "" && !yield(name) {
				return
			}
		}
	}
}

// indexFor returns the index that a parameter names, and the operator at its end, or ".eq" or ".ip" if it has none.
func (s *Server) indexFor(name, param string) (index.Spec, string, error) {
	specs := s.indexes[name]
	named := func(member string) int {
		return slices.IndexFunc(specs, func(spec index.Spec) bool { return spec.Name() == member })
	}
	if i := named(param); i >= 0 {
		if specs[i].Kind >= index.Network {
			return specs[i], ".ip", nil
		}
		return specs[i], ".eq", nil
	}
	meant := param
	for _, op := range operators {
		if member, ok := strings.CutSuffix(param, op); ok {
			if i := named(member); i >= 0 {
				return specs[i], op, nil
			}
			meant = member
		}
	}
	if param != paramIP {
		known := append([]string{paramIP}, noConditions...)
		for _, spec := range specs {
			known = append(known, spec.Name())
		}
		slices.Sort(known)
		return index.Spec{}, "", s.refuseIndex(name, "no-index", "there is no index for the parameter %.80q%s", param, nearest.Hint(meant, slices.Compact(known)))
	}
	var ofAddresses []index.Spec
	for _, spec := range specs {
		if spec.Kind >= index.Network {
			ofAddresses = append(ofAddresses, spec)
		}
	}
	switch len(ofAddresses) {
	case 0:
		return index.Spec{}, "", s.refuseIndex(name, "no-index", "there is no index of addresses for the parameter ip")
	case 1:
		return ofAddresses[0], ".ip", nil
	}
	return index.Spec{}, "", s.refuseIndex(name, "no-index", "there are several indexes of addresses; name one, as in %s.ip=...", ofAddresses[0].Name())
}

// condition returns the condition of a parameter.
func condition(spec index.Spec, op, param string, values url.Values) (index.Condition, error) {
	name, text := spec.Name(), values.Get(param)
	switch op {
	case ".ip":
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return index.Condition{}, web.Refuse(http.StatusBadRequest, "bad-parameter", "%s is %.60q; want an IP address", param, text)
		}
		return index.Around(name, addr), nil
	case ".prefix":
		return index.Prefix(name, text), nil
	case ".eq":
		return index.Equal(name, index.AnyOf(text)...), nil
	}
	var least, most []index.Value
	if values.Has(name + ".min") {
		least = index.AnyOf(values.Get(name + ".min"))
	}
	if values.Has(name + ".max") {
		most = index.AnyOf(values.Get(name + ".max"))
	}
	return index.Between(name, least, most), nil
}

// encodePage returns the answer. Values are as in a batchGet.
func encodePage(name string, set *index.Set, page []index.Match, cursor string) ([]byte, error) {
	size := 200 + len(cursor)
	for _, m := range page {
		size += len(m.Key) + len(m.Value) + 30
	}
	body := fmt.Appendf(make([]byte, 0, size), `{"dataset":%q,"version":%d`, name, set.Table().Version())
	if id := set.ID(); !id.IsZero() {
		body = fmt.Appendf(body, `,"id":%q`, id.String())
	}
	body = append(body, `,"records":[`...)
	for i, m := range page {
		if i > 0 {
			body = append(body, ',')
		}
		body = jsonrecord.AppendKey(append(body, '{'), m.Key)
		body = append(jsonrecord.AppendValue(append(body, ','), m.Value), '}')
	}
	body = append(body, ']')
	if cursor != "" {
		body = fmt.Appendf(body, `,"cursor":%q`, cursor) // base64
	}
	return append(body, "}\n"...), nil
}

// indexing returns the datasets whose first indexes are being built.
func (s *Server) indexing() (names []string) {
	for _, name := range s.deps.Source.Datasets() {
		if d := s.datasets[name].dataset; len(s.indexes[name]) > 0 && d.Table() != nil && d.Indexes() == nil {
			names = append(names, name)
		}
	}
	return names
}
