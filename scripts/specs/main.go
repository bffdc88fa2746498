// Command specs fetches the platforms' machine-readable API definitions, at fixed commits of their public repositories, into
// ./specs, for the tests that check the bridge's requests against them:
//
//	go run ./scripts/specs
//
// It needs git and a network. All three sources are under the MIT licence.
package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"time"
)

const folder = "specs"

// source is what is taken of one repository.
type source struct {
	repo   string // on GitHub
	commit string
	paths  []string
	// convert turns the repository's files, by path, into ours.
	convert func(source, map[string][]byte) (map[string][]byte, error)
}

// sources are the definitions at the commits that the tests were written for.
func sources() []source {
	return []source{
		{
			"discord/discord-api-spec", "74fda0fad044407ea280043a03ffc9bc64c4e49e", []string{"specs/openapi.json"},
			one("specs/openapi.json", "discord/openapi.json"),
		},
		{
			"PaulSonOfLars/telegram-bot-api-spec", "160fd99507e1c7c77e92dc90f5993d724735b51c", []string{"api.json"},
			one("api.json", "telegram/api.json"),
		},
		{"slack-ruby/slack-api-ref", "f4837c0cb6dba1b1122ce66a5b69195ce47213f8", []string{"methods", "events"}, mergeSlack},
	}
}

func main() {
	if err := run(folder); err != nil {
		fmt.Fprintln(os.Stderr, "specs:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for _, s := range sources() {
		fmt.Printf("%s at %s\n", s.repo, s.commit)
		if err := s.write(ctx, "https://github.com/"+s.repo+".git", dir); err != nil {
			return fmt.Errorf("%s: %w", s.repo, err)
		}
	}
	return nil
}

// write fetches the source and writes its files under dir.
func (s source) write(ctx context.Context, url, dir string) error {
	files, err := s.fetch(ctx, url)
	if err != nil {
		return err
	}
	out, err := s.convert(s, files)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for name, data := range out {
		if err := root.MkdirAll(path.Dir(name), 0o750); err != nil {
			return err
		}
		if err := root.WriteFile(name, data, 0o600); err != nil {
			return err
		}
		fmt.Printf("  %s, %d bytes\n", filepath.Join(dir, name), len(data))
	}
	return nil
}

// fetch returns the source's files at its commit. What git fetches by a commit's id is what the id was made from.
func (s source) fetch(ctx context.Context, url string) (map[string][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "specs-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	if _, err := git(ctx, dir, "init", "--quiet", "--bare"); err != nil {
		return nil, err
	}
	if _, err := git(ctx, dir, "fetch", "--quiet", "--depth=1", url, s.commit); err != nil {
		return nil, err
	}
	archive, err := git(ctx, dir, append([]string{"archive", "--format=tar", s.commit}, s.paths...)...)
	if err != nil {
		return nil, err
	}
	return untar(bytes.NewReader(archive))
}

// git runs one git command in dir and returns what it printed.
func git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...) //nolint:gosec // the arguments are our own
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(exit.Stderr))
	}
	return out, err
}

// untar returns the regular files of an archive.
func untar(r io.Reader) (map[string][]byte, error) {
	files := map[string][]byte{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if files[h.Name], err = io.ReadAll(tr); err != nil {
			return nil, err
		}
	}
}

// one takes a single file under another name.
func one(from, to string) func(source, map[string][]byte) (map[string][]byte, error) {
	return func(_ source, files map[string][]byte) (map[string][]byte, error) {
		data := files[from]
		if !json.Valid(data) {
			return nil, fmt.Errorf("%s is missing or no JSON", from)
		}
		return map[string][]byte{to: data}, nil
	}
}

// mergeSlack makes one file of all methods, methods/<group>/<name>.json, and one of all events, events/<name>.json. Groups
// that begin with _ are the repository's own. Of a method only what a request is checked by is kept.
func mergeSlack(s source, files map[string][]byte) (map[string][]byte, error) {
	type method struct {
		Name       string                     `json:"name,omitempty"`
		Deprecated bool                       `json:"deprecated"`
		Args       map[string]json.RawMessage `json:"args"`
		Errors     map[string]string          `json:"errors"`
	}
	methods, events := map[string]method{}, map[string]json.RawMessage{}
	for name, data := range files {
		folder, isMethod := strings.CutPrefix(path.Dir(name), "methods/")
		switch {
		case path.Ext(name) != ".json":
		case isMethod && !strings.Contains(folder, "/") && !strings.HasPrefix(folder, "_"):
			var m method
			if err := json.Unmarshal(data, &m); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if m.Name == "" {
				return nil, fmt.Errorf("%s has no name", name)
			}
			key := m.Name
			m.Name = ""
			if m.Args == nil {
				m.Args = map[string]json.RawMessage{}
			}
			if m.Errors == nil {
				m.Errors = map[string]string{}
			}
			methods[key] = m
		case path.Dir(name) == "events":
			var e struct {
				Name string `json:"name"`
			}
			if err := json.Unmarshal(data, &e); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if e.Name == "" {
				return nil, fmt.Errorf("%s has no name", name)
			}
			events[e.Name] = data
		}
	}
	if len(methods) == 0 || len(events) == 0 {
		return nil, fmt.Errorf("%d methods and %d events are not all", len(methods), len(events))
	}
	origin := s.repo + "@" + s.commit
	methodsFile, err := json.Marshal(map[string]any{"source": origin, "methods": methods})
	if err != nil {
		return nil, err
	}
	eventsFile, err := json.Marshal(map[string]any{"source": origin, "events": events})
	if err != nil {
		return nil, err
	}
	return map[string][]byte{"slack/slack_methods.json": methodsFile, "slack/slack_events.json": eventsFile}, nil
}
