package fleet

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bounds of the labels of an instance. Every status and report contains the labels.
const (
	MaxLabels = 16
	// MaxLabelBytes bounds a label's name, and its value.
	MaxLabelBytes = 63
)

// ErrLabels is returned for labels that are not valid. The message names the label and the rule.
var ErrLabels = errors.New("unusable labels")

// CheckLabels returns an [ErrLabels] if there are more than [MaxLabels] labels, or if a name or a value is not 1 to [MaxLabelBytes] of
// a-z, 0-9, ., _ and -, the first and the last of them a letter or digit.
func CheckLabels(labels map[string]string) error {
	if len(labels) > MaxLabels {
		return fmt.Errorf("%w: there are %d labels, the most is %d", ErrLabels, len(labels), MaxLabels)
	}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if why := badLabelText(name); why != "" {
			return fmt.Errorf("%w: the name %.70q %s", ErrLabels, name, why)
		}
		if why := badLabelText(labels[name]); why != "" {
			return fmt.Errorf("%w: the value %.70q of the label %s %s", ErrLabels, labels[name], name, why)
		}
	}
	return nil
}

// badLabelText returns why text is no name and no value of a label; empty if it is one.
func badLabelText(text string) string {
	const want = "use a-z, 0-9, ., _ and -, beginning and ending with a letter or digit"
	switch {
	case text == "":
		return fmt.Sprintf("is empty; use 1 to %d of a-z, 0-9, ., _ and -", MaxLabelBytes)
	case len(text) > MaxLabelBytes:
		return fmt.Sprintf("has %d bytes, the most is %d", len(text), MaxLabelBytes)
	}
	for i := range len(text) {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case c != '.' && c != '_' && c != '-':
			return fmt.Sprintf("has %q at byte %d; %s", c, i+1, want)
		case i == 0 || i == len(text)-1:
			return fmt.Sprintf("has %q at its begin or end; %s", c, want)
		}
	}
	return ""
}

// ParseLabels returns the labels of pairs, each "name=value". The error is an [ErrLabels]. Without pairs the result is nil.
func ParseLabels(pairs []string) (map[string]string, error) {
	var labels map[string]string
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("%w: %.130q is no label; want name=value, such as tier=canary", ErrLabels, pair)
		}
		if _, twice := labels[name]; twice {
			return nil, fmt.Errorf("%w: the label %.70s comes twice; a label has one value", ErrLabels, name)
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[name] = value
	}
	return labels, CheckLabels(labels)
}

// FormatLabels returns the labels as text, sorted by name: "tier=canary,zone=a".
func FormatLabels(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, name+"="+labels[name])
	}
	return strings.Join(pairs, ",")
}
