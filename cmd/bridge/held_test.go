package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// What becomes of what an operator writes.
const (
	isSent    = "sent"    // to the visitor
	isHeld    = "held"    // and asked about
	isCommand = "command" // and done
	isOthers  = "nothing" // it is for another bot
)

// operatorTexts are texts that operators write, and what becomes of each. Those that are not for the visitor have the word internal
// in them, where they have room for it.
func operatorTexts() [][2]string {
	var out [][2]string
	for becomes, texts := range map[string][]string{
		isSent: {
			"hello", "Great! note that", "!", "!!", "!!!", "!?", "?!", "/", "//", "// as in code", "!/note", "!!note", "//note", "/5", "!5 stars",
			"5/5", "24/7", "and/or", "/usr/bin", "/usr/bin/env is it", "/etc/hosts", "/api/messages answers 200", "/note/x", "/usr/ is full",
			"a /note inside", "see !note inside", "¡Hola!", "(!)", ".!note", "-/close", `"/close"`, "No! close it", "Hi /close", "/-", "!-x",
			"/ 5", "! 5", "😀 /close", "/😀", "!😀", "https://example.com/close", "1. /note", "!important!"[9:],
		},
		isHeld: {
			"/noet internal", "!noet internal", "! noet internal", " /noet internal", "!\u00a0noet internal", "/NOET internal", "!note: internal",
			"/note, internal", "!note:internal", "/not internal", "!claimm", "/clse", "!colse", "/onlin", "!online!", "/weather internal",
			"!hours are internal", "!привет internal", "/éte internal", "!x", "/x internal", "!important internal", "/index.html internal",
			"!a/b internal", "/note/ internal", "/shrug internal", "!todo internal", "! hello internal", "/ noted internal", "!delet",
			"!r:internal", "！noet internal", "\u200b!noet internal", "!noet\ninternal",
		},
		isCommand: {
			"!note internal", "! note internal", "/note internal", " /note internal", "!NOTE internal", "/Note internal", "/ note internal",
			"!note\ninternal", "!status", "/status", "!who", "!info", "/id", "!help", "!read", "!canned", "!claim", "!unclaim", "!ai on",
			"！note internal", "\u200b/note internal", "/online",
		},
		isOthers: {"/deploy@other_bot internal", "/note@other_bot internal"},
	} {
		for _, text := range texts {
			out = append(out, [2]string{text, becomes})
		}
	}
	slices.SortFunc(out, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return out
}

// forwarder is a board on which Ana can pass on what somebody else wrote elsewhere.
type forwarder interface {
	forward(thread, text string)
}

func (b telegramBoard) forward(thread, text string) {
	var topic int
	_, _ = fmt.Sscan(thread, &topic)
	b.r.telegram.Send(telegram.Post{Chat: b.r.chat, Topic: topic, User: b.r.ana.ID, Text: text, Fields: map[string]any{
		"forward_origin": map[string]any{"type": "user", "date": 1, "sender_user": map[string]any{"id": 9, "is_bot": false, "first_name": "Sam"}},
	}})
}

func (b *discordBoard) forward(thread, text string) {
	b.server.Send(discord.Post{Channel: thread, User: b.ana, Fields: map[string]any{
		"message_reference": map[string]any{"type": 1, "channel_id": "300", "message_id": "1100"},
		"message_snapshots": []any{map[string]any{"message": map[string]any{"content": text, "attachments": []any{}, "embeds": []any{}}}},
	}})
}

func (b *slackBoard) forward(thread, text string) {
	b.server.Send(slack.Post{Channel: b.channel, ThreadTS: thread, User: b.ana, Fields: map[string]any{"attachments": []any{map[string]any{
		"id": 1, "is_share": true, "is_msg_unfurl": true, "from_url": "https://lab.slack.com/archives/C9/p1", "author_name": "Sam", "text": text,
	}}}})
}

// textsOf is what the app was told of a session: the texts of messages, and of edits.
func (a *app) textsOf(session, kind string) []string {
	var out []string
	for _, e := range a.of(kind) {
		if e.SessionID == session {
			out = append(out, e.Content)
		}
	}
	return out
}

// questions returns how often the bridge asks in a thread about something that is held.
func questions(b board, thread string) int {
	n := 0
	for _, text := range b.shown(thread) {
		if strings.HasPrefix(text, "❓") {
			n++
		}
	}
	return n
}

// heldForms are the forms in which an operator's text comes. Each is run in a session of its own.
func heldForms() map[string]func(r *rig, on stand, thread string, texts []string) {
	file := upload{kind: "photo", name: "a.png", typ: "image/png", content: []byte("\x89PNG\r\n\x1a\n of a kind")}
	each := func(do func(on stand, thread, text string)) func(*rig, stand, string, []string) {
		return func(_ *rig, on stand, thread string, texts []string) {
			for _, text := range texts {
				do(on, thread, text)
			}
		}
	}
	return map[string]func(*rig, stand, string, []string){
		"live":      each(func(on stand, thread, text string) { on.say(thread, text) }),
		"caption":   each(func(on stand, thread, text string) { on.send(thread, text, file) }),
		"forwarded": each(func(on stand, thread, text string) { on.(forwarder).forward(thread, text) }),
		"edit": each(func(on stand, thread, text string) {
			_, id, _ := strings.Cut(on.say(thread, "a word"), ":")
			on.edit(thread, id, text)
		}),
		"edit caught up": func(r *rig, on stand, thread string, texts []string) {
			var ids []string
			for range texts {
				_, id, _ := strings.Cut(on.say(thread, "a word"), ":")
				ids = append(ids, id)
			}
			r.until("all told", func() bool { return len(r.app.textsOf("edit-caught-up", "operator_message")) == len(texts) })
			r.process().Exit()
			for i, text := range texts {
				on.edit(thread, ids[i], text)
			}
			r.start()
		},
		"caught up": func(r *rig, on stand, thread string, texts []string) {
			r.process().Exit()
			for _, text := range texts {
				on.say(thread, text)
			}
			r.start()
		},
	}
}

// What an operator writes is sent, held or done, on every platform and in whatever form it comes; the app is told nothing of what is
// not for the visitor.
func TestWhatOperatorsWrite(t *testing.T) {
	t.Parallel()
	table := operatorTexts()
	var texts []string
	for _, row := range table {
		texts = append(texts, row[0])
	}
	if len(table) < 60 {
		t.Fatalf("%d texts", len(table))
	}
	for _, on := range []string{"telegram", "discord text", "slack socket"} {
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.use(on)
			stores()["bolt"](t, r.env)
			r.start()
			b := r.boards[0].(stand)
			for _, form := range []string{"live", "caption", "forwarded", "edit", "edit caught up", "caught up"} {
				session := strings.ReplaceAll(form, " ", "-")
				r.must("/api/messages", message(session, "m1", "hello"))
				r.until("in a thread", func() bool { return len(b.threads(session)) == 1 })
				thread := b.threads(session)[0]
				heldForms()[form](r, b, thread, texts)
				b.say(thread, "the end")
				r.until("the end of "+form, func() bool { return slices.Contains(r.app.textsOf(session, "operator_message"), "the end") })
				var want []string
				asked := 0
				for _, row := range table {
					text := strings.TrimFunc(row[0], func(c rune) bool { return c == ' ' })
					switch {
					case form == "forwarded":
						want = append(want, "[forwarded] "+text)
					case row[1] == isSent:
						want = append(want, text)
					case row[1] == isHeld:
						asked++
					}
				}
				kind := "operator_message"
				if strings.HasPrefix(form, "edit") {
					kind = "operator_message_edited"
				}
				got := slices.DeleteFunc(r.app.textsOf(session, kind), func(text string) bool { return text == "the end" })
				if !slices.Equal(got, want) {
					t.Errorf("%s: the app was told\n%q, not\n%q", form, got, want)
				}
				r.until(fmt.Sprintf("%d of %d questions in %s", questions(b, thread), asked, form), func() bool { return questions(b, thread) >= asked })
				if n := questions(b, thread); n != asked {
					t.Errorf("%s: %d questions, not %d", form, n, asked)
				}
			}
			r.app.mu.Lock()
			defer r.app.mu.Unlock()
			for _, e := range r.app.got {
				if strings.Contains(string(e.body), "internal") && e.SessionID != "forwarded" {
					t.Errorf("the app was told: %s", e.body)
				}
			}
		})
	}
}

// What is held is sent with its files by /send, or by a yes, once, through another bridge and after a restart.
func TestHeldIsSent(t *testing.T) {
	t.Parallel()
	for _, on := range []string{"telegram", "discord text", "slack socket"} {
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			onStores(t, func(t *testing.T, r *rig) {
				r.start()
				b := r.boards[0].(stand)
				r.must("/api/messages", message("mia", "m1", "hello"))
				r.until("in a thread", func() bool { return len(b.threads("mia")) == 1 })
				thread := b.threads("mia")[0]
				files := []upload{{kind: "photo", name: "a.png", typ: "image/png", content: []byte("\x89PNG\r\n\x1a\n one")},
					{kind: "photo", name: "b.png", typ: "image/png", content: []byte("\x89PNG\r\n\x1a\n other")}}
				ids := b.send(thread, "/tracking is 5", files...)
				r.until("asked about", func() bool { return questions(b, thread) == 1 })
				if first := r.process(); r.env["REDIS_URL"] != "" { // another bridge goes on
					r.mu.Lock()
					r.proc = nil
					r.mu.Unlock()
					second := r.launch()
					first.Kill()
					r.mu.Lock()
					r.proc = second
					r.mu.Unlock()
				} else {
					first.Kill()
					r.start()
				}
				b.say(thread, "!send")
				r.until("sent", func() bool { return len(r.app.of("operator_message")) == 1 })
				var m struct {
					MessageID   string            `json:"messageId"`
					Content     string            `json:"content"`
					Attachments []json.RawMessage `json:"attachments"`
				}
				if err := json.Unmarshal(r.app.of("operator_message")[0].body, &m); err != nil {
					t.Fatal(err)
				}
				if m.Content != "/tracking is 5" || len(m.Attachments) != 2 || m.MessageID != b.name()+":"+ids[0] {
					t.Errorf("the app was told %s", r.app.of("operator_message")[0].body)
				}
				want := []string{"/tracking is 5"}
				if on != "slack socket" { // which has no replies of its own
					b.say(thread, "! thanks")
					var question string
					r.until("asked again", func() bool { // the first question may stand there twice
						for _, seen := range b.see(thread) {
							if strings.HasPrefix(seen.Text, "❓") && strings.Contains(seen.Text, "!thanks") {
								question = seen.ID
							}
						}
						return question != ""
					})
					b.reply(thread, question, "yes")
					want = append(want, "! thanks")
				}
				if d, ok := b.(*discordBoard); ok {
					b.say(thread, "!third")
					r.until("asked for the third time", func() bool {
						return slices.ContainsFunc(b.shown(thread), func(s string) bool { return strings.Contains(s, "!third") })
					})
					d.server.UseCommand(thread, d.ana, "send", nil)
					want = append(want, "!third")
					r.until("sent", func() bool { return slices.Contains(r.app.textsOf("mia", "operator_message"), "!third") })
				}
				b.say(thread, "!send")
				b.say(thread, "the end")
				want = append(want, "the end")
				r.until("the end", func() bool { return slices.Contains(r.app.textsOf("mia", "operator_message"), "the end") })
				if got := r.app.textsOf("mia", "operator_message"); !slices.Equal(got, want) {
					t.Errorf("the app was told %q", got)
				}
			}, on)
		})
	}
}
