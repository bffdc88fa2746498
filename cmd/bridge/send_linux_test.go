package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/slack"
)

// threads is how many threads and messages there are on the three platforms.
func (s *surroundings) threads() (telegram, discord, slack int) {
	return len(s.telegram.Topics(s.chat)), len(s.discord.Threads(s.channel)), len(s.slack.Messages(s.place, ""))
}

// TestCheckSends writes to each platform what somebody can look at, and takes it away.
func TestCheckSends(t *testing.T) {
	t.Parallel()
	s := newSurroundings(t)
	topics, _, _ := s.threads()
	p := sit(t, t.TempDir(), s.env, "check", "-online", "-send")
	for _, part := range []string{"ok    telegram: a message is in the thread", "ok    discord: a message is in the thread", "ok    slack: a message is in the thread"} {
		p.sees(part)
	}
	p.sees("Enter takes it away again:")
	if now, posts, messages := s.threads(); now != topics+1 || posts != 1 || messages == 0 {
		t.Errorf("%d topics, %d posts, %d messages", now-topics, posts, messages)
	}
	p.answers("", "")
	p.sees("all is well")
	if code, said := p.ends(); code != 0 || strings.Count(said, "taken away") != 3 {
		t.Errorf("it ends with %d:\n%s", code, said)
	}
	if now, posts, messages := s.threads(); now != topics || posts != 0 || messages != 0 {
		t.Errorf("left: %d topics, %d posts, %d messages", now-topics, posts, messages)
	}

	// Without a terminal it is taken away at once; what cannot be is named, and what cannot be sent is wrong.
	var out, errs bytes.Buffer
	s.slack.Next("chat.delete", slack.Fail("cant_delete_message"), slack.Fail("cant_delete_message"), slack.Fail("cant_delete_message"))
	code := run(t.Context(), []string{"check", "-send"}, func(name string) string { return s.env[name] }, &out, &errs)
	if said := out.String() + errs.String(); code != 0 || strings.Count(said, "taken away\n") != 2 || !strings.Contains(said, "is left (") {
		t.Errorf("it ends with %d:\n%s", code, said)
	}
	out.Reset()
	errs.Reset()
	s.discord.Next("create_message", discord.Fail(403, 50013, "Missing Permissions"))
	code = run(t.Context(), []string{"check", "-send"}, func(name string) string { return s.env[name] }, &out, &errs)
	if said := out.String() + errs.String(); code != 1 || !strings.Contains(said, "WRONG discord: nothing could be written: ") {
		t.Errorf("it ends with %d:\n%s", code, said)
	}
}
