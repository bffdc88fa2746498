package slack

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// listed returns the entries of a list in the manifest, which stands in one line each.
func listed(manifest, key string) []string {
	var out []string
	_, rest, _ := strings.Cut(manifest, "\n"+key+":\n")
	for line := range strings.Lines(rest) {
		entry, ok := strings.CutPrefix(strings.TrimSpace(line), "- ")
		if !ok {
			break
		}
		entry, _, _ = strings.Cut(entry, "#")
		out = append(out, strings.TrimSpace(entry))
	}
	return out
}

// The app that the manifest makes has all that is missed otherwise, and nothing that Slack does not have.
func TestManifest(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", "slack-manifest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	manifest := string(raw)
	scopes, events := listed(manifest, "    bot"), listed(manifest, "    bot_events")
	for _, channel := range []string{"C1", "G1"} {
		if missing := lacking(scopes, Config{ChannelID: channel, Username: "x"}); len(missing) > 0 {
			t.Errorf("the manifest lacks %q", missing)
		}
	}
	for _, scope := range []string{"channels:history", "groups:history", "channels:join", "channels:read", "commands"} {
		if !slices.Contains(scopes, scope) {
			t.Errorf("the manifest lacks %s", scope)
		}
	}
	for _, event := range []string{"app_mention", "message.channels", "message.groups", "reaction_added", "channel_left", "group_left"} {
		if !slices.Contains(events, event) {
			t.Errorf("the manifest lacks the event %s", event)
		}
	}
	if !strings.Contains(manifest, "\n  socket_mode_enabled: true\n") || !strings.Contains(manifest, "\n    - command: /bridge\n") {
		t.Error("the manifest lacks Socket Mode or the command")
	}
	specs := os.Getenv("PLATFORM_SPECS")
	if specs == "" {
		t.Log("PLATFORM_SPECS is not set: the events are not compared with Slack's definition")
		return
	}
	raw, err = os.ReadFile(filepath.Join(specs, "slack", "slack_events.json"))
	if err != nil {
		t.Fatal(err)
	}
	var definition struct {
		Events map[string]json.RawMessage `json:"events"`
	}
	if err := json.Unmarshal(raw, &definition); err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		if _, ok := definition.Events[event]; !ok {
			t.Errorf("Slack has no event %s", event)
		}
	}
}

// TestWordsOfTheDefinition looks up every word of the table of refusals in Slack's definition, where that is at hand. Those that
// no method's definition has are Slack's all the same, and are named here.
func TestWordsOfTheDefinition(t *testing.T) {
	specs := os.Getenv("PLATFORM_SPECS")
	if specs == "" {
		t.Log("PLATFORM_SPECS is not set: the refusals are not compared with Slack's definition")
		return
	}
	raw, err := os.ReadFile(filepath.Join(specs, "slack", "slack_methods.json"))
	if err != nil {
		t.Fatal(err)
	}
	var definition struct {
		Methods map[string]struct {
			Errors map[string]string `json:"errors"`
		} `json:"methods"`
	}
	if err := json.Unmarshal(raw, &definition); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range definition.Methods {
		for word := range m.Errors {
			known[word] = true
		}
	}
	for _, r := range rules() {
		for _, word := range r.says {
			if !known[word] {
				t.Errorf("Slack says nowhere %s", word)
			}
		}
		for _, op := range r.ops {
			if _, ok := definition.Methods[op]; !ok && op != opDownload {
				t.Errorf("Slack has no method %s", op)
			}
		}
	}
	// What a method that is called here may answer has a rule, or is of the content.
	ofContent := []string{"invalid", "too_", "_too_", "no_text", "markdown", "draft", "duplicate", "as_user", "send_on_behalf", "streaming", "method_",
		"deprecated", "missing_", "unknown_", "file", "slack_connect", "canvas", "template", "no_access", "not_reactable", "already", "no_reaction",
		"cant_", "team_not_found", "user", "metadata_", "attachment", "channels_limit", "_limit", "snippet", "is_bot", "block_mismatch", "bad_", "name_",
		"delete_not_allowed", "max_file", "unable_to", "no_item", "no_dual", "list_record", "insecure", "message_limit", "ratelimited", "rate_limited"}
	ruled := map[string]bool{}
	for _, r := range rules() {
		for _, word := range r.says {
			ruled[word] = true
		}
	}
	for _, op := range []string{opPost, opEdit, opDelete, opReact, opUnreact, opHistory, opReplies, opJoin, opSocket, opMe, opComplete, opTicket} {
		for word := range definition.Methods[op].Errors {
			if !ruled[word] && !slices.ContainsFunc(ofContent, func(part string) bool { return strings.Contains(word, part) }) {
				t.Errorf("nothing is known of %s, which %s may answer", word, op)
			}
		}
	}
}
