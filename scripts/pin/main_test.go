package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func known() lookup {
	return lookup{
		commit: func(repository, tag string) (string, error) { return "commit-of-" + repository + "-" + tag, nil },
		digest: func(image string) (string, error) { return "sha256:of-" + image, nil },
	}
}

func TestPin(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"      - uses: actions/checkout@v7.0.1\n", "      - uses: actions/checkout@commit-of-actions/checkout-v7.0.1 # v7.0.1\n"},
		{"uses: anchore/sbom-action/download-syft@v0.24.0", "uses: anchore/sbom-action/download-syft@commit-of-anchore/sbom-action-v0.24.0 # v0.24.0"},
		{"uses: a/b@0123456789012345678901234567890123456789 # v1", "uses: a/b@0123456789012345678901234567890123456789 # v1"},
		{"uses: ./here", "uses: ./here"},
		{"    image: redis:7.4\n", "    image: redis:7.4@sha256:of-redis:7.4\n"},
		{"    image: redis:7.4@sha256:abc\n", "    image: redis:7.4@sha256:abc\n"},
		{"image: ghcr.io/pocketping/bridge:latest", "image: ghcr.io/pocketping/bridge:latest"},
		{
			"FROM --platform=$BUILDPLATFORM golang:1.26 AS build\nFROM scratch\n",
			"FROM --platform=$BUILDPLATFORM golang:1.26@sha256:of-golang:1.26 AS build\nFROM scratch\n",
		},
	} {
		got, err := pin(test.text, known())
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%v: -want +pinned\n%s", err, diff)
		}
	}
	fault := errors.New("no network")
	if _, err := pin("image: redis:7.4", lookup{digest: func(string) (string, error) { return "", fault }}); !errors.Is(err, fault) {
		t.Errorf("a look-up that fails ends with %v", err)
	}
}

// Every tag of ours is one that can be pinned: full versions of actions, and images with a tag.
func TestOurs(t *testing.T) {
	count := 0
	for _, pattern := range files() {
		names, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil || len(names) == 0 {
			t.Errorf("%s: %d files, %v", pattern, len(names), err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			pinned, err := pin(string(text), known())
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(pinned) {
				line = strings.TrimSpace(line)
				switch m := regexp.MustCompile(`^(?:- )?uses: [^@]*@(\S+)( # v\d+\.\d+\.\d+)?$`).FindStringSubmatch(line); {
				case strings.Contains(line, "uses: "):
					if count++; m == nil || m[2] == "" {
						t.Errorf("%s: %q is not pinned to a full version", name, line)
					}
				case strings.HasPrefix(line, "image: "), strings.HasPrefix(line, "FROM ") && line != "FROM scratch":
					if count++; !strings.Contains(line, "@sha256:") && !strings.Contains(line, own) {
						t.Errorf("%s: %q is not pinned", name, line)
					}
				}
			}
		}
	}
	if count < 10 {
		t.Errorf("only %d were found", count)
	}
}

func TestCommitOf(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=n", "-c", "user.email=e"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	git("commit", "-q", "--allow-empty", "-m", "one")
	git("tag", "v1.0.0")
	git("tag", "-a", "-m", "two", "v2.0.0")
	for _, tag := range []string{"v1.0.0", "v2.0.0"} {
		if got, err := commitOf(t.Context(), dir, tag); err != nil || got != git("rev-parse", "HEAD") {
			t.Errorf("%s: %q, %v", tag, got, err)
		}
	}
	if got, err := commitOf(t.Context(), dir, "v3.0.0"); err == nil {
		t.Errorf("a tag that is not there is %q", got)
	}
}
