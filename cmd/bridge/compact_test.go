package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCompact(t *testing.T) {
	r := newRig(t)
	stores()["bolt"](t, r.env)
	path := filepath.Join(r.env["DATA_DIR"], "bridge.db")
	if code, _, stderr := command(t, r.env, "compact"); code != 1 || !strings.Contains(stderr, "there is no store at "+path) {
		t.Errorf("before the first start it ends with %d and says %s", code, stderr)
	}
	p := r.start()
	r.must("/api/messages", message("mia", "m1", "one"))
	r.until("in the topic", func() bool { return len(r.topics("mia")) == 1 })
	if code, _, stderr := command(t, r.env, "compact"); code != 1 || !strings.Contains(stderr, "another bridge has it open; stop that one") {
		t.Errorf("beside a bridge it ends with %d and says %s", code, stderr)
	}
	r.must("/api/messages", message("mia", "m2", "two"))
	r.until("in the topic", func() bool { return len(r.shown(r.topics("mia")[0].ID)) == 2 })
	p.Exit()

	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(t, r.env, "compact")
	if code != 0 || stderr != "" || !strings.HasPrefix(stdout, path+": "+sizeText(before.Size())+" before, ") {
		t.Errorf("it ends with %d and says %s%s", code, stdout, stderr)
	}
	if after, err := os.Stat(path); err != nil || after.Size() > before.Size() || !strings.HasSuffix(stdout, sizeText(after.Size())+" after\n") {
		t.Errorf("the file has %d bytes of %d, %v; it says %s", after.Size(), before.Size(), err, stdout)
	}
	r.start()
	r.must("/api/messages", message("mia", "m3", "three"))
	r.until("in the same topic", func() bool {
		return slices.Equal(r.shown(r.topics("mia")[0].ID), []string{"one", "two", "three"})
	})

	env := map[string]string{"REDIS_URL": "redis://127.0.0.1:1"} // nobody is asked
	if code, stdout, stderr := command(t, env, "compact"); code != 0 || !strings.Contains(stdout, "there is no file to compact") {
		t.Errorf("with Redis it ends with %d and says %s%s", code, stdout, stderr)
	}
}

func TestSizeText(t *testing.T) {
	for n, want := range map[int64]string{0: "0.0 KiB", 20480: "20.0 KiB", 1 << 20: "1.0 MiB", 1<<30 + 1<<29: "1.5 GiB"} {
		if got := sizeText(n); got != want {
			t.Errorf("%d bytes are %s", n, got)
		}
	}
}
