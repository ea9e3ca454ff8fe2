package demo

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// patchedKey is the key of the record that a suggested patch adds.
const patchedKey = "example.patched"

// suggest prints commands to try while the stack runs. Each command is complete and works when pasted.
func (p *presenter) suggest(all []release) error {
	older := all[len(all)/2]
	file := filepath.Join(p.dir, older.fileName())
	if err := older.save(file); err != nil {
		return err
	}
	instance := p.at.Instances[0]
	fleet := " --publisher " + p.at.Publisher + " --nats " + p.at.NATS
	if p.cfg.Namespace != "" {
		fleet += " --namespace " + p.cfg.Namespace
	}
	p.printf("\nEverything runs until Ctrl-C. In another terminal, try:\n")
	p.try("look up a record in an instance",
		"curl -si "+instance.URL+"/v1/datasets/"+Dataset+"/records/"+shownKey)
	p.try("publish an older release as the next version, and watch every instance serve it",
		p.cfg.Command+" publish "+Dataset+" "+quoted(file)+" --wait"+fleet)
	p.try("change one record: the cost of a patch depends on the number of changes",
		`echo '{"key":"`+patchedKey+`","support":{"chrome":"1"}}' | `+
			p.cfg.Command+" publish "+Dataset+" - --patch --wait"+fleet)
	p.try("see which instance serves which version, how fresh it is and what it pulled (--watch repeats, --fail-if-stale is a check)",
		p.cfg.Command+" status --wide"+fleet+" --redis "+p.at.Redis)
	p.try("list the versions",
		p.cfg.Command+" versions "+Dataset+" --publisher "+p.at.Publisher)
	p.try("look up the record again",
		p.cfg.Command+" get "+Dataset+" "+shownKey+" --server "+instance.URL)

	p.printf("\nListening: publisher %s, relay %s, NATS %s, Redis %s\n", p.at.Publisher, p.at.Relay, p.at.NATS, p.at.Redis)
	for _, i := range p.at.Instances {
		p.printf("           %s %s (/readyz?verbose, /metrics, /v1/status)\n", i.Name, i.URL)
	}
	p.printf("Files:     %s (log.ndjson is the log), removed at the end\n", p.dir)
	return p.err
}

func (p *presenter) try(what, command string) { p.printf("\n  # %s\n  %s\n", what, command) }

// save writes the release to a file as gzipped NDJSON.
func (r release) save(file string) error {
	body, err := r.open()
	if err != nil {
		return err
	}
	b, err := io.ReadAll(body)
	if err == nil {
		err = os.WriteFile(file, b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write a release to the demo's folder: %w", err)
	}
	return nil
}

// quoted returns text as one word of a shell command.
func quoted(text string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("/._-+:@%,=", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
