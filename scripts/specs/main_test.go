package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The fetch itself is run on a repository of the test's own: git is the same, only the network is missing.
func TestWriteSlack(t *testing.T) {
	repo := t.TempDir()
	for name, data := range map[string]string{
		"README.md":                           "nothing",
		"methods/chat/chat.update.json":       `{"group":"chat","name":"chat.update","deprecated":true,"args":{"ts":{"required":true}},"errors":{"no_text":"None."},"response":{}}`,
		"methods/api/api.test.json":           `{"name":"api.test","deprecated":false}`,
		"methods/_patches/chat/chat.x.json":   `{"arg_groups":[]}`,
		"methods/_errors/common.json":         `{"errors":{}}`,
		"methods/_undocumented/f/f.json":      `{"name":"f"}`,
		"events/message.json":                 `{"name": "message", "desc": "A message.", "scopes": [], "APIs": ["RTM"]}`,
		"events/_undocumented/something.json": `{"name":"something"}`,
	} {
		if err := os.MkdirAll(filepath.Join(repo, filepath.Dir(name)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(repo, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := git(t.Context(), repo, args...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	run("init", "--quiet")
	run("add", ".")
	run("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false", "commit", "--quiet", "-m", "one")

	s := source{"slack-ruby/slack-api-ref", run("rev-parse", "HEAD"), []string{"methods", "events"}, mergeSlack}
	dir := t.TempDir()
	if err := s.write(t.Context(), repo, dir); err != nil {
		t.Fatal(err)
	}

	want := map[string]string{
		"slack_methods.json": `{"source":"slack-ruby/slack-api-ref@` + s.commit + `","methods":{
			"api.test":{"deprecated":false,"args":{},"errors":{}},
			"chat.update":{"deprecated":true,"args":{"ts":{"required":true}},"errors":{"no_text":"None."}}}}`,
		"slack_events.json": `{"source":"slack-ruby/slack-api-ref@` + s.commit + `","events":{
			"message":{"name":"message","desc":"A message.","scopes":[],"APIs":["RTM"]}}}`,
	}
	for name, text := range want {
		data, err := os.ReadFile(filepath.Join(dir, "slack", name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(decode(t, []byte(text)), decode(t, data)); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}

func TestWriteWithoutTheCommit(t *testing.T) {
	repo := t.TempDir()
	if _, err := git(t.Context(), repo, "init", "--quiet"); err != nil {
		t.Fatal(err)
	}
	s := sources()[0]
	if err := s.write(t.Context(), repo, t.TempDir()); err == nil || !strings.Contains(err.Error(), "git fetch") {
		t.Errorf("got %v", err)
	}
}

func decode(t *testing.T, data []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
