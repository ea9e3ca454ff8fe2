package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/nearest"
	"freshet.dev/services/freshet/internal/exit"
)

// selectionFlags are the flags by which a command chooses instances.
type selectionFlags struct {
	instances, labels []string
	all               bool
}

// add adds the flags to cmd. verb says what the command does with the instances.
func (f *selectionFlags) add(cmd *cobra.Command, verb string) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.instances, "instance", nil, verb+" the instance with this name; may be repeated")
	addLabels(cmd, &f.labels, verb+" the instances with this label, name=value; may be repeated: then those with all of the labels")
	flags.BoolVar(&f.all, "all", false, verb+" all instances")
}

// addLabels adds the flag --label, which chooses instances.
func addLabels(cmd *cobra.Command, labels *[]string, usage string) {
	cmd.Flags().StringArrayVar(labels, "label", nil, usage)
	cmd.Flags().Lookup("label").Annotations = map[string][]string{groupAnnotation: {groupChoose}}
}

// given reports whether any of the flags is set.
func (f *selectionFlags) given() bool { return f.all || len(f.instances) > 0 || len(f.labels) > 0 }

// selection returns the selection of the flags.
func (f *selectionFlags) selection() (fleet.Selection, error) {
	labels, err := parseLabels(f.labels)
	if err != nil {
		return fleet.Selection{}, err
	}
	s := fleet.Selection{All: f.all, Instances: f.instances, Labels: labels}
	if s.Check() != nil {
		return s, exit.Errorf(exit.Usage, "choose instances with one of --instance, --label and --all; --instance and --label may be repeated")
	}
	return s, nil
}

// parseLabels returns the labels of --label.
func parseLabels(pairs []string) (map[string]string, error) {
	labels, err := fleet.ParseLabels(pairs)
	if err != nil {
		return nil, exit.Errorf(exit.Usage, "--label: %w", err)
	}
	return labels, nil
}

// noneWithLabels returns the error for labels that no instance has. known has the labels of all instances.
func noneWithLabels(labels map[string]string, inNamespace string, known []string) error {
	hint := ""
	for _, pair := range strings.Split(fleet.FormatLabels(labels), ",") {
		if !slices.Contains(known, pair) {
			hint = cmp.Or(hint, nearest.Hint(pair, known))
		}
	}
	return exit.Errorf(exit.NotFound, "no instance%s has the labels %s%s; `freshet status --wide` shows the labels of all instances",
		where(inNamespace), fleet.FormatLabels(labels), hint)
}

// where names the namespace in a message, unless it is the default one.
func where(inNamespace string) string {
	if inNamespace == "" {
		return ""
	}
	return fmt.Sprintf(" in namespace %s", inNamespace)
}

// labelsOf returns the labels of all instances, each as name=value.
func labelsOf(all []fleet.Status) []string {
	var pairs []string
	for _, i := range all {
		for name, value := range i.Labels {
			pairs = append(pairs, name+"="+value)
		}
	}
	slices.Sort(pairs)
	return slices.Compact(pairs)
}
