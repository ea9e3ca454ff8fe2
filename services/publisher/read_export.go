package publisher

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/ndjson"
	"freshet.dev/services/internal/web"
)

// The forms of an export.
const (
	// FormPublish is that of a publish: a line is the value of a record.
	FormPublish = "publish"
	// FormEntries is that of any record: a line is an object with key and value.
	FormEntries = "entries"
)

// The trailers of an export.
const (
	// KeyMemberTrailer names the members that make the key of all lines of an export in FormPublish, each percent-encoded, with commas between.
	KeyMemberTrailer = "Freshet-Key-Member"
	// RecordsTrailer is the number of lines.
	RecordsTrailer = "Freshet-Records"
)

// IncompleteLine is the beginning of the last line of an export in FormPublish that failed after a part was sent. It is no JSON, so that
// a publish refuses the part.
const IncompleteLine = "freshet: this export is incomplete: "

// lineFunc appends the line of a record.
type lineFunc func(dst []byte, r dataset.Record) ([]byte, error)

// readExport answers GET /v1/datasets/{name}/records:export.
func (p *Publisher) readExport(r *http.Request, name string) (answerFunc, error) {
	query, err := web.Query(r, "version", "form", "key*")
	if err != nil {
		return nil, err
	}
	version, err := number(query, "version", 0)
	if err != nil {
		return nil, err
	}
	form, key := query.Get("form"), query["key"]
	switch {
	case form != "" && form != FormPublish && form != FormEntries:
		return nil, web.Refuse(http.StatusBadRequest, "bad-parameter", "form is %.40q; want %s or %s", form, FormPublish, FormEntries)
	case form == FormEntries && key != nil:
		return nil, web.Refuse(http.StatusBadRequest, "bad-parameter", "key is for the form %s; leave it out", FormPublish)
	}
	return func(ctx context.Context, w http.ResponseWriter) error {
		if form == FormEntries {
			return p.export(ctx, w, name, version, appendEntry, problemLine, func() []string { return nil })
		}
		rules, err := p.exportRules(ctx, name, key)
		if err != nil {
			return err
		}
		encoder := ndjson.NewEncoder(rules)
		return p.export(ctx, w, name, version, encoder.Append, incompleteLine, encoder.Key)
	}, nil
}

// exportRules returns the rules of a publish of the lines: those of the dataset, with the key that the request names if it names one.
func (p *Publisher) exportRules(ctx context.Context, name string, key []string) (dataset.InputRules, error) {
	if err := dataset.CheckKeyMembers(key); err != nil {
		return dataset.InputRules{}, web.Refuse(http.StatusBadRequest, "bad-parameter", "key: %v", err)
	}
	current, err := p.journal.Settings(ctx, name)
	if err != nil {
		return dataset.InputRules{}, storeProblem(name, err)
	}
	rules := current.Settings.Input
	if len(key) > 0 {
		rules.Key = key
	}
	return rules, nil
}

// export sends a line for each record of a version.
func (p *Publisher) export(ctx context.Context, w http.ResponseWriter, name string, version uint64, line lineFunc, last func(*web.Problem) []byte, key func() []string) error {
	v, err := p.history.Open(ctx, name, version)
	if err != nil {
		return err
	}
	setVersion(w, v.Record())
	w.Header().Set("Trailer", KeyMemberTrailer+", "+RecordsTrailer)
	s := newStream(w)
	records := 0
	for r, failed := range v.Records(ctx, nil) {
		if err = failed; err == nil {
			s.buf, err = line(s.buf, r)
		}
		if err == nil {
			err = s.advance()
		}
		if err != nil {
			break
		}
		records++
	}
	if refused, ok := errors.AsType[*ndjson.RecordError](err); ok {
		err = web.Refuse(http.StatusNotAcceptable, "record-not-writable",
			"%v; the form %s (freshet export --output json) has every record, as other lines; a key in another member needs the parameter key (--key)", refused, FormEntries).
			With("dataset", name).With("key", string(refused.Key))
	}
	if err = s.end(p.readProblem(ctx, name, err), last); err != nil {
		w.Header().Del("Trailer")
		return err
	}
	if members := key(); len(members) > 0 {
		escaped := make([]string, len(members))
		for i, m := range members {
			escaped[i] = url.PathEscape(m)
		}
		w.Header().Set(KeyMemberTrailer, strings.Join(escaped, ","))
	}
	w.Header().Set(RecordsTrailer, strconv.Itoa(records))
	return nil
}

// appendEntry appends the line of a record in FormEntries.
func appendEntry(dst []byte, r dataset.Record) ([]byte, error) {
	dst = AppendKey(append(dst, '{'), r.Key)
	dst = AppendValue(append(dst, ','), "value", r.Value)
	return append(dst, "}\n"...), nil
}

func incompleteLine(problem *web.Problem) []byte {
	return []byte(IncompleteLine + strings.ReplaceAll(problem.Detail, "\n", " ") + "\n")
}
