package session

import (
	"fmt"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/gsmeval/gsmeval/decode/checkpoint"
)

func TestAvailableMemory(t *testing.T) {
	t.Parallel()
	files := func(pairs ...string) fstest.MapFS {
		m := fstest.MapFS{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
		}
		return m
	}
	const meminfo = "MemTotal:       2000 kB\nMemAvailable:   1000 kB\n"
	for name, c := range map[string]struct {
		root fstest.MapFS
		free int64
		by   string
	}{
		"nothing known": {files(), 0, "memory"},
		"no cgroup":     {files("proc/meminfo", meminfo), 1000 << 10, "memory"},
		"version 2": {files("proc/meminfo", meminfo, "proc/self/cgroup", "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max", "max\n", "sys/fs/cgroup/a/b/memory.current", "5\n",
			"sys/fs/cgroup/a/memory.max", "500000\n", "sys/fs/cgroup/a/memory.current", "400000\n",
			"sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 7\n"), 100007, "cgroup"},
		"version 2, container": {files("proc/meminfo", meminfo, "proc/self/cgroup", "0::/\n",
			"sys/fs/cgroup/memory.max", "900\n", "sys/fs/cgroup/memory.current", "1000\n"), 1, "cgroup"},
		"version 1": {files("proc/meminfo", meminfo, "proc/self/cgroup", "4:cpu:/x\n3:memory:/c\n",
			"sys/fs/cgroup/memory/c/memory.limit_in_bytes", "2000\n", "sys/fs/cgroup/memory/c/memory.usage_in_bytes",
			"1500\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n"), 500, "cgroup"},
		"wide limit": {files("proc/meminfo", meminfo, "proc/self/cgroup", "0::/\n",
			"sys/fs/cgroup/memory.max", "900000000\n", "sys/fs/cgroup/memory.current", "1000\n"), 1000 << 10, "memory"},
	} {
		if free, by := AvailableMemory(c.root); free != c.free || by != c.by {
			t.Errorf("%s: %d by %s, want %d by %s", name, free, by, c.free, c.by)
		}
	}
}

func TestMemoryNeed(t *testing.T) {
	t.Parallel()
	cfg := checkpoint.Config{NumLayers: 3, NumKVHeads: 2, HeadDim: 8, VocabSize: 100}
	m := MemoryNeed(cfg, 1000, "float32", 4, 50, fstest.MapFS{})
	if m.Weights != 4000 || m.Cache != 2*4*3*2*8*4*50 || m.Need != m.Weights+m.Cache+m.Other || !m.Fits() {
		t.Errorf("%+v", m)
	}
	half := MemoryNeed(cfg, 1000, "bfloat16", 4, 50,
		fstest.MapFS{"proc/meminfo": {Data: []byte("MemAvailable: 9 kB\n")}})
	if half.Weights != 2000 || 2*half.Cache != m.Cache || half.Fits() {
		t.Errorf("%+v", half)
	}
}

func TestAutoBatch(t *testing.T) {
	t.Parallel()
	cfg := checkpoint.Config{NumLayers: 10, NumKVHeads: 8, HeadDim: 64, VocabSize: 1000, MaxPositions: 4096} // 40 kB a position
	root := func(gib int64) fs.FS {
		return fstest.MapFS{"proc/meminfo": {Data: fmt.Appendf(nil, "MemTotal: %d kB\nMemAvailable: 1 kB\n", gib<<20)}}
	}
	for _, c := range []struct {
		gib    int64
		maxNew int
		want   int
	}{
		{1, 1024, 2}, {2, 1024, 8}, {4, 1024, 16}, {64, 1024, 64}, {1000, 1024, 64}, // 80 MiB a sequence
		{4, 3072, 8}, {4, 100_000, 8}, // as long as the model can: 160 MiB a sequence
		{4, 10, 32}, // room for a prompt
		{0, 1024, 32},
	} {
		if got := autoBatch(cfg, 1_000_000, "float32", c.maxNew, root(c.gib)); got != c.want {
			t.Errorf("%d GiB, %d new tokens: %d sequences, want %d", c.gib, c.maxNew, got, c.want)
		}
	}
	if got := autoBatch(cfg, 400_000_000, "float32", 1024, root(2)); got != 1 {
		t.Errorf("a model that is too large gets %d sequences, want 1", got)
	}
}
