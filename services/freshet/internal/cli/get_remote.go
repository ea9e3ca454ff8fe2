package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/nearest"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/freshet/internal/overview"
	"freshet.dev/services/internal/settings"
)

// remoteGet is a get with --instance, --label or --all: what the chosen instances answer right now, over NATS.
type remoteGet struct {
	choose                 selectionFlags
	nats, redis, namespace string
	timeout                time.Duration
	out                    output
}

// remoteGetHelp is the part of the help about such a get.
var remoteGetHelp = fmt.Sprintf(`With --instance, --label or --all it asks the chosen instances over NATS what they serve right now, and prints for each key
and instance the version, its id, the SHA-256 digest of the value, and the value up to %d KiB, at most %d keys. An instance
answers only if it was started with FRESHET_REMOTE_GET=true. The values are compared, not the versions: an instance that is
behind agrees if the record has not changed. With --redis, an instance that has a record in Redis and does not answer is
named too. The exit codes, the first that applies:

  %d  instances serve different values, or one has no such record or no version
  %d  an instance did not answer within --timeout
  %d  an instance refuses
  %d  no such dataset, instance or label, or no instance has a record with one of the keys`,
	fleet.MaxGetValueBytes>>10, fleet.MaxGetKeys, exit.Disagree, exit.TimedOut, exit.Refused, exit.NotFound)

// add adds the flags to cmd.
func (g *remoteGet) add(cmd *cobra.Command, p Process) {
	g.choose.add(cmd, "ask")
	natsURL.add(cmd, p, &g.nats)
	redisURL.add(cmd, p, &g.redis)
	namespace.add(cmd, p, &g.namespace)
	cmd.Flags().DurationVar(&g.timeout, "timeout", 2*time.Second, "with --instance, --label or --all: how long an instance may take to answer")
	g.out.add(cmd)
}

func (g *remoteGet) check(keys []string) error {
	if err := settings.CheckNamespace(g.namespace); err != nil {
		return exit.With(exit.Usage, err)
	}
	if g.redis != "" {
		if err := settings.CheckURL("--redis", settings.URL(g.redis), redisSchemes...); err != nil {
			return exit.With(exit.Usage, err)
		}
	}
	switch {
	case g.timeout < 100*time.Millisecond:
		return exit.Errorf(exit.Usage, "--timeout %s: want 100ms or more", g.timeout)
	case len(keys) > fleet.MaxGetKeys:
		return exit.Errorf(exit.Usage, "%d keys: want at most %d with --instance, --label or --all", len(keys), fleet.MaxGetKeys)
	}
	for i, key := range keys {
		if slices.Contains(keys[:i], key) {
			return exit.Errorf(exit.Usage, "the key %.80q comes twice", key)
		}
	}
	return nil
}

func (g *remoteGet) run(ctx context.Context, p Process, name string, keys []string) error {
	if err := g.check(keys); err != nil {
		return err
	}
	selection, err := g.choose.selection()
	if err != nil {
		return err
	}
	conn, err := dialFleet(ctx, g.nats)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := comparison{Dataset: name}
	chosen, err := g.chosen(ctx, p, conn, selection, name, &r)
	if err != nil {
		return err
	}
	opts := fleet.GetOptions{Namespace: g.namespace, Dataset: name, Instances: chosen, Wait: g.timeout}
	for _, key := range keys {
		opts.Keys = append(opts.Keys, []byte(key))
	}
	answers, err := fleet.Get(ctx, conn, opts)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	r.compare(keys, answers)
	if g.out == jsonOutput {
		err = writeJSON(p.Out, r)
	} else {
		err = r.print(p.Out)
	}
	if err != nil {
		return err
	}
	return r.verdict()
}

// chosen returns the chosen instances that answer and have the dataset. It adds to r those that have a record in Redis and do not
// answer, and those with an unreadable status.
func (g *remoteGet) chosen(ctx context.Context, p Process, conn *nats.Conn, selection fleet.Selection, name string, r *comparison) ([]fleet.Status, error) {
	from := overview.Sources{
		Namespace: g.namespace,
		Survey: func(ctx context.Context, stall time.Duration) ([]fleet.Status, error) {
			return fleet.Survey(ctx, conn, fleet.SurveyOptions{Namespace: g.namespace, Dataset: name, Stall: stall})
		},
	}
	if g.redis != "" {
		from.Records = func(ctx context.Context) ([]overview.Record, error) { return records(ctx, g.redis, g.namespace) }
	}
	answering, silent, err, redisErr := overview.Fleet(ctx, from)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil && !overview.Surveyed(err):
		return nil, err
	case err != nil: // an instance that does not answer, or whose answer is not readable, may be one of the chosen
		r.Failed = append(r.Failed, failure{Why: err.Error()})
	}
	if redisErr != nil {
		fmt.Fprintf(p.Err, "freshet: warning: instances that do not answer go unnoticed: %v\n", redisErr)
	}
	all := slices.Clone(answering)
	for _, record := range silent {
		all = append(all, record.Status)
		if _, ok := record.Dataset(name); ok && selection.Match(record.Status) {
			r.Failed = append(r.Failed, failure{
				Instance: record.Instance, Host: record.Host, PID: record.PID,
				Why: fmt.Sprintf("the instance does not answer over NATS; its record in Redis is %s old", record.Age.Round(time.Second)),
			})
		}
	}
	if err := g.exist(selection, all, r, err == nil); err != nil {
		return nil, err
	}
	var with []fleet.Status
	for _, i := range selection.Filter(answering) {
		if _, ok := i.Dataset(name); ok || i.Omitted > 0 {
			with = append(with, i)
		} else if len(selection.Instances) > 0 {
			return nil, g.noDataset(ctx, conn, "instance "+i.Instance, fleet.Selection{Instances: []string{i.Instance}}, name)
		}
	}
	if len(with) == 0 && len(r.Failed) == 0 {
		who := "no instance" + where(g.namespace)
		switch {
		case len(selection.Instances) > 0:
			who = "instance " + selection.Instances[0]
		case !selection.All:
			who = "none of the " + selection.String()
		}
		return nil, g.noDataset(ctx, conn, who, selection, name)
	}
	return with, nil
}

// exist returns an error with the nearest names if no instance has a chosen name or the labels. If complete is false, an instance that is
// not in all may exist: then exist adds the missing names to r.
func (g *remoteGet) exist(selection fleet.Selection, all []fleet.Status, r *comparison, complete bool) error {
	missing := selection.Missing(all)
	switch {
	case !complete:
		for _, name := range missing {
			r.Failed = append(r.Failed, failure{Instance: name, Why: "no instance with this name answers"})
		}
		return nil
	case len(missing) > 0:
		var names []string
		for _, i := range all {
			names = append(names, i.Instance)
		}
		slices.Sort(names)
		return exit.Errorf(exit.NotFound, "no instance %s answers%s%s; `freshet status` shows all instances",
			missing[0], where(g.namespace), nearest.Hint(missing[0], slices.Compact(names)))
	case len(selection.Filter(all)) > 0:
		return nil
	case len(selection.Labels) > 0:
		return noneWithLabels(selection.Labels, g.namespace, labelsOf(all))
	}
	return exit.Errorf(exit.NotFound, "no instance%s answers", where(g.namespace))
}

// noDataset returns the error for instances without the dataset. It asks them for the names of their datasets, to name the nearest.
func (g *remoteGet) noDataset(ctx context.Context, conn *nats.Conn, who string, selection fleet.Selection, name string) error {
	all, _ := fleet.Survey(ctx, conn, fleet.SurveyOptions{Namespace: g.namespace}) // without an answer there is no hint
	var names []string
	for _, i := range selection.Filter(all) {
		for _, d := range i.Datasets {
			names = append(names, d.Dataset)
		}
	}
	slices.Sort(names)
	verb := "does not have"
	if strings.HasPrefix(who, "no") { // no instance, none of the instances
		verb = "has"
	}
	return exit.Errorf(exit.NotFound, "%s %s the dataset %s%s", who, verb, name, nearest.Hint(name, slices.Compact(names)))
}

// verdict returns the error with the exit code; nil if all instances answered and agree.
func (r *comparison) verdict() error {
	var differ, missing []string
	for _, k := range r.Keys {
		switch {
		case !k.Agree:
			differ = append(differ, quoteKey(k.Key))
		case !k.Found:
			missing = append(missing, quoteKey(k.Key))
		}
	}
	var silent, refused []failure
	for _, f := range r.Failed {
		if errors.Is(f.err, fleet.ErrGetRefused) {
			refused = append(refused, f)
		} else {
			silent = append(silent, f)
		}
	}
	var code exit.Code
	var why []string
	add := func(c exit.Code, texts ...string) {
		if code == exit.OK && len(texts) > 0 {
			code = c
		}
		why = append(why, texts...)
	}
	if len(differ) > 0 {
		add(exit.Disagree, "the instances do not agree on "+some(differ))
	}
	add(exit.TimedOut, failures(silent)...)
	add(exit.Refused, failures(refused)...)
	if len(r.Answers) > 0 && len(missing) > 0 {
		text := fmt.Sprintf("no chosen instance has a record of %s with the key %s", r.Dataset, some(missing))
		if !slices.ContainsFunc(r.Answers, func(a answer) bool { return a.Version > 0 }) {
			text = "no chosen instance serves a version of " + r.Dataset
		}
		add(exit.NotFound, text)
	}
	if code == exit.OK {
		return nil
	}
	return exit.Errorf(code, "%s", strings.Join(why, "; "))
}

// failures returns a text for each reason, with the names of the instances that have it.
func failures(all []failure) []string {
	var reasons []string
	names := map[string][]string{}
	for _, f := range all {
		if names[f.Why] == nil {
			reasons = append(reasons, f.Why)
		}
		names[f.Why] = append(names[f.Why], f.Instance)
	}
	for i, why := range reasons {
		if of := some(names[why]); of != "" {
			reasons[i] = of + ": " + why
		}
	}
	return reasons
}

// maxNamed bounds how many names a message has.
const maxNamed = 10

// some returns the names with commas between them, at most maxNamed.
func some(names []string) string {
	if n := len(names) - maxNamed; n > 0 {
		names = append(slices.Clone(names[:maxNamed]), fmt.Sprintf("and %d more", n))
	}
	return strings.Join(names, ", ")
}
