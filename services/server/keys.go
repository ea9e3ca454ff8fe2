package server

import (
	"net/http"
	"net/url"
	"strings"
)

// keepKeys passes unescaped keys such as "a//b", "/" or ".." to their route. Without it http.ServeMux cleans the path and
// redirects to another key. keepKeys escapes the text after records/ into one segment, which the route's {key...} unescapes.
func keepKeys(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		if at := keyOffset(path); at > 0 && unclean(path[at-1:]) {
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

// keyOffset returns the offset of the key in a path /v1/datasets/{name}/records/{key}, and 0 for other paths.
func keyOffset(path string) int {
	const before, after = "/v1/datasets/", "/records/"
	rest, ok := strings.CutPrefix(path, before)
	if !ok {
		return 0
	}
	name := strings.IndexByte(rest, '/')
	if name <= 0 || !strings.HasPrefix(rest[name:], after) {
		return 0
	}
	return len(before) + name + len(after)
}

// unclean reports whether http.ServeMux would clean the path. The path begins with a slash.
func unclean(path string) bool {
	return strings.Contains(path, "//") || strings.Contains(path, "/./") || strings.Contains(path, "/../") ||
		strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..")
}
