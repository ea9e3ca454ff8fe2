package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandGroup is a group of commands in the help of the root command.
type commandGroup struct {
	id, title string
	commands  []*cobra.Command
}

// commandGroups returns all commands, in the order of the help.
func commandGroups(p Process) []commandGroup {
	return []commandGroup{
		{"run", "Try and run:", []*cobra.Command{newDemo(p), newUp(p)}},
		{"publish", "Publish and undo:", []*cobra.Command{newPublish(p), newRollback(p), newPin(p), newUnpin(p), newReplay(p), newDelete(p), newSettings(p)}},
		{"watch", "Watch:", []*cobra.Command{newStatus(p), newVersions(p), newPins(p), newEvents(p)}},
		{"read", "Read and compare:", []*cobra.Command{newGet(p), newScan(p), newKeys(p), newExport(p), newDiff(p), newHistory(p), newSize(p)}},
		{"keep", "Check and keep:", []*cobra.Command{newVerify(p), newGC(p)}},
		{"help", "Help:", []*cobra.Command{newMan()}},
	}
}

// addCommands adds all commands to root, and sets its help: for a command the examples first, and flags in groups.
func addCommands(root *cobra.Command, p Process) {
	for _, g := range commandGroups(p) {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID("help")
	root.SetCompletionCommandGroupID("help")
	root.SetHelpTemplate(helpTemplate)
	root.SetUsageTemplate(usageTemplate)
}

func init() { cobra.AddTemplateFunc("flagGroups", flagGroups) }

const helpTemplate = `{{if .HasExample}}Examples:
{{.Example}}

{{end}}{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{.UsageString}}`

const usageTemplate = `Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} [command]{{$commands := .Commands}}{{range $group := .Groups}}

{{.Title}}{{range $commands}}{{if and (eq .GroupID $group.ID) .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{$loose := false}}{{range .Commands}}{{if and (eq .GroupID "") .IsAvailableCommand}}{{$loose = true}}{{end}}{{end}}{{if $loose}}

Commands:{{range .Commands}}{{if and (eq .GroupID "") .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{end}}{{with flagGroups .}}

{{.}}{{end}}{{if .HasAvailableSubCommands}}

"{{.CommandPath}} COMMAND --help" shows a command with examples; "{{.Root.Name}} man FOLDER" writes manual pages.{{end}}
`

// The groups of flags in the help of a command, in its order. Flags without a group come first.
const (
	groupChoose  = "Choose instances:"
	groupWait    = "Wait:"
	groupAudit   = "Audit:"
	groupConnect = "Connections:"
	groupOutput  = "Output and help:"
)

var flagGroupOrder = []string{"Flags:", groupChoose, groupWait, groupAudit, groupConnect, groupOutput}

// groupAnnotation is the annotation of a flag that names its group, for a flag whose name has another meaning in another command.
const groupAnnotation = "freshet_group"

var groupOfFlag = map[string]string{
	"instance": groupChoose, "all": groupChoose,
	"wait": groupWait, "wait-timeout": groupWait,
	"by": groupAudit, "reason": groupAudit, "request-id": groupAudit,
	"publisher": groupConnect, "server": groupConnect, "nats": groupConnect, "redis": groupConnect, "namespace": groupConnect,
	"output": groupOutput, "help": groupOutput, "version": groupOutput, "wide": groupOutput,
}

func groupOf(cmd *cobra.Command, f *pflag.Flag) string {
	if named := f.Annotations[groupAnnotation]; len(named) > 0 {
		return named[0]
	}
	if f.Name == "version" && cmd.HasParent() { // a version of a dataset
		return flagGroupOrder[0]
	}
	if g, ok := groupOfFlag[f.Name]; ok {
		return g
	}
	return flagGroupOrder[0]
}

// flagGroups returns the flags of cmd as text for the help, in groups.
func flagGroups(cmd *cobra.Command) string {
	var sections []string
	for _, title := range flagGroupOrder {
		group := pflag.NewFlagSet(title, pflag.ContinueOnError)
		group.SortFlags = true
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if groupOf(cmd, f) == title {
				group.AddFlag(f)
			}
		})
		if group.HasAvailableFlags() {
			sections = append(sections, title+"\n"+strings.TrimRight(group.FlagUsages(), "\n "))
		}
	}
	return strings.Join(sections, "\n\n")
}
