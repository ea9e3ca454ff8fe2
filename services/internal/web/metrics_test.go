package web_test

import (
	"runtime"
	"testing"

	"freshet.dev/services/internal/web"
)

func TestBuildInfo(t *testing.T) {
	families, err := web.NewRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "freshet_build_info" {
			continue
		}
		labels := map[string]string{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if len(labels) != 3 || labels["version"] == "" || labels["revision"] == "" || labels["goversion"] != runtime.Version() || f.GetMetric()[0].GetGauge().GetValue() != 1 {
			t.Errorf("the metric is %v", f)
		}
		return
	}
	t.Error("there is no freshet_build_info")
}
