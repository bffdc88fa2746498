// Command pin puts the hash of what it means behind each tag of an action and of an image, in the workflows and in what builds and
// runs images:
//
//	go run ./scripts/pin
//
//	uses: actions/checkout@v7.0.1   becomes   uses: actions/checkout@<commit> # v7.0.1
//	image: redis:7.4                becomes   image: redis:7.4@sha256:<digest>
//
// What is pinned already is left as it is. It needs git, docker with buildx, and a network.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// files are those in which tags stand.
func files() []string {
	return []string{
		".github/workflows/*.yml", "deploy/Dockerfile", "docker-compose.yml", "docker-compose.embedded.yml", "deploy/kubernetes.yaml",
	}
}

var (
	// An action of a repository, by its full version: not one of this repository, nor one that is pinned.
	action = regexp.MustCompile(`(?m)(uses: )([\w.-]+/[\w.-]+)((?:/[\w./-]+)?)@(v\d[\w.-]*)[ \t]*$`)
	// An image with a tag. The bridge's own is what a release makes.
	image = regexp.MustCompile(`(?m)((?:image: |^FROM (?:--platform=\S+ )?))([a-z0-9][\w./-]*:[\w.-]+)([ \t]|$)`)
)

// own is the image that this repository makes: its hash comes to be after the files.
const own = "ghcr.io/pocketping/bridge:"

// lookup asks where the hashes are known.
type lookup struct {
	commit func(repository, tag string) (string, error)
	digest func(image string) (string, error)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(".", lookup{
		commit: func(repository, tag string) (string, error) {
			return commitOf(ctx, "https://github.com/"+repository, tag)
		},
		digest: func(image string) (string, error) { return digestOf(ctx, image) },
	}); err != nil {
		fmt.Fprintln(os.Stderr, "pin:", err)
		os.Exit(1)
	}
}

func run(root string, ask lookup) error {
	for _, pattern := range files() {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, name := range names {
			text, err := os.ReadFile(name) //nolint:gosec // of the repository
			if err != nil {
				return err
			}
			pinned, err := pin(string(text), ask)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if pinned == string(text) {
				continue
			}
			if err := os.WriteFile(name, []byte(pinned), 0o644); err != nil { //nolint:gosec // as it was
				return err
			}
			fmt.Println("pinned", name)
		}
	}
	return nil
}

// pin returns a text with hashes behind its tags.
func pin(text string, ask lookup) (string, error) {
	var fault error
	replace := func(pattern *regexp.Regexp, with func(m []string) (string, error)) {
		text = pattern.ReplaceAllStringFunc(text, func(whole string) string {
			out, err := with(pattern.FindStringSubmatch(whole))
			if err != nil {
				fault = err
				return whole
			}
			return out
		})
	}
	replace(action, func(m []string) (string, error) {
		commit, err := ask.commit(m[2], m[4])
		return m[1] + m[2] + m[3] + "@" + commit + " # " + m[4], err
	})
	replace(image, func(m []string) (string, error) {
		if strings.HasPrefix(m[2], own) {
			return m[0], nil
		}
		digest, err := ask.digest(m[2])
		return m[1] + m[2] + "@" + digest + m[3], err
	})
	return text, fault
}

// commitOf returns the commit of a repository's tag, that of an annotated tag included.
func commitOf(ctx context.Context, address, tag string) (string, error) {
	ref := "refs/tags/" + tag
	out, err := output(ctx, "git", "ls-remote", address, ref, ref+"^{}")
	if err != nil {
		return "", err
	}
	commit := ""
	for line := range strings.Lines(out) { // the tag itself, then what it is of
		hash, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if strings.TrimSuffix(name, "^{}") == ref {
			commit = hash
		}
	}
	if !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(commit) {
		return "", fmt.Errorf("%s has no tag %s", address, tag)
	}
	return commit, nil
}

// digestOf returns the digest of an image of all its platforms.
func digestOf(ctx context.Context, image string) (string, error) {
	out, err := output(ctx, "docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", image)
	if err != nil {
		return "", err
	}
	digest := strings.TrimSpace(out)
	if !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(digest) {
		return "", fmt.Errorf("%s: %q is no digest", image, digest)
	}
	return digest, nil
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var said strings.Builder
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // git or docker
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}
