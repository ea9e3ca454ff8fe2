package server

import (
	"net/http"
	"net/url"
	"strings"
)

// keepKeys lets keys such as "a//b", "/" or ".." reach their route when a client does not escape them: http.ServeMux
// takes them for parts of an unclean path and redirects to another key. It escapes what follows records/ into one
// segment, which the route's {key...} undoes.
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

// keyOffset returns where the key begins in a path /v1/datasets/{name}/records/{key}, 0 if it is no such path.
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

// unclean reports whether http.ServeMux would clean the path, which begins with a slash.
func unclean(path string) bool {
	return strings.Contains(path, "//") || strings.Contains(path, "/./") || strings.Contains(path, "/../") ||
		strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..")
}
