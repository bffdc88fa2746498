package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// toldEdit is an operator_message_edited as the app gets it.
type toldEdit struct {
	MessageID   string `json:"messageId"`
	Content     string `json:"content"`
	Attachments *[]struct {
		Filename string `json:"filename"`
		URL      string `json:"url"`
	} `json:"attachments"`
}

func (r *rig) edits() []toldEdit {
	r.t.Helper()
	var out []toldEdit
	for _, e := range r.app.of("operator_message_edited") {
		var one toldEdit
		if err := json.Unmarshal(e.body, &one); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, one)
	}
	return out
}

// everywhere is a rig with a visitor's thread on all platforms; the threads are by platform.
func everywhere(t *testing.T) (r *rig, threads map[string]string) {
	t.Helper()
	r = newRig(t)
	r.use("telegram", "discord text", "slack socket")
	stores()["bolt"](t, r.env)
	r.start()
	r.must("/api/messages", message("mia", "m1", "hello"))
	threads = map[string]string{}
	r.until("in all threads", func() bool {
		for _, b := range r.boards {
			if all := b.threads("mia"); len(all) == 1 {
				threads[b.name()] = all[0]
			}
		}
		return len(threads) == 3
	})
	return r, threads
}

// settled waits until what operators wrote so far is told, on all platforms.
func (r *rig) settled(threads map[string]string) {
	r.t.Helper()
	for _, b := range r.boards {
		id := b.say(threads[b.name()], "that was it")
		r.until("told", func() bool {
			return slices.ContainsFunc(r.app.of("operator_message"), func(e received) bool { return e.MessageID == id })
		})
	}
}

// What the platforms tell of as of an edit, and is none: Telegram a first reaction, the moves of a live location; the others a preview.
func TestNoEdits(t *testing.T) {
	t.Parallel()
	r, threads := everywhere(t)
	topic, _ := strconv.Atoi(threads["telegram"])
	said := r.telegram.Say(r.chat, topic, r.ana.ID, "Your order ships today")
	place := r.telegram.Send(telegram.Post{Chat: r.chat, Topic: topic, User: r.ana.ID, Fields: map[string]any{
		"location": map[string]any{"latitude": 52.5, "longitude": 13.4, "live_period": 900},
	}})
	r.until("told", func() bool { return len(r.app.of("operator_message")) == 2 })
	if got := r.app.of("operator_message")[1].Content; got != "[location: 52.500000, 13.400000]" {
		t.Errorf("the place is %q", got)
	}
	for range 3 {
		r.telegram.Edit(said, "Your order ships today")
		r.telegram.Move(place, 52.6, 13.5)
	}
	d := r.boards[1].(*discordBoard)
	d.server.Unfurl(d.server.Say(threads["discord"], d.ana, "see https://example.com"), discord.Embed{Title: "internal"})
	s := r.boards[2].(*slackBoard)
	s.server.Unfurl(s.server.Say(s.channel, threads["slack"], s.ana, "see https://example.com"), "https://example.com")
	r.settled(threads)
	if got := r.edits(); len(got) > 0 {
		t.Errorf("the app was told of the edits %+v", got)
	}
	// A card follows what is said.
	for _, c := range d.server.Calls() {
		if c.Method == "update_message" && c.Params["channel_id"] == threads["discord"] {
			t.Errorf("Discord was called for an edit: %+v", c)
		}
	}
	for _, c := range s.server.Calls() {
		if c.Method == "chat.update" && c.Params["ts"] != threads["slack"] {
			t.Errorf("Slack was called for an edit: %+v", c)
		}
	}
	for _, e := range r.app.of("operator_message") {
		if strings.Contains(string(e.body), "internal") || strings.Contains(e.Content, "What is on the page") {
			t.Errorf("the app was told what nobody said: %s", e.body)
		}
	}
	// A real one is told.
	r.telegram.Edit(said, "Your order ships tomorrow")
	r.until("told of the edit", func() bool { return len(r.edits()) == 1 })
	if got := r.edits()[0]; got.Content != "Your order ships tomorrow" || got.Attachments != nil {
		t.Errorf("%+v", got)
	}
}

// Files that are replaced or taken away are told to the app, and to the operator what the visitor may still see.
func TestEditedFiles(t *testing.T) {
	t.Parallel()
	r, threads := everywhere(t)
	topic, _ := strconv.Atoi(threads["telegram"])
	photo := func(content string) telegram.Upload {
		return telegram.Upload{Chat: r.chat, Topic: topic, User: r.ana.ID, Kind: "photo", Content: []byte("\x89PNG\r\n\x1a\n" + content)}
	}
	named := photo("old")
	named.Caption = "see"
	shown := r.telegram.Upload(named)
	r.until("told", func() bool { return len(r.app.of("operator_message")) == 1 })
	r.telegram.Replace(shown, photo("new and longer"))
	r.until("told of another file", func() bool { return len(r.edits()) == 1 })
	got := r.edits()[0]
	if got.MessageID != "telegram:"+strconv.Itoa(shown.ID) || got.Content != "see" || got.Attachments == nil || len(*got.Attachments) != 1 ||
		(*got.Attachments)[0].URL == "" {
		t.Errorf("%+v", got)
	}
	const hint = "The visitor's app was told which files this message has now."
	r.until("the operator is told", func() bool {
		return slices.ContainsFunc(r.boards[0].shown(threads["telegram"]), func(text string) bool { return strings.HasPrefix(text, hint) })
	})
	r.telegram.Edit(shown, "") // what is left has no text: the app is told which files there are
	r.until("told of the caption", func() bool { return len(r.edits()) == 2 })
	if got := r.edits()[1]; got.Content != "" || got.Attachments == nil || len(*got.Attachments) != 1 {
		t.Errorf("%+v", got)
	}

	d := r.boards[1].(*discordBoard)
	said := d.server.Upload(threads["discord"], d.ana, "the plan", discord.File{Name: "a.png", Type: "image/png", Content: []byte("x")})
	r.until("told", func() bool { return len(r.app.of("operator_message")) == 2 })
	d.server.RemoveFiles(said)
	r.until("told that it is gone", func() bool { return len(r.edits()) == 3 })
	if got := r.edits()[2]; got.Content != "the plan" || got.Attachments == nil || len(*got.Attachments) != 0 {
		t.Errorf("%+v", got)
	}

	s := r.boards[2].(*slackBoard)
	post := slack.Post{Channel: s.channel, ThreadTS: threads["slack"], User: s.ana, Text: "the price"}
	sent := s.server.Upload(slack.Attachment{Post: post, Name: "pic.png", Content: []byte("y"), Partner: true})
	r.until("told", func() bool { return len(r.app.of("operator_message")) == 3 })
	if body := string(r.app.of("operator_message")[2].body); !strings.Contains(body, `"filename":"pic.png"`) || !strings.Contains(body, `"mimeType":"image/png"`) {
		t.Errorf("a partner's file: %s", body)
	}
	s.server.DeleteFile(sent.Files[0].ID)
	r.until("told that it is gone", func() bool { return len(r.edits()) == 4 })
	if got := r.edits()[3]; got.Content != "the price" || got.Attachments == nil || len(*got.Attachments) != 0 {
		t.Errorf("%+v", got)
	}
}

// What Slack sent of tables and previews, as the app gets it.
func TestSlackContents(t *testing.T) {
	t.Parallel()
	r, threads := everywhere(t)
	s := r.boards[2].(*slackBoard)
	want := map[string]string{
		"pasted_table":      "Here are the prices\nPlan | Price\nBasic | 9 EUR",
		"table_only":        "Plan | Price\nBasic | 9 EUR",
		"permalink_preview": "again https://lab.slack.com/archives/C9/p1",
	}
	for _, name := range []string{"pasted_table", "table_only", "permalink_preview"} {
		raw, err := os.ReadFile(filepath.Join("..", "..", "internal", "slack", "testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(raw, &fields); err != nil {
			t.Fatal(err)
		}
		only := map[string]any{}
		for _, key := range []string{"text", "blocks", "attachments"} {
			if value, ok := fields[key]; ok {
				only[key] = value
			}
		}
		m := s.server.Send(slack.Post{Channel: s.channel, ThreadTS: threads["slack"], User: s.ana, Fields: only})
		r.until("told of "+name, func() bool {
			return slices.ContainsFunc(r.app.of("operator_message"), func(e received) bool { return e.MessageID == "slack:"+m.TS })
		})
		all := r.app.of("operator_message")
		if got := all[len(all)-1].Content; got != want[name] {
			t.Errorf("%s: the app was told %q", name, got)
		}
	}
}
