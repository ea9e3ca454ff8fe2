package memory

import (
	"errors"
	"math"
	"runtime"
	"testing"
	"testing/fstest"
)

func TestLeft(t *testing.T) {
	const none = math.MaxInt64
	for name, tc := range map[string]struct {
		files             map[string]string
		limit, used, free int64 // of the runtime
		want              int64
		by                string
	}{
		"no limit":    {nil, none, 5, 5, -1, ""},
		"go":          {nil, 100, 30, 7, 77, "GOMEMLIMIT"},
		"go, overrun": {nil, 100, 130, 7, 7, "GOMEMLIMIT"},
		"machine":     {map[string]string{"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    2 kB\n"}, none, 0, 0, 2048, "the memory of the machine"},
		"group": {map[string]string{
			"proc/meminfo": "MemAvailable: 2000 kB\n", "proc/self/cgroup": "0::/app/web\n",
			"sys/fs/cgroup/app/web/memory.max": "max\n", "sys/fs/cgroup/app/web/memory.current": "300\n",
			"sys/fs/cgroup/app/memory.max": "1000\n", "sys/fs/cgroup/app/memory.current": "600\n", "sys/fs/cgroup/app/memory.stat": "anon 5\ninactive_file 50\n",
		}, none, 0, 9, 459, "the control group /app"},
		"group of a container": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000\n", "sys/fs/cgroup/memory.current": "600\n",
		}, 10_000, 0, 0, 400, "the control group /"},
		"version 1": {map[string]string{
			"proc/self/cgroup":                           "4:cpu,cpuacct:/x\n3:memory:/docker/abc\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "5000\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "4000\n", "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 100\n",
		}, none, 0, 0, 1100, "the control group /"},
		"version 1 without a limit": {map[string]string{
			"proc/self/cgroup":                           "3:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "4000\n",
		}, none, 0, 0, -1, ""},
		"damaged files": {map[string]string{
			"proc/self/cgroup": "x\n0::/../../a\n::\n", "proc/meminfo": "MemAvailable:\nMemAvailable: x kB", "sys/fs/cgroup/memory.max": "7 7",
		}, none, 0, 0, -1, ""},
	} {
		root := fstest.MapFS{}
		for file, text := range tc.files {
			root[file] = &fstest.MapFile{Data: []byte(text)}
		}
		r := &Reader{root: root, runtime: func() (int64, int64, int64) { return tc.limit, tc.used, tc.free }}
		got, err := r.Left()
		if tc.want < 0 {
			if !errors.Is(err, ErrUnknown) {
				t.Errorf("%s: %+v, %v; want ErrUnknown", name, got, err)
			}
		} else if err != nil || got != (Room{tc.want, tc.by}) {
			t.Errorf("%s: %+v, %v; want %d by %s", name, got, err, tc.want, tc.by)
		}
	}
}

func TestProcess(t *testing.T) {
	got, err := Process().Left()
	if runtime.GOOS != "linux" {
		return // GOMEMLIMIT alone
	}
	if err != nil || got.Bytes <= 0 || got.Limit == "" {
		t.Errorf("%+v, %v", got, err)
	}
}
