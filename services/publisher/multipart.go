package publisher

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"freshet.dev/pkg/publish"
	"freshet.dev/services/internal/web"
)

// setBody sets what the records of in are read from: the body, or its files if it is multipart.
func setBody(in *publish.Input, r *http.Request, body io.Reader) error {
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !isMultipart(kind) {
		in.Body = body
		return nil
	}
	if encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); encoding != "" && encoding != "identity" {
		return web.Refuse(http.StatusUnsupportedMediaType, "unsupported-encoding",
			"a body of %s in Content-Encoding %.40q is not accepted; compress its files instead", kind, encoding)
	}
	boundary := parameters["boundary"]
	if boundary == "" {
		return web.Refuse(http.StatusBadRequest, "bad-multipart", "the Content-Type %s has no boundary", kind)
	}
	in.Files = files(body, boundary)
	return nil
}

// isMultipart reports whether a body of the media type has files.
func isMultipart(kind string) bool { return kind == "multipart/mixed" || kind == "multipart/form-data" }

// files yields the parts of a body.
func files(body io.Reader, boundary string) iter.Seq2[publish.File, error] {
	return func(yield func(publish.File, error) bool) {
		end := tail{r: body}
		parts := multipart.NewReader(&end, boundary)
		for n := 1; ; n++ {
			// Not NextPart, which decodes a Content-Transfer-Encoding.
			part, err := parts.NextRawPart()
			if err == io.EOF && bytes.Contains(end.last, []byte("--"+boundary+"--")) {
				return
			}
			if err != nil {
				yield(publish.File{}, badMultipart(err))
				return
			}
			file, err := filePart(part)
			if refused, ok := errors.AsType[*web.Problem](err); ok {
				refused.Detail = fmt.Sprintf("part %d of the multipart body: %s", n, refused.Detail)
			}
			if !yield(file, err) || err != nil {
				return
			}
		}
	}
}

// tail keeps the last bytes that were read. A multipart.Reader answers io.EOF for a body that ends after the boundary of a part too, and
// reads at most 4 KiB beyond the last boundary.
type tail struct {
	r    io.Reader
	last []byte
}

// tailBytes is how much a tail keeps at least.
const tailBytes = 8 << 10

func (t *tail) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.last = append(t.last, p[:n]...)
	if len(t.last) > 2*tailBytes {
		t.last = append(t.last[:0], t.last[len(t.last)-tailBytes:]...)
	}
	return n, err
}

// filePart returns the file in a part.
func filePart(part *multipart.Part) (publish.File, error) {
	// Not part.FileName, which drops the folder. The name is only shown.
	_, disposition, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	file := publish.File{Name: disposition["filename"], Body: partBody{part}}
	var err error
	if kind := part.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/octet-stream") {
		file.Format, err = format(kind)
	}
	if err == nil && file.Format == publish.FormatAuto { // also of application/gzip, which does not say what is in it
		file.Format = publish.FormatOf(file.Name)
	}
	return file, err
}

// partBody is the body of a part. A body that ends within a part is a bad request.
type partBody struct{ part *multipart.Part }

func (b partBody) Read(p []byte) (int, error) {
	n, err := b.part.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = badMultipart(err)
	}
	return n, err
}

func badMultipart(err error) error {
	return web.Refuse(http.StatusBadRequest, "bad-multipart", "the multipart body cannot be read to its end: %v; nothing was published", err)
}
