package publisher

import (
	"net/http"
	"slices"

	"freshet.dev/pkg/publish"
	"freshet.dev/services/internal/web"
)

// Patch is what a patch did to the dataset.
type Patch struct {
	Added   uint64 `json:"added"`
	Changed uint64 `json:"changed"`
	Removed uint64 `json:"removed"`
	// Unchanged counts records that the dataset already had, Missing removals of keys that it did not have.
	Unchanged uint64 `json:"unchanged"`
	Missing   uint64 `json:"missing"`
}

// patch answers PATCH /v1/datasets/{name}.
func (p *Publisher) patch(w http.ResponseWriter, r *http.Request) error {
	return p.answer(w, r, func(r *http.Request, body *body) (outcome, error) {
		in, err := patchInput(r)
		if err != nil {
			return outcome{}, err
		}
		if err := setBody(&in.Input, r, body); err != nil {
			return outcome{}, err
		}
		name := r.PathValue("name")
		if err := publish.CheckPatch(name, in); err != nil {
			return outcome{}, err
		}
		done, err := p.acquire(r, p.patches)
		if err != nil {
			return outcome{}, err
		}
		defer done()
		got, err := p.publisher.Patch(r.Context(), name, in)
		if err != nil {
			return outcome{}, err
		}
		return outcome{Result: got.Result, patch: &Patch{
			Added: got.Changes.Added, Changed: got.Changes.Changed, Removed: got.Changes.Removed,
			Unchanged: got.Unchanged, Missing: got.Missing,
		}}, nil
	})
}

// patchInput returns the description of the body in the request.
func patchInput(r *http.Request) (in publish.PatchInput, err error) {
	if in.Input, err = input(r, slices.Concat(inputParameters, []string{"remove", "base"})...); err != nil {
		return in, err
	}
	in.Remove = r.URL.Query().Get("remove")
	if base := r.URL.Query().Get("base"); base != "" {
		if in.Base, in.BaseID, err = publish.ParseBase(base); err != nil {
			err = web.Refuse(http.StatusBadRequest, "bad-parameter", "base: %v", err)
		}
	}
	return in, err
}
