package telegram

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTableAgreesWithTheDefinition holds the committed tables against the machine-readable definition, where it is at hand.
func TestTableAgreesWithTheDefinition(t *testing.T) {
	dir := os.Getenv("PLATFORM_SPECS")
	if dir == "" {
		t.Log("PLATFORM_SPECS is not set: the tables are not compared with the Bot API's definition")
		return
	}
	raw, err := os.ReadFile(filepath.Join(dir, "telegram", "api.json"))
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Subtypes []string `json:"subtypes"`
		Fields   []struct {
			Name        string   `json:"name"`
			Types       []string `json:"types"`
			Required    bool     `json:"required"`
			Description string   `json:"description"`
		} `json:"fields"`
	}
	var spec struct {
		Version string           `json:"version"`
		Methods map[string]entry `json:"methods"`
		Types   map[string]entry `json:"types"`
	}
	if err := json.Unmarshal(raw, &spec); err != nil {
		t.Fatal(err)
	}
	if spec.Version != specVersion {
		t.Errorf("the definition is of %s, the tables are of %s", spec.Version, specVersion)
	}
	type row struct {
		Name, Type string
		Required   bool
	}
	compare := func(t *testing.T, d definition, from map[string]entry) {
		t.Helper()
		e, ok := from[d.Name]
		if !ok {
			t.Errorf("%s is not in the definition", d.Name)
			return
		}
		var want, got []row
		for _, f := range e.Fields {
			want = append(want, row{f.Name, strings.Join(f.Types, " or "), f.Required})
		}
		for _, f := range d.Fields {
			got = append(got, row{f.Name, f.Type, f.Need == required})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-definition +table):\n%s", d.Name, diff)
		}
	}
	for _, m := range methodTable() {
		compare(t, m, spec.Methods)
	}
	for _, d := range typeTable() {
		compare(t, d, spec.Types)
	}
	for name, variants := range unionTable() {
		if diff := cmp.Diff(spec.Types[name].Subtypes, variants); diff != "" {
			t.Errorf("%s (-definition +table):\n%s", name, diff)
		}
	}
	var kinds []string
	for _, f := range spec.Types["Update"].Fields[1:] {
		kinds = append(kinds, f.Name)
	}
	if diff := cmp.Diff(kinds, updateKinds()); diff != "" {
		t.Errorf("updates (-definition +table):\n%s", diff)
	}
	for _, f := range spec.Types["ReactionTypeEmoji"].Fields {
		if f.Name != "emoji" {
			continue
		}
		quoted := strings.Split(f.Description, `"`)
		var emoji []string
		for i := 1; i < len(quoted); i += 2 {
			emoji = append(emoji, quoted[i])
		}
		if diff := cmp.Diff(emoji, reactionEmoji()); diff != "" {
			t.Errorf("reactions (-definition +table):\n%s", diff)
		}
	}

	// What the sandbox says of itself is held against the definition too: every field that it ever writes.
	s := New(Options{PrivateTopics: true})
	group := s.AddChat(Chat{Kind: Forum, Username: "support"})
	user := s.AddUser(User{LastName: "L", Username: "u"})
	private := s.AddChat(Chat{Kind: Private, User: user.ID})
	topic := s.OpenTopic(group, user.ID, "x")
	said := s.Send(Post{Chat: group, Topic: topic.ID, User: user.ID, Text: `/a <a href="https://a.example/">b</a>`, HTML: true})
	s.Send(Post{Chat: group, Topic: topic.ID, Anonymous: true, Signature: "boss", Text: "x", ReplyTo: said.ID})
	s.Say(private, 0, user.ID, "hello")
	s.Edit(said, "y")
	for _, kind := range []string{"photo", "video", "animation", "audio", "voice", "video_note", "sticker", "document"} {
		s.Upload(Upload{Chat: group, Topic: topic.ID, User: user.ID, Kind: kind, Name: "a.bin", Type: "a/b", Content: []byte("x"),
			Caption: "c", Album: "9"})
	}
	for _, fields := range []map[string]any{Location(1, 2), Contact("+1", "A", "B"), Poll("q", "a", "b")} {
		s.Send(Post{Chat: group, Topic: topic.ID, User: user.ID, Fields: fields})
	}
	board := json.RawMessage(`{"inline_keyboard":[[{"text":"A","callback_data":"a"}]]}`)
	if _, err := s.run(t.Context(), "sendMessage", params{
		"chat_id": strconv.FormatInt(group, 10), "text": "buttons", "reply_markup": string(board),
	}, nil); err != nil {
		t.Fatal(err)
	}
	general := s.Messages(group, 0)
	s.Press(general[len(general)-1], user.ID, "a")
	s.inbox.allowed = map[string]bool{"message_reaction": true, "my_chat_member": true}
	s.React(said, user.ID, "👍")
	s.SetBot(group, BotRights{Status: Administrator})
	var updates []json.RawMessage
	for _, u := range s.inbox.queue {
		updates = append(updates, u.body)
	}
	me, err := json.Marshal(s.getMe())
	if err != nil {
		t.Fatal(err)
	}
	fields := func(kind string) (names, must []string, types map[string]string) {
		types = make(map[string]string)
		for _, f := range spec.Types[kind].Fields {
			names = append(names, f.Name)
			types[f.Name] = strings.ReplaceAll(f.Types[0], "Array of ", "")
			if f.Required {
				must = append(must, f.Name)
			}
		}
		return names, must, types
	}
	var check func(kind string, v any)
	check = func(kind string, v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				check(kind, one)
			}
		case map[string]any:
			if kind == "ChatMember" {
				kind = map[string]string{"administrator": "ChatMemberAdministrator"}[v["status"].(string)]
			}
			if kind == "MaybeInaccessibleMessage" {
				kind = "Message"
			}
			if kind == "ReactionType" {
				kind = "ReactionTypeEmoji"
			}
			names, must, types := fields(kind)
			for name, inner := range v {
				if !slices.Contains(names, name) {
					t.Errorf("the sandbox writes %s.%s, which is not in the definition", kind, name)
				}
				check(types[name], inner)
			}
			for _, name := range must {
				if _, ok := v[name]; !ok {
					t.Errorf("the sandbox writes a %s without %s", kind, name)
				}
			}
		}
	}
	for kind, list := range map[string][]json.RawMessage{"Update": updates, "User": {me}} {
		for _, raw := range list {
			var v any
			if err := json.Unmarshal(raw, &v); err != nil {
				t.Fatal(err)
			}
			check(kind, v)
		}
	}
	for _, f := range s.files {
		file, err := s.getFile(params{"file_id": f.ID})
		if err != nil {
			t.Fatal(err)
		}
		check("File", map[string]any(file.(object)))
	}
	full, err := s.getChat(params{"chat_id": "@support"})
	if err != nil {
		t.Fatal(err)
	}
	hook, err := json.Marshal([]any{full, s.getWebhookInfo()})
	if err != nil {
		t.Fatal(err)
	}
	var both []any
	if err := json.Unmarshal(hook, &both); err != nil {
		t.Fatal(err)
	}
	check("ChatFullInfo", both[0])
	check("WebhookInfo", both[1])
}
