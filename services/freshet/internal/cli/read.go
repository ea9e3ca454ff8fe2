package cli

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/freshet/internal/client"
	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/publisher"
)

// versionFlags are the flags of commands that read a version from the publisher's store.
type versionFlags struct {
	publisher string
	version   uint64 // 0 without the flag
}

func (f *versionFlags) add(cmd *cobra.Command, p Process, usage string) {
	publisherURL.add(cmd, p, &f.publisher)
	cmd.Flags().Uint64Var(&f.version, "version", 0, usage)
}

// check refuses a version 0 that the user has given.
func (f *versionFlags) check(cmd *cobra.Command) error {
	if cmd.Flags().Changed("version") && f.version == 0 {
		return exit.Errorf(exit.Usage, "--version 0: want 1 or more; leave it out for the newest")
	}
	return nil
}

// open returns a client of the publisher.
func (f *versionFlags) open() (*client.Client, error) {
	return client.New(f.publisher, "publisher", publisherURL.hint())
}

// complete completes names of the publisher's datasets.
func (f *versionFlags) complete(cmd *cobra.Command) {
	cmd.ValidArgsFunction = completeArgs(false, func(ctx context.Context) ([]string, error) { return publishedNames(ctx, f.publisher) })
}

// start checks the dataset's name and the flags, and returns a client.
func (f *versionFlags) start(cmd *cobra.Command, name string) (*client.Client, error) {
	if err := dataset.CheckName(name); err != nil {
		return nil, exit.With(exit.Usage, err)
	}
	if err := f.check(cmd); err != nil {
		return nil, err
	}
	return f.open()
}

// checkLimit refuses a negative limit.
func checkLimit(limit int) error {
	if limit < 0 {
		return exit.Errorf(exit.Usage, "--limit %d: want 1 or more, or 0 for all", limit)
	}
	return nil
}

// versionArgument returns the version that an argument names.
func versionArgument(text string) (uint64, error) {
	version, err := strconv.ParseUint(text, 10, 63)
	if err != nil || version == 0 {
		return 0, exit.Errorf(exit.Usage, "%.40q is no version: want a whole number, 1 or more", text)
	}
	return version, nil
}

// errEnough ends a stream whose rest the command does not need.
var errEnough = errors.New("enough")

// change has the members of a line that describe a change of a record.
type change struct {
	Op string `json:"op"`
	publisher.Key
	Old       json.RawMessage `json:"old"`
	OldText   *string         `json:"old_text"`
	OldBase64 []byte          `json:"old_base64"`
	New       json.RawMessage `json:"new"`
	NewText   *string         `json:"new_text"`
	NewBase64 []byte          `json:"new_base64"`
}

// none stands for a member that an object does not have.
const none = "(none)"

// text describes the change in one line.
func (c change) text() string {
	if c.Op == "removed" {
		return valueText(c.Old, c.OldText, c.OldBase64)
	}
	differ := publisher.Members(c.Old, c.New)
	if c.Op == "added" || len(differ) == 0 {
		return valueText(c.New, c.NewText, c.NewBase64)
	}
	line := ""
	for i, m := range differ {
		if i > 0 {
			line += ", "
		}
		line += keyText([]byte(m.Name)) + ": " + memberText(m.Old) + " -> " + memberText(m.New)
	}
	return line
}

func memberText(value json.RawMessage) string {
	if value == nil {
		return none
	}
	return cut(string(value))
}

func valueText(value json.RawMessage, text *string, other []byte) string {
	switch {
	case value != nil:
		return cut(string(value))
	case text != nil:
		return cut(strconv.Quote(*text))
	}
	return cut(strconv.Quote(string(other)))
}

// maxShown is how much of a value a line of text shows.
const maxShown = 200

func cut(text string) string {
	if len(text) <= maxShown {
		return text
	}
	end := maxShown
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

// keyText returns the key as it is, or quoted if it would not show as it is on one line.
func keyText(key []byte) string {
	text := string(key)
	if !utf8.Valid(key) || text[:min(1, len(text))] == `"` {
		return strconv.Quote(text)
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return strconv.Quote(text)
		}
	}
	return text
}
