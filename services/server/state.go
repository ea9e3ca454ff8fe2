package server

import (
	"net/http"

	"freshet.dev/pkg/fleet"
	"freshet.dev/services/internal/web"
)

// stateHeader is the header with the state of the dataset, of every answer about a dataset that the instance has. The state is judged when the
// request reads the served version, by the rules of the status.
const stateHeader = "Freshet-State"

// stateValues has the header's value of each state, shared by all responses.
var stateValues = func() map[fleet.State][]string {
	values := make(map[fleet.State][]string)
	for _, s := range fleet.States {
		values[s] = []string{string(s)}
	}
	return values
}()

// state returns the header's value now.
func (l *lookups) state() []string { return stateValues[l.dataset.State()] }

// describe adds to h the headers of the dataset: its state and the served version, if there is one.
func (l *lookups) describe(h http.Header) {
	h[stateHeader] = l.state()
	if v, ok := l.now(); ok {
		v.set(h)
	}
}

// stated returns h for a route of a dataset. Its problems have the headers of the dataset, also those of requests that no version was read for.
func (s *Server) stated(h web.Handler) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := h(w, r)
		if l := s.datasets[r.PathValue("name")]; err != nil && l != nil && w.Header()[stateHeader] == nil {
			l.describe(w.Header())
		}
		return err
	}
}
