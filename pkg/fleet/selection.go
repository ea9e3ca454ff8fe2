package fleet

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrSelection is returned for a [Selection] that does not say which instances it chooses.
var ErrSelection = errors.New("unusable selection of instances")

// Selection chooses instances, in exactly one of three ways. The zero Selection chooses none, so that a forgotten choice never
// concerns the whole fleet.
type Selection struct {
	// All chooses every instance.
	All bool `json:"all,omitempty"`
	// Instances chooses the instances with these names. Several processes may have one name.
	Instances []string `json:"instances,omitempty"`
	// Labels chooses the instances that have all of these labels. Instances of releases before labels have none.
	Labels map[string]string `json:"labels,omitempty"`
}

// Check returns an error unless s chooses instances in exactly one way, with valid labels.
func (s Selection) Check() error {
	ways := 0
	for _, set := range []bool{s.All, len(s.Instances) > 0, len(s.Labels) > 0} {
		if set {
			ways++
		}
	}
	switch {
	case ways == 0:
		return fmt.Errorf("%w: it chooses no instance; name instances or labels, or choose all", ErrSelection)
	case ways > 1:
		return fmt.Errorf("%w: choose by names, by labels or all, and only in one of these ways", ErrSelection)
	case slices.Contains(s.Instances, ""):
		return fmt.Errorf("%w: the name of an instance is empty", ErrSelection)
	}
	return CheckLabels(s.Labels)
}

// Match reports whether s chooses the instance with the status. It reads the name and the labels alone.
func (s Selection) Match(i Status) bool {
	switch {
	case s.All:
		return true
	case len(s.Instances) > 0:
		return slices.Contains(s.Instances, i.Instance)
	case len(s.Labels) > 0:
		for name, value := range s.Labels {
			if has, ok := i.Labels[name]; !ok || has != value {
				return false
			}
		}
		return true
	}
	return false
}

// Filter returns the statuses of the chosen instances, in their order.
func (s Selection) Filter(all []Status) []Status {
	var chosen []Status
	for _, i := range all {
		if s.Match(i) {
			chosen = append(chosen, i)
		}
	}
	return chosen
}

// Missing returns the names in s that no instance in all has.
func (s Selection) Missing(all []Status) []string {
	var missing []string
	for _, name := range s.Instances {
		if !slices.ContainsFunc(all, func(i Status) bool { return i.Instance == name }) {
			missing = append(missing, name)
		}
	}
	return missing
}

// String describes the chosen instances: "all instances", "instances api-1, api-2", "instances with tier=canary".
func (s Selection) String() string {
	switch {
	case s.All:
		return "all instances"
	case len(s.Instances) == 1:
		return "instance " + s.Instances[0]
	case len(s.Instances) > 1:
		return "instances " + strings.Join(s.Instances, ", ")
	case len(s.Labels) > 0:
		return "instances with " + FormatLabels(s.Labels)
	}
	return "no instance"
}
