package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"freshet.dev/pkg/dataset"
)

// do sends a request and returns status, header and body.
func do(ctx context.Context, method, url, contentType string, body []byte) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, b, err
}

// post publishes the edition through the HTTP API and returns the version record that it answers.
func (s *system) post(t *testing.T, name string, e edition) dataset.VersionRecord {
	t.Helper()
	status, _, body, err := do(t.Context(), http.MethodPost, s.Publisher.URL+"/v1/datasets/"+name+"/versions?key=key&label=edition="+url.QueryEscape(e.name), "application/x-ndjson", e.gzip)
	if err != nil {
		t.Fatal(err)
	}
	if status != http.StatusCreated {
		t.Fatalf("publish %s: %d %s", e.name, status, body)
	}
	var answer struct {
		Record             dataset.VersionRecord `json:"version_record"`
		Announced, Indexed bool
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("publish %s: %v in %s", e.name, err, body)
	}
	if !answer.Announced || !answer.Indexed {
		t.Fatalf("publish %s: not announced or not indexed: %s", e.name, body)
	}
	return answer.Record
}

// served is what an instance says of a dataset.
type served struct {
	Dataset string `json:"dataset"`
	Version uint64 `json:"version"`
	Bytes   int64  `json:"bytes"`
	State   string `json:"state"`
	From    string `json:"from"`
}

// datasets returns what the instance says that it serves.
func datasets(ctx context.Context, instance *program) (map[string]served, error) {
	status, _, body, err := do(ctx, http.MethodGet, instance.URL+"/v1/status", "", nil)
	if err != nil {
		return nil, err
	}
	var answer struct{ Datasets []served }
	if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("%d %s: %v", status, body, err)
	}
	all := map[string]served{}
	for _, d := range answer.Datasets {
		all[d.Dataset] = d
	}
	return all, nil
}

// awaitVersion waits until the instance serves the version.
func awaitVersion(t *testing.T, instance *program, name string, version uint64) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		all, err := datasets(ctx, instance)
		if err == nil && all[name].Version != version {
			err = fmt.Errorf("%s serves %+v, want version %d", instance.URL, all[name], version)
		}
		return err
	})
}

// get looks one record up, and returns its value and the version that it is of.
func get(ctx context.Context, instance *program, name, key string) (value []byte, version string, err error) {
	status, header, body, err := do(ctx, http.MethodGet, instance.URL+"/v1/datasets/"+name+"/records/"+url.PathEscape(key), "", nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, body)
	}
	return body, header.Get("Freshet-Version"), err
}

// batch is the answer to a batchGet.
type batch struct {
	Version uint64
	Records []struct {
		Key   string
		Found bool
		Value json.RawMessage // the bytes as they stand in the answer
	}
}

func batchGet(ctx context.Context, instance *program, name string, keys []string) (batch, error) {
	var b batch
	request, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		return b, err
	}
	status, _, body, err := do(ctx, http.MethodPost, instance.URL+"/v1/datasets/"+name+"/records:batchGet", "application/json", request)
	if err != nil {
		return b, err
	}
	if status != http.StatusOK {
		return b, fmt.Errorf("%d %s", status, body)
	}
	return b, json.Unmarshal(body, &b)
}
