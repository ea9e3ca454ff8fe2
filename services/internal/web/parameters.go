package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"freshet.dev/pkg/nearest"
)

// Query returns the parameters of the request's URL. It refuses unknown, duplicate and malformed parameters. A name that ends with a
// star, such as "label*", may be repeated. The error is a *Problem.
func Query(r *http.Request, names ...string) (url.Values, error) {
	values := make(url.Values)
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if pair == "" {
			continue
		}
		escaped, text, _ := strings.Cut(pair, "=")
		if strings.Contains(pair, ";") {
			return nil, badParameter("the parameter %.40q contains a semicolon; separate parameters with &, or write it as %%3B", escaped)
		}
		name, err := url.QueryUnescape(escaped)
		if err != nil {
			return nil, badParameter("the name of the parameter %.40q cannot be read: %v", escaped, err)
		}
		value, err := url.QueryUnescape(text)
		if err != nil {
			return nil, badParameter("the value of the parameter %.40q cannot be read: %v", name, err)
		}
		many := slices.Contains(names, name+"*")
		if one := !strings.HasSuffix(name, "*") && slices.Contains(names, name); !many && !one {
			if len(names) == 0 {
				return nil, badParameter("there is no parameter %.40q; send the request without parameters", name)
			}
			return nil, badParameter("there is no parameter %.40q%s; use %s", name, nearest.Hint(name, plain(names)), enumerate(names))
		}
		if values.Has(name) && !many {
			return nil, badParameter("the parameter %s comes twice; it takes one value", name)
		}
		values.Add(name, value)
	}
	return values, nil
}

// OneHeader returns the value of a header that takes one value, "" if the request does not have it. It refuses a repeated header. The
// error is a *Problem.
func OneHeader(r *http.Request, name string) (string, error) {
	if len(r.Header.Values(name)) > 1 {
		return "", Refuse(http.StatusBadRequest, "bad-header", "the header %s comes twice; it takes one value", name)
	}
	return r.Header.Get(name), nil
}

func badParameter(format string, args ...any) *Problem {
	return Refuse(http.StatusBadRequest, "bad-parameter", format, args...)
}

// plain returns the names without their stars.
func plain(names []string) (without []string) {
	for _, name := range names {
		without = append(without, strings.TrimSuffix(name, "*"))
	}
	return without
}

// enumerate returns the names as a list in a sentence: "a, b and c".
func enumerate(names []string) string {
	text := strings.Join(plain(names), ", ")
	if last := strings.LastIndex(text, ", "); last >= 0 {
		return text[:last] + " and" + text[last+1:]
	}
	return text
}
