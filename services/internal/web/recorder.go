package web

import (
	"io"
	"net/http"
	"sync"
)

// recorder records the status and size of a response. It comes from a pool, so that quiet routes do not allocate it.
type recorder struct {
	http.ResponseWriter
	status int // 0 until the header is written
	bytes  int64
}

var recorders = sync.Pool{New: func() any { return new(recorder) }}

func record(w http.ResponseWriter) *recorder {
	rec := recorders.Get().(*recorder)
	*rec = recorder{ResponseWriter: w}
	return rec
}

func (r *recorder) free() {
	r.ResponseWriter = nil
	recorders.Put(r)
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// ReadFrom copies src to the underlying writer, which may use sendfile or splice.
func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := io.Copy(r.ResponseWriter, src)
	r.bytes += n
	return n, err
}

// open reports whether net/http ends the response after the handler has returned, with the last chunk or by closing the
// connection.
func (r *recorder) open(method string) bool {
	empty := method == http.MethodHead || r.status == http.StatusNoContent || r.status == http.StatusNotModified
	return !empty && r.Header().Get("Content-Length") == ""
}

// Unwrap returns the underlying writer, for [http.ResponseController].
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
