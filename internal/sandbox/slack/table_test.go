package slack

import (
	stdcmp "cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTableAgreesWithTheDefinition holds the committed tables against the machine-readable definition, where it is at hand.
func TestTableAgreesWithTheDefinition(t *testing.T) {
	dir := os.Getenv("PLATFORM_SPECS")
	if dir == "" {
		t.Log("PLATFORM_SPECS is not set: the tables are not compared with Slack's definition")
		return
	}
	read := func(name string, into any) {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join(dir, "slack", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	// A type is a name, a list of names, or missing.
	var methods struct {
		Source  string `json:"source"`
		Methods map[string]struct {
			Args map[string]struct {
				Required bool `json:"required"`
				Type     any  `json:"type"`
			} `json:"args"`
			Errors     map[string]string `json:"errors"`
			Deprecated bool              `json:"deprecated"`
		} `json:"methods"`
	}
	read("slack_methods.json", &methods)
	if !strings.HasSuffix(methods.Source, "@"+specCommit) {
		t.Errorf("the definition is %s, the tables are of %s", methods.Source, specCommit)
	}
	type row struct {
		Type     string
		Required bool
	}
	for _, m := range methodTable() {
		spec, ok := methods.Methods[m.Name]
		if !ok || spec.Deprecated {
			t.Errorf("%s is not in the definition, or deprecated", m.Name)
			continue
		}
		want, got := make(map[string]row), make(map[string]row)
		for name, a := range spec.Args {
			kind, _ := a.Type.(string)
			if list, ok := a.Type.([]any); ok {
				var names []string
				for _, one := range list {
					name, _ := one.(string)
					names = append(names, name)
				}
				kind = strings.Join(names, " or ")
			}
			want[name] = row{kind, a.Required}
		}
		for _, a := range m.Args {
			if a.Need != former {
				got[a.Name] = row{a.Type, a.Need == required}
			} else if _, ok := spec.Args[a.Name]; ok {
				t.Errorf("%s: the argument %s is in the definition", m.Name, a.Name)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-definition +table):\n%s", m.Name, diff)
		}
		for _, says := range m.Errors {
			if _, ok := spec.Errors[says]; !ok {
				t.Errorf("%s: the error %s is not in the definition", m.Name, says)
			}
		}
		for _, says := range m.Seen {
			if _, ok := spec.Errors[says]; ok {
				t.Errorf("%s: the error %s is in the definition", m.Name, says)
			}
		}
	}
	for _, says := range commonErrors() {
		if _, ok := methods.Methods["auth.test"].Errors[says]; !ok {
			t.Errorf("the error %s is not common", says)
		}
	}

	var events struct {
		Events map[string]struct {
			APIs    []string       `json:"APIs"`
			Example map[string]any `json:"example"`
			Scopes  []string       `json:"scopes"`
		} `json:"events"`
	}
	read("slack_events.json", &events)
	for _, name := range eventTable() {
		if e, ok := events.Events[name]; !ok || !slices.Contains(e.APIs, "Events") {
			t.Errorf("the event %s is not in the definition of the Events API", name)
		}
	}

	// Every event that the sandbox writes is held against the definition's example of it, which has all fields there are but
	// those of Enterprise Grid and of other kinds of channels.
	o := newOffice(t, Options{})
	private := o.AddChannel(Channel{Kind: Private, Name: "p"})
	direct := o.AddChannel(Channel{Kind: Direct, User: o.ana.ID})
	o.Say(direct, "", o.ana.ID, "x")
	m := o.Upload(Attachment{Post: Post{Channel: o.channel, User: o.ana.ID, Text: "@bridge"}, Name: "a.txt", Content: []byte("a")})
	o.React(m, o.ana.ID, "eyes")
	o.Unreact(m, o.ana.ID, "eyes")
	o.DeleteFile(m.Files[0].ID)
	o.Join(o.channel, o.ana.ID)
	o.Say(private, "", o.ana.ID, "x")
	o.RemoveBot(o.channel)
	o.RemoveBot(private)
	o.Revoke("")
	seen := make(map[string]bool)
	for _, e := range o.outbox.pending {
		var payload struct {
			Event map[string]any `json:"event"`
		}
		if err := json.Unmarshal(e.payload, &payload); err != nil {
			t.Fatal(err)
		}
		kind, _ := payload.Event["type"].(string)
		if kind == "message" {
			place, _ := payload.Event["channel_type"].(string)
			seen["message."+map[string]string{"channel": "channels", "group": "groups", "im": "im"}[place]] = true
			continue
		}
		seen[kind] = true
		example := events.Events[kind].Example
		if len(example) == 0 {
			continue
		}
		for name := range payload.Event {
			if _, ok := example[name]; !ok && name != "event_ts" && name != "actor_id" {
				t.Errorf("the sandbox writes %s.%s, which is not in the definition", kind, name)
			}
		}
		for name := range example {
			if _, ok := payload.Event[name]; !ok && name != "enterprise" && name != "inviter" {
				t.Errorf("the sandbox writes a %s without %s", kind, name)
			}
		}
	}
	for _, name := range eventTable() {
		if !seen[name] {
			t.Errorf("no control causes the event %s", name)
		}
	}
}

// TestTableIsServed: the table has no method that is not served, and each scope that it asks for can be had.
func TestTableIsServed(t *testing.T) {
	for _, m := range methodTable() {
		o := newOffice(t, Options{})
		pairs := []string{"token", o.BotToken()}
		if m.App {
			pairs[1] = o.AppToken()
		}
		for _, a := range m.Args {
			if a.Need == required {
				pairs = append(pairs, a.Name, stdcmp.Or(map[string]string{"array": "[]"}[a.Type], "1"))
			}
		}
		if got := says(call(t, o.Server, m.Name, pairs...)); got == "unknown_method" {
			t.Errorf("%s is not served", m.Name)
		}
		for _, scope := range m.Scopes {
			if !slices.Contains(allScopes(), scope) {
				t.Errorf("%s: nobody has the scope %s", m.Name, scope)
			}
		}
	}
}
