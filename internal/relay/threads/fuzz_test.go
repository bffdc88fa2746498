package threads

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
)

// FuzzIntent reads entries of the log as a damaged store may have them: they are told, or they are a fault, and no visitor's words become
// those of the bridge.
func FuzzIntent(f *testing.F) {
	const session = `"session":{"id":"s","visitorId":"v","identity":{"id":"i","name":"Maria\n✅"}}`
	for _, seed := range []struct{ kind, origin, body string }{
		{"visitor_message", "app", `{"type":"visitor_message",` + session + `,"message":{"id":"m","content":"hello","attachments":[{"url":"data:,x"}]}}`},
		{"visitor_message", "app", `{}`}, {"custom_event", "app", `{"session":null}`}, {"csat_submitted", "app", `{}`}, {"new_session", "app", `null`},
		{"operator_message", "app", `{` + session + `,"message":{"id":"m","content":"x","sender":"ai"},"operatorName":"Ana\n"}`},
		{"operator_message", "telegram", `{"sessionId":"s","messageId":"telegram:1","content":"x","sourceBridge":"telegram","attachments":[{}]}`},
		{"operator_message", "telegram", `{"sessionId":"s","messageId":"telegram:1","content":"x","sourceBridge":"\u00e9lan"}`},
		{"operator_message_edited", "slack", `{"messageId":"slack:1","content":"x"}`}, {"visitor_message_edited", "app", `{"messageId":"m","editedAt":"x"}`},
		{"visitor_disconnect", "app", `{` + session + `,"duration":1e300,"reason":"x"}`}, {"message_read", "app", `{"messageIds":[]}`},
		{"custom_event", "app", `{` + session + `,"event":{"name":"a\nb","data":{"x":[1,{"y":null}]}}}`}, {"answer", "slack", `{"text":1}`},
		{string(typeLate), "", `{}`}, {"session_closed", "discord", ``}, {"ai_takeover", "app", `{` + session + `,"reason":"a\n✅ b"}`},
	} {
		f.Add(seed.kind, seed.origin, "Ana", []byte(seed.body), uint64(1)<<40)
	}
	f.Fuzz(func(t *testing.T, kind, origin, by string, body []byte, seq uint64) {
		if !utf8.ValidString(by) || !utf8.ValidString(origin) {
			return // written as JSON
		}
		got, err := decodeIntent(bridge.Entry{Seq: bridge.Seq(seq), Event: bridge.Event{
			Type: bridge.Type(kind), Origin: origin, Session: "s", Message: "m", By: by, Body: body,
		}})
		if err != nil {
			return
		}
		if !utf8.ValidString(got.text) || !utf8.ValidString(got.author) {
			t.Fatalf("torn: %+v", got)
		}
		switch bridge.Type(kind) {
		case bridge.TypeCustomEvent, bridge.TypeAITakeover, bridge.TypeCSATSubmitted, bridge.TypeVisitorDisconnect:
			// A line of the bridge's own, in which somebody else's words are: no other line of it may begin with them.
			for _, line := range strings.Split(got.text, "\n")[1:] {
				if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "•") && line != "" && kind != string(bridge.TypeCustomEvent) {
					t.Fatalf("two lines: %q", got.text)
				}
			}
		case bridge.TypeVisitorMessage:
			if !got.foreign {
				t.Fatalf("a visitor's words as the bridge's: %+v", got)
			}
		}
	})
}
