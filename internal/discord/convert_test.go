package discord

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
)

func testView() view {
	return view{thread: "100/200", self: "99", testBots: map[string]bool{"777": true}, resolver: testBook()}
}

// Each testdata/<name>.json is a message as Discord sends it; the golden file beside it is what is made of it.
func TestConvertGolden(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var m message
			if err := json.Unmarshal(raw, &m); err != nil && !partly(err) {
				t.Fatal(err)
			}
			v := testView()
			if m.Member != nil {
				v.name = m.Member.Nick
			}
			u, ok := convertMessage(&m, v)
			text := summary(u, ok)
			if u, ok := convertEdit(&m, v); ok {
				text += summary(u, ok)
			}
			golden(t, "convert_"+name, text)
		})
	}
}

// summary shows what an update says.
func summary(u bridge.Update, ok bool) string {
	if !ok {
		return "nothing\n"
	}
	text := fmt.Sprintf("%s %s in %s by %s %q\n", u.Kind, u.ID, u.Thread, u.Author.ID, u.Author.Name)
	if u.ReplyTo != "" {
		text += "reply to " + string(u.ReplyTo) + "\n"
	}
	if !u.Edited.IsZero() {
		text += "edited " + u.Edited.Format(time.RFC3339Nano) + "\n"
	}
	for _, f := range u.Files {
		text += fmt.Sprintf("file %s %q %q %d from %s, URL %q\n", f.BridgeFileID, f.Filename, f.MimeType, f.Size, f.UploadedFrom, f.URL)
	}
	return text + u.Text + "\n"
}

func TestConvertDelete(t *testing.T) {
	got := convertDelete(&deletion{ID: "5"}, "100/200")
	if len(got) != 1 || got[0].ID != "delete:5" || got[0].Message != "5" || got[0].Kind != bridge.UpdateDelete || got[0].Thread != "100/200" {
		t.Errorf("%+v", got)
	}
	if got := convertDelete(&deletion{MessageDeleteBulk: discordgo.MessageDeleteBulk{Messages: []string{"5", "x", "6"}}}, "100/200"); len(got) != 2 || got[1].Message != "6" {
		t.Errorf("%+v", got)
	}
}

func TestConvertReactionsAndTyping(t *testing.T) {
	for _, c := range []struct {
		name, fields string
		author       string // empty: it is nobody's
	}{
		{"with a nick", `"user_id":"500","member":{"nick":"Ana","user":{"id":"500","username":"ana_01"}}`, "Ana"},
		{"with a global name", `"user_id":"500","member":{"user":{"id":"500","username":"ana_01","global_name":"Ana R."}}`, "Ana R."},
		{"without a member", `"user_id":"500"`, "Team"},
		{"ours", `"user_id":"99","member":{"user":{"id":"99","bot":true}}`, ""},
		{"a bot's", `"user_id":"98","member":{"user":{"id":"98","bot":true}}`, ""},
		{"a test bot's", `"user_id":"777","member":{"user":{"id":"777","username":"tester","bot":true}}`, "tester"},
		{"nobody's", `"user_id":""`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := []byte(`{"channel_id":"200","message_id":"5","guild_id":"1","emoji":{"id":null,"name":"👍"},"timestamp":1,` + c.fields + `}`)
			var r reaction
			var y typing
			if json.Unmarshal(raw, &r) != nil || json.Unmarshal(raw, &y) != nil {
				t.Fatal("it cannot be read")
			}
			u, ok := convertReaction(&r, testView())
			if ok != (c.author != "") || ok && (u.Author.Name != c.author || u.ID != "reaction:5:"+u.Author.ID+":👍" || u.Message != "5" || u.Text != "👍") {
				t.Errorf("the reaction is %t %+v", ok, u)
			}
			u, ok = convertTyping(&y, testView())
			if ok != (c.author != "") || ok && (u.Author.Name != c.author || u.ID != "" || u.Cursor != "" || u.Kind != bridge.UpdateTyping) {
				t.Errorf("the typing is %t %+v", ok, u)
			}
		})
	}
}
