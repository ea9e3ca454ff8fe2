package scan_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/scan"
)

var cities = map[string]string{
	"kr/seoul":  `{"name":"Seoul","country":"KR","pop":9776000,"area":605.2,"tags":["capital","river"],"geo":{"lat":37.56,"alt":38}}`,
	"kr/busan":  `{"name":"Busan","country":"KR","pop":3429000,"area":770,"tags":["port"],"geo":{"lat":35.17,"alt":69}}`,
	"ch/zurich": `{"name":"Zürich \"ZH\"","country":"CH","pop":402762,"area":87.88,"tags":[],"geo":{"lat":47.37}}`,
	"ch/berne":  `{"name":"Berne","country":"CH","pop":133883,"area":51.62,"tags":["capital"],"note":null,"big":12345678901234567890}`,
	"xx/empty":  `{}`,
	"xx/text":   "no JSON",
}

// Each request has the rows, sorted, and the number of records with an error.
func TestRequests(t *testing.T) {
	tab := tableOf(t, cities)
	for _, c := range []struct {
		request string
		rows    []string
		errors  int64
	}{
		{`{"filter":"value.country == 'KR'","select":["name"]}`, []string{`{"key":"kr/busan","value":{"name":"Busan"}}`, `{"key":"kr/seoul","value":{"name":"Seoul"}}`}, 2},
		{`{"filter":"value.country == 'KR' && value.pop > 5000000","select":{"n":"value.name","millions":"double(value.pop) / 1e6"}}`, []string{`{"key":"kr/seoul","value":{"millions":9.776,"n":"Seoul"}}`}, 2},
		{`{"filter":"has(value.note)","select":["note","name","geo.alt","big"]}`, []string{`{"key":"ch/berne","value":{"note":null,"name":"Berne","big":12345678901234567890}}`}, 0},
		{`{"filter":"value.?geo.?alt.orValue(0) > 50","select":["geo.alt"]}`, []string{`{"key":"kr/busan","value":{"geo.alt":69}}`}, 0},
		{`{"filter":"'capital' in value.tags && value.area < 700","select":["area"]}`, []string{`{"key":"ch/berne","value":{"area":51.62}}`, `{"key":"kr/seoul","value":{"area":605.2}}`}, 2},
		{`{"filter":"key.startsWith('ch/') && value.tags.size() == 0","select":{"z":"value.tags","k":"key","a":"value.?none"}}`, []string{`{"key":"ch/zurich","value":{"k":"ch/zurich","z":[]}}`}, 0},
		{`{"prefix":"xx/"}`, []string{`{"key":"xx/empty","value":{}}`, `{"key":"xx/text","value_text":"no JSON"}`}, 0},
		{`{"prefix":"ch/z","select":{"name":"value.name","geo":"value.geo","made":"{'x':[1,2.5,true,null,'a\"'], 'b':{2:b'a'}}"}}`, []string{`{"key":"ch/zurich","value":{"geo":{"lat":47.37},"made":{"b":{"2":"YQ=="},"x":[1,2.5,true,null,"a\""]},"name":"Zürich \"ZH\""}}`}, 0},
		{`{"filter":"value.tags.exists(t, t.matches('^ri.*r$'))","select":["name"]}`, []string{`{"key":"kr/seoul","value":{"name":"Seoul"}}`}, 2},
		{`{"filter":"value.exists(name, name == 'note')","select":{"n":"size(value)"}}`, []string{`{"key":"ch/berne","value":{"n":7}}`}, 0},
		{`{"filter":"value.big == 12345678901234567890u","select":["name"]}`, []string{`{"key":"ch/berne","value":{"name":"Berne"}}`}, 5},
		{`{"filter":"value['na' + 'me'] == 'Seoul'","select":{}}`, []string{`{"key":"kr/seoul","value":` + cities["kr/seoul"] + `}`}, 2},
		{`{"filter":"value == value && value.tags == value.tags","select":["name"],"prefix":"kr/s"}`, []string{`{"key":"kr/seoul","value":{"name":"Seoul"}}`}, 0},
		{`{"filter":"value.pop","prefix":"kr"}`, nil, 2},
		{`{"filter":"value.name > 3","prefix":"kr"}`, nil, 2},
		{`{"select":{"x":"1.0 / 0.0"},"prefix":"kr/s"}`, nil, 1},
		{`{"select":{"x":"type(1)"},"prefix":"kr/s"}`, nil, 1},

		{`{"aggregate":{"n":"count()"}}`, []string{`{"n":6}`}, 0},
		{`{"aggregate":{"n":"count()","pop":"sum(value.pop)","a":"avg( value.area )","first":"min(value.name)","last":"max(value.name)","most":"max(value.pop)","c":"count_distinct(value.country)"}}`, []string{`{"a":378.675,"c":2,"first":"Berne","last":"Zürich \"ZH\"","most":9776000,"n":4,"pop":13741645}`}, 2},
		{`{"group_by":{"country":"value.?country"},"aggregate":{"n":"count()","pop":"sum(value.?pop)","x":"max(value.?none)","alt":"avg(value.?geo.?alt)"}}`, []string{
			`{"country":"CH","alt":null,"n":2,"pop":536645,"x":null}`, `{"country":"KR","alt":53.5,"n":2,"pop":13205000,"x":null}`, `{"country":null,"alt":null,"n":2,"pop":0,"x":null}`,
		}, 0},
		{`{"filter":"false","aggregate":{"n":"count()","s":"sum(value.x)","m":"min(value.x)"}}`, []string{`{"m":null,"n":0,"s":0}`}, 0},
		{`{"filter":"false","group_by":{"c":"value.country"}}`, nil, 0},
		{`{"group_by":{"c":"value.country"},"order":["-c"],"limit":1}`, []string{`{"c":"KR"}`}, 2},
		{`{"aggregate":{"s":"sum(value.name)","n":"count()"}}`, []string{`{"n":0,"s":0}`}, 6},
		{`{"aggregate":{"s":"sum(value.pop)","n":"count()"},"prefix":"xx"}`, []string{`{"n":0,"s":0}`}, 2},
	} {
		got := run(t, tab, request(t, c.request))
		if !slices.Equal(got.sorted(), c.rows) || got.Errors != c.errors {
			t.Errorf("%s\nrows %s\nwant %s\nerrors %d, want %d (%+v)", c.request, strings.Join(got.sorted(), "\n     "), strings.Join(c.rows, "\n     "), got.Errors, c.errors, got.FirstError)
		}
	}
}

func TestSummary(t *testing.T) {
	tab := tableOf(t, cities)
	got := run(t, tab, request(t, `{"filter":"value.country == 'KR'"}`))
	if !got.End || got.Version != 12 || got.ID.IsZero() || got.Scanned != 6 || got.Matched != 2 || got.Rows != 2 || got.Stopped != "" || got.Cursor != "" {
		t.Errorf("%+v", got.Summary)
	}
	if e := got.FirstError; e == nil || !strings.HasPrefix(e.Key, "xx/") || e.Member != "filter" || e.Reason != "no such key: country" {
		t.Errorf("%+v", e)
	}
	got = run(t, tab, request(t, `{"group_by":{"x":"value.country"},"aggregate":{"m":"min(has(value.big) ? value.name : value.pop)"},"prefix":"ch"}`))
	if e := got.FirstError; got.Errors != 1 || e.Member != "aggregate.m" || !strings.HasPrefix(e.Reason, "min of a ") {
		t.Errorf("%+v", e)
	}
	got = run(t, tableOf(t, map[string]string{"\xff": `{}`}), request(t, `{"select":{"x":"value.y"}}`))
	if e := got.FirstError; e.KeyBase64 != "/w==" || e.Key != "" || e.Member != "select.x" {
		t.Errorf("%+v", e)
	}
}

// A number that is NaN is an error of its record, and does not spoil the others.
func TestNaN(t *testing.T) {
	tab := tableOf(t, map[string]string{"a": `{"n":"NaN"}`, "b": `{"n":"1"}`, "c": `{"n":"NaN"}`, "d": `{"n":"3"}`})
	for _, kind := range []string{"min", "max", "sum", "avg"} {
		got := run(t, tab, scan.Request{Aggregate: map[string]string{"x": kind + "(double(value.n))"}})
		if want := map[string]string{"min": `{"x":1}`, "max": `{"x":3}`, "sum": `{"x":4}`, "avg": `{"x":2}`}[kind]; got.rows[0] != want || got.Errors != 2 {
			t.Errorf("%s: %q %+v %+v", kind, got.rows, got.Summary, got.FirstError)
		}
	}
}

// Sums are exact as long as an int64 can hold them.
func TestNumbers(t *testing.T) {
	tab := tableOf(t, map[string]string{"a": `{"n":9223372036854775806,"x":1}`, "b": `{"n":1,"x":1.0}`, "c": `{"n":0,"x":1e0}`, "d": `{"n":-0,"x":2.5}`})
	got := run(t, tab, request(t, `{"group_by":{"x":"value.x"},"aggregate":{"n":"sum(value.n)"}}`))
	if want := []string{`{"x":1,"n":9223372036854775807}`, `{"x":2.5,"n":0}`}; !slices.Equal(got.rows, want) {
		t.Errorf("%q", got.rows)
	}
	got = run(t, tab, request(t, `{"aggregate":{"n":"sum(value.n + 0)","twice":"sum([value.n, 5][has(value.none) ? 1 : 0] / 1)","f":"sum(double(value.n) * 4.0)","x":"sum(value.x)"}}`))
	if want := []string{`{"f":36893488147419103000,"n":9223372036854775807,"twice":9223372036854775807,"x":5.5}`}; !slices.Equal(got.rows, want) {
		t.Errorf("%q", got.rows)
	}
	tab = tableOf(t, map[string]string{"a": `{"n":9223372036854775806}`, "b": `{"n":9223372036854775806}`, "c": `{"n":18446744073709551615}`})
	got = run(t, tab, request(t, `{"aggregate":{"n":"sum(value.n)","m":"max(value.n)"}}`))
	if want := []string{`{"m":18446744073709551615,"n":36893488147419103000}`}; !slices.Equal(got.rows, want) {
		t.Errorf("%q", got.rows)
	}
}

func TestWrongRequests(t *testing.T) {
	for text, want := range map[string]string{
		`{"filter":"value.country ==="}`:                                               "filter, line 1, column 17: Syntax error",
		`{"filter":"true &&\n  valu.x"}`:                                               "filter, line 2, column 3: undeclared reference to 'valu'",
		`{"filter":"value.n + 'a' == 'xa'"}`:                                           "",
		`{"filter":"size(key)"}`:                                                       "filter: the expression gives a int; want a bool",
		`{"filter":"key.matches(value.p)"}`:                                            "filter: the pattern of matches is not a constant",
		`{"filter":"matches(key, '(a{20}){30}')"}`:                                     "filter: the regular expression \"(a{20}){30}\" has",
		`{"filter":"key.matches('(')"}`:                                                "filter: error parsing regexp: missing closing ): `(`",
		`{"select":{"a":"value.b","c":"key +"}}`:                                       "select.c, line 1, column 6: Syntax error",
		`{"select":["a","a"]}`:                                                         `select: the member "a" comes twice`,
		`{"select":["a..b"]}`:                                                          "select: not the path of a member",
		`{"select":["a"],"aggregate":{"n":"count()"}}`:                                 "select: rows of groups have",
		`{"group_by":{"n":"value.n"},"aggregate":{"n":"count()"}}`:                     "aggregate.n: group_by has the name too",
		`{"aggregate":{"n":"count(value.x)"}}`:                                         "aggregate.n: count() counts records",
		`{"group_by":{"end":"true"}}`:                                                  "group_by.end: the name is that of the last line",
		`{"aggregate":{"end":"count()"}}`:                                              "aggregate.end: the name is that of the last line",
		`{"aggregate":{"n":"sum()"}}`:                                                  "aggregate.n: sum needs an expression, such as sum(value.n)",
		`{"aggregate":{"n":"median(value.x)"}}`:                                        `aggregate.n: there is no aggregate "median"; want count()`,
		`{"aggregate":{"n":"value.x"}}`:                                                `aggregate.n: "value.x" is no aggregate; want count()`,
		`{"aggregate":{"n":"sum(value.x) + sum(value.y)"}}`:                            "aggregate.n, line 1, column 12: Syntax error",
		`{"aggregate":{"n":"count()"},"order":["x"]}`:                                  `order: "x" is no member of the rows; they have n`,
		`{"order":["x"]}`:                                                              "order: only groups are sorted",
		`{"limit":-1}`:                                                                 "limit: it is -1",
		`{"cursor":"x"}`:                                                               `cursor: "x" is no cursor of an earlier scan`,
		`{"cursor":"AQwAAAAAAAAAAGE","aggregate":{"n":"count()"}}`:                     "cursor: a cursor is for rows of records",
		`{"filter":"` + strings.Repeat("x", scan.MaxExpression+1) + `"}`:               "filter: the expression has 4097 characters, the most is 4096",
		`{"filter":"` + strings.Repeat("(", 300) + strings.Repeat(")", 300) + `"}`:     "filter",
		`{"filter":"true","select":{"` + strings.Repeat("n", scan.MaxText) + `":"1"}}`: "the request: its expressions and names have 8197 bytes, the most is 8192",
		`{"order":["` + strings.Repeat(`a","`, scan.MaxExpressions) + `b"]}`:           "the request: it has 65 expressions and names, the most is 64",
	} {
		_, err := scan.Compile(t.Context(), request(t, text), scan.Limits{})
		var bad *scan.RequestError
		switch {
		case want == "" && err != nil:
			t.Errorf("%.100s: %v", text, err)
		case want != "" && (!errors.As(err, &bad) || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%.100s: %v, want %s", text, err, want)
		}
	}
}
