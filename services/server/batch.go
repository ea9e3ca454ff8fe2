package server

import (
	"encoding/json"
	"net/http"
	"strconv"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/server/internal/jsonrecord"
)

// batchRequest is the body of a batchGet.
type batchRequest struct {
	Keys []string `json:"keys"`
}

// batchGet answers POST /v1/datasets/{name}/records:batchGet. All values are from one version, in the order of the keys.
func (s *Server) batchGet(w http.ResponseWriter, r *http.Request) error {
	if err := lookupQuery(r); err != nil {
		return err
	}
	v, err := s.view(r)
	if err != nil {
		return err
	}
	h := w.Header()
	v.set(h)
	var request batchRequest
	// The longest keys with every byte written as \u00xx, each with quotes and a comma, and the text around them.
	limit := int64(s.cfg.BatchKeys)*(6*dataset.MaxKeyBytes+3) + 4096
	if err := web.ReadJSON(w, r, limit, &request); err != nil {
		return err
	}
	switch n := len(request.Keys); {
	case n == 0:
		return web.Refuse(http.StatusBadRequest, "no-keys", `the request has no key; want {"keys":["..."]}`)
	case n > s.cfg.BatchKeys:
		return web.Refuse(http.StatusRequestEntityTooLarge, "too-many-keys", "the request has %d keys, the limit is %d; send several batches", n, s.cfg.BatchKeys).
			With("limit", s.cfg.BatchKeys)
	}
	keys, values := make([][]byte, len(request.Keys)), make([][]byte, len(request.Keys))
	for i, key := range request.Keys {
		keys[i] = []byte(key)
		if err := dataset.CheckKey(keys[i]); err != nil {
			return web.Refuse(http.StatusBadRequest, "bad-key", "keys[%d]: %v", i, err)
		}
	}
	v.GetMany(keys, values)
	total := 0
	for _, value := range values {
		total += len(value)
	}
	if total > int(s.cfg.BatchBytes) {
		return web.Refuse(http.StatusRequestEntityTooLarge, "too-large", "the values have %d bytes, the limit is %d; send several batches", total, int64(s.cfg.BatchBytes)).
			With("limit", int64(s.cfg.BatchBytes))
	}
	body, err := encodeBatch(r.PathValue("name"), v, request.Keys, values, total)
	if err != nil {
		return err
	}
	h["Content-Type"] = typeJSON
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // it fails only when the client has left
	return nil
}

// encodeBatch returns the answer. A value that is JSON in UTF-8, as all values published as text are, is copied byte for byte; any other
// value is in base64.
func encodeBatch(name string, v view, keys []string, values [][]byte, total int) ([]byte, error) {
	const perRecord = 48 // the members around a key and its value
	body := make([]byte, 0, total+len(keys)*(perRecord+len(keys[0]))+100)
	body = append(body, `{"dataset":"`...)
	body = append(body, name...)
	body = append(body, `","version":`...)
	body = append(body, v.version[0]...)
	body = append(body, `,"records":[`...)
	for i, value := range values {
		if i > 0 {
			body = append(body, ',')
		}
		key, err := json.Marshal(keys[i])
		if err != nil {
			return nil, err
		}
		body = append(append(body, `{"key":`...), key...)
		if value == nil {
			body = append(body, `,"found":false}`...)
			continue
		}
		body = append(jsonrecord.AppendValue(append(body, `,"found":true,`...), value), '}')
	}
	return append(body, "]}\n"...), nil
}
