package publisher

import (
	"net/http"

	"freshet.dev/services/internal/web"
)

// readChange reads a request that changes something about a dataset and has no parameters: the name of the dataset, the id of the request,
// which is empty if it has none, and the body, JSON of at most limit bytes.
func readChange(w http.ResponseWriter, r *http.Request, limit int64, body any) (name, id string, err error) {
	if name, err = datasetName(r); err != nil {
		return "", "", err
	}
	if _, err := web.Query(r); err != nil {
		return "", "", err
	}
	if id, err = requestID(r); err != nil {
		return "", "", err
	}
	return name, id, web.ReadJSON(w, r, limit, body)
}
