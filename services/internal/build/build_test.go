package build

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestInfoOf(t *testing.T) {
	stamped := func(settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "v0.3.0"}, Settings: settings}
	}
	for name, c := range map[string]struct {
		info   *debug.BuildInfo
		linked string
		want   string
	}{
		"a checkout":              {stamped(debug.BuildSetting{Key: "vcs.revision", Value: "4587cf"}, debug.BuildSetting{Key: "vcs.modified", Value: "false"}), "", "v0.3.0 (revision 4587cf, go1.26.0)"},
		"a checkout with changes": {stamped(debug.BuildSetting{Key: "vcs.revision", Value: "4587cf"}, debug.BuildSetting{Key: "vcs.modified", Value: "true"}), "", "v0.3.0 (revision 4587cf+dirty, go1.26.0)"},
		"an image":                {stamped(), "77e4b3", "v0.3.0 (revision 77e4b3, go1.26.0)"},
		"go run":                  {&debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "(devel)"}}, "", "(devel) (revision unknown, go1.26.0)"},
		"no information":          {nil, "", "unknown (revision unknown, unknown)"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := infoOf(c.info, c.linked).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestRead(t *testing.T) {
	if got := Read(); got.GoVersion != runtime.Version() || got.Version == "" || got.Revision == "" {
		t.Errorf("the test's own build is %+v", got)
	}
}
