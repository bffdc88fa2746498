package main

import (
	"runtime/debug"
	"testing"
)

func TestVersionOf(t *testing.T) {
	const revision = "12f5bfd0123456789abcdef0123456789abcdef0"
	for _, test := range []struct {
		name, module, revision, modified, want string
	}{
		{"go install of a release", "v1.2.3", "", "", "v1.2.3"},
		{"go install of a commit", "v0.0.0-20261129220000-12f5bfd01234", "", "", "v0.0.0-20261129220000-12f5bfd01234"},
		{"go build in a clone", "v0.0.0-20261129220000-12f5bfd01234", revision, "false", "12f5bfd01234"},
		{"go build in a clone with changes", "v0.0.0-20261129220000-12f5bfd01234+dirty", revision, "true", "12f5bfd01234+dirty"},
		{"go build after a release", "v1.2.4-0.20261129220000-12f5bfd01234", revision, "false", "12f5bfd01234"},
		{"go build of a tag", "v1.2.3", revision, "false", "v1.2.3"},
		{"go build of a tag with changes", "v1.2.3+dirty", revision, "true", "v1.2.3+dirty"},
		{"go build by an older Go", "(devel)", revision, "true", "12f5bfd01234+dirty"},
		{"go build without git", "(devel)", "", "", "dev"},
		{"no module", "", "", "", "dev"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: test.module}}
		if test.revision != "" {
			info.Settings = []debug.BuildSetting{
				{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: test.revision}, {Key: "vcs.modified", Value: test.modified},
			}
		}
		if got := versionOf(info); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
