package web

import (
	"net/http"
	"net/url"
	"strings"
)

// KeepKeys passes unescaped keys such as "a//b", "/" or ".." to their route. Without it http.ServeMux cleans the path and
// redirects to another key. KeepKeys escapes the text after records/ or history/ into one segment, which the route's {key...} unescapes.
func KeepKeys(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		if at := keyOffset(path); at > 0 && cleaned(path[at-1:]) {
			if key, err := url.PathUnescape(path[at:]); err == nil {
				escaped := url.PathEscape(key)
				if key == "." || key == ".." {
					escaped = strings.ReplaceAll(key, ".", "%2E")
				}
				u := *r.URL
				u.RawPath = path[:at] + escaped
				clone := *r
				clone.URL = &u
				r = &clone
			}
		}
		next.ServeHTTP(w, r)
	})
}

// keyOffset returns the offset of the key in a path /v1/datasets/{name}/records/{key} or /v1/datasets/{name}/history/{key}, and 0 for
// other paths.
func keyOffset(path string) int {
	const before = "/v1/datasets/"
	rest, ok := strings.CutPrefix(path, before)
	if !ok {
		return 0
	}
	name := strings.IndexByte(rest, '/')
	if name <= 0 {
		return 0
	}
	for _, after := range []string{"/records/", "/history/"} {
		if strings.HasPrefix(rest[name:], after) {
			return len(before) + name + len(after)
		}
	}
	return 0
}

// cleaned reports whether http.ServeMux would clean the path. The path begins with a slash.
func cleaned(path string) bool {
	return strings.Contains(path, "//") || strings.Contains(path, "/./") || strings.Contains(path, "/../") ||
		strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..")
}
