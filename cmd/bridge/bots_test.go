package main

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// anotherBot puts a stand-in for another bot, or another token, in the place of Telegram's: it has the same group.
func (r *rig) anotherBot(o telegram.Options) *telegram.Server {
	r.t.Helper()
	server := telegram.New(o)
	base, err := server.Listen(r.t.Context(), "")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(server.Close)
	server.AddChat(telegram.Chat{Kind: telegram.Forum, ID: r.chat})
	server.On("setMessageReaction", func(telegram.Call) telegram.Action {
		return telegram.Action{Status: http.StatusOK, Body: `{"ok":true,"result":true}`}
	})
	r.env["TELEGRAM_BOT_TOKEN"], r.env["TELEGRAM_API_URL"] = o.Token, base
	return server
}

// tells is a message of Ana's in a topic, as Telegram tells any bot of it.
func (r *rig) tells(topic int, m telegram.Message, at time.Time) map[string]any {
	return map[string]any{"message": map[string]any{
		"message_id": m.ID, "message_thread_id": topic, "is_topic_message": true, "date": at.Unix(), "text": m.Text,
		"chat": map[string]any{"id": r.chat, "type": "supergroup", "is_forum": true, "title": "Support"},
		"from": map[string]any{"id": r.ana.ID, "is_bot": false, "first_name": "Ana"},
	}}
}

func (a *app) contents() []string {
	var out []string
	for _, e := range a.of("operator_message") {
		out = append(out, e.Content)
	}
	return out
}

// TestAnotherBot gives the bridge another bot, whose updates have the ids that the first one's had, and then the first one's new
// token: all that people write reaches the visitor, and nothing reaches them twice.
func TestAnotherBot(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		r.start()
		r.must("/api/messages", message("vera", "m1", "hello"))
		r.until("hello in a topic", func() bool { return len(r.topics("vera")) == 1 })
		topic := r.topics("vera")[0].ID
		var said []telegram.Message
		want := []string{"one", "two", "three", "four", "five"}
		for _, text := range want {
			said = append(said, r.telegram.Say(r.chat, topic, r.ana.ID, text))
		}
		r.until("five answers", func() bool { return len(r.app.contents()) == 5 })
		asked := func() []string {
			var offsets []string
			for _, c := range r.telegram.Calls() {
				if c.Method == "getUpdates" {
					offsets = append(offsets, c.Params["offset"])
				}
			}
			return offsets
		}
		r.until("the fifth confirmed", func() bool { return r.telegram.Pending() == 0 })
		offset := asked()[len(asked())-1]
		r.process().Exit()

		// The other bot was in the group all the time: Telegram has all for it that the first one was told.
		other := r.anotherBot(telegram.Options{Token: "7000000002:AAother-other-other-other-other-other-00"})
		for _, m := range said {
			other.PushUpdate(r.tells(topic, m, m.Date)) // a message has one time, whichever bot is told of it
		}
		written := time.Now()
		for i, text := range []string{"six", "seven", "eight"} {
			other.PushUpdate(r.tells(topic, telegram.Message{ID: 9000 + i, Text: text}, written))
			want = append(want, text)
		}
		r.start()
		r.until("all told of", func() bool { return other.Pending() == 0 && len(r.app.contents()) >= len(want) })
		if got := r.app.contents(); !slices.Equal(got, want) {
			t.Errorf("the app was told %q, not %q", got, want)
		}
		r.process().Exit()

		// The first one's new token: it goes on where it was.
		next, err := strconv.Atoi(offset)
		if err != nil {
			t.Fatal(err)
		}
		again := r.anotherBot(telegram.Options{
			Token: strings.Replace(r.telegram.Token(), "sandbox", "rotated", 1), FirstUpdateID: next,
		})
		again.PushUpdate(r.tells(topic, telegram.Message{ID: 9002, Text: "eight"}, written))
		again.PushUpdate(r.tells(topic, telegram.Message{ID: 9003, Text: "nine"}, time.Now()))
		want = append(want, "nine")
		r.start()
		r.until("all told of", func() bool { return again.Pending() == 0 && len(r.app.contents()) >= len(want) })
		if got := r.app.contents(); !slices.Equal(got, want) {
			t.Errorf("the app was told %q, not %q", got, want)
		}
		for _, c := range again.Calls() {
			if c.Method == "getUpdates" {
				if c.Params["offset"] != offset {
					t.Errorf("with its new token the bot begins at %q, not at %q", c.Params["offset"], offset)
				}
				break
			}
		}
	})
}
