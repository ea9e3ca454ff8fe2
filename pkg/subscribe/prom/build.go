package prom

import (
	"runtime/debug"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// module is the module whose version freshet_build_info names.
const module = "freshet.dev/pkg"

// RegisterBuild registers freshet_build_info, whose labels are the version of the library in this program ("unknown" if the
// build does not record it) and the release of Go. The programs of freshet register the same metric with their own revision.
func RegisterBuild(reg prometheus.Registerer) {
	version, goversion := "unknown", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		goversion = info.GoVersion
		if i := slices.IndexFunc(info.Deps, func(d *debug.Module) bool { return d.Path == module }); i >= 0 {
			version = info.Deps[i].Version
		}
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_build_info", Help: "Build of the program, as labels; the value is always 1.",
		ConstLabels: prometheus.Labels{"version": version, "revision": "unknown", "goversion": goversion},
	}, func() float64 { return 1 }))
}
