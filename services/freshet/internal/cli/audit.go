package cli

import (
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"freshet.dev/pkg/dataset"
)

// auditFlags are the flags of a command that makes a version: why, who, and whether only to show what it would do.
type auditFlags struct {
	reason, by string
	dryRun     bool
}

func (f *auditFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.reason, "reason", "", "why, stored with the version")
	flags.StringVar(&f.by, "by", "", "who, stored with the version; not verified (default: user@host)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "show what would change, and which gates would refuse it; publish nothing")
}

// fill sets the default of --by.
func (f *auditFlags) fill() {
	if f.by == "" {
		f.by = caller()
	}
}

// caller returns the user of this process as user@host. It is empty if neither is known or a version could not keep it.
func caller() string {
	name := "unknown"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	by := strings.TrimSpace(name + "@" + host)
	if dataset.CheckAudit(by, "") != nil {
		return ""
	}
	return by
}
