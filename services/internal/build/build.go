// Package build reports which build of freshet a program is.
package build

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// revision is the commit of a program that Go builds outside a checkout, as deployments/Dockerfile does. The linker sets it:
// -ldflags "-X freshet.dev/services/internal/build.revision=COMMIT".
var revision string

// unknown stands for what a build does not record.
const unknown = "unknown"

// Info identifies a build.
type Info struct {
	// Version is the version of the module services: a tag, a pseudo-version, or "(devel)".
	Version string
	// Revision is the commit that the program was built from. It ends with "+dirty" if the checkout had changes.
	Revision string
	// GoVersion is the release of Go that compiled the program.
	GoVersion string
}

// Read returns the build of the running program. A part that the build does not record is "unknown": `go run` and `go test`
// record no revision.
var Read = sync.OnceValue(func() Info {
	info, _ := debug.ReadBuildInfo()
	return infoOf(info, revision)
})

// infoOf returns the build that info describes; nil describes none. linked is the revision that the linker set.
func infoOf(info *debug.BuildInfo, linked string) Info {
	b := Info{Version: unknown, Revision: unknown, GoVersion: unknown}
	if linked != "" {
		b.Revision = linked
	}
	if info == nil {
		return b
	}
	b.GoVersion = info.GoVersion
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	stamps := map[string]string{}
	for _, s := range info.Settings {
		stamps[s.Key] = s.Value
	}
	if stamp := stamps["vcs.revision"]; stamp != "" {
		b.Revision = stamp
		if stamps["vcs.modified"] == "true" {
			b.Revision += "+dirty"
		}
	}
	return b
}

// String returns the build as --version prints it: "v0.3.0 (revision 4587cf4f7d50, go1.26.0)".
func (i Info) String() string {
	return fmt.Sprintf("%s (revision %s, %s)", i.Version, i.Revision, i.GoVersion)
}
