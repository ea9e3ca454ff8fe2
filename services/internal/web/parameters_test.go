package web_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"freshet.dev/services/internal/web"
)

func TestQuery(t *testing.T) {
	for query, want := range map[string]string{
		"":                        "",
		"limit=5&before=3":        "",
		"&limit=5&":               "",
		"limit=a%3Bb":             "",
		"label=a%3D1&label=b":     "",
		"before":                  "",
		"limt=5":                  `no parameter "limt" (did you mean limit?); use limit, before and label`,
		"=5":                      `no parameter ""`,
		"limit=5&limit=5":         "the parameter limit comes twice",
		"limit=5&%6cimit=6":       "the parameter limit comes twice",
		"limit=5;before=3":        `the parameter "limit" contains a semicolon; separate parameters with &, or write it as %3B`,
		"before=%zz":              `the value of the parameter "before" cannot be read: invalid URL escape "%zz"`,
		"limit=5&be%fore=1":       `the name of the parameter "be%fore" cannot be read`,
		"label*=5":                `no parameter "label*"`,
		"Limit=5":                 `no parameter "Limit"`,
		strings.Repeat("x", 9000): `xxx"; use`,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = query
		values, err := web.Query(r, "limit", "before", "label*")
		if want == "" {
			if all := r.URL.Query(); err != nil || !reflect.DeepEqual(values, all) {
				t.Errorf("%q: %v, %v; want %v", query, values, err, all)
			}
			continue
		}
		var p *web.Problem
		if !errors.As(err, &p) || p.Status != http.StatusBadRequest || p.Kind != "bad-parameter" || !strings.Contains(p.Detail, want) || len(p.Detail) > 200 {
			t.Errorf("%.50q: %v, want %q", query, err, want)
		}
	}
}

func TestQueryWithoutParameters(t *testing.T) {
	r := httptest.NewRequest("GET", "/?x=1", nil)
	var p *web.Problem
	if _, err := web.Query(r); !errors.As(err, &p) || p.Detail != `there is no parameter "x"; send the request without parameters` {
		t.Errorf("%v", err)
	}
}

func TestOneHeader(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	if value, err := web.OneHeader(r, "Content-Type"); value != "" || err != nil {
		t.Errorf("%q, %v", value, err)
	}
	r.Header.Add("Content-Type", "text/csv")
	if value, err := web.OneHeader(r, "Content-Type"); value != "text/csv" || err != nil {
		t.Errorf("%q, %v", value, err)
	}
	r.Header.Add("Content-Type", "text/csv")
	if value, err := web.OneHeader(r, "Content-Type"); value != "" || err == nil || !strings.Contains(err.Error(), "400 bad-header: the header Content-Type comes twice") {
		t.Errorf("%q, %v", value, err)
	}
}
