package bridge

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	someSession = `{"id":"s1","visitorId":"v1"}`
	someMessage = `{"id":"m1","sessionId":"s1","content":"hello"}`
)

func TestDecodeAndValidate(t *testing.T) {
	long := strings.Repeat("é", MaxContent)
	tests := []struct {
		name string
		body string
		want string // the error's text, or empty
	}{
		{"new session", `{"type":"new_session","session":` + someSession + `}`, ""},
		{"new session, all of it", ` {"type":"new_session","session":{"id":"s","visitorId":"v","createdAt":"2026-01-02T03:04:05.678+01:00",
			"lastActivity":"2026-01-02T03:04:05Z","operatorOnline":true,"aiActive":false,"metadata":{"deviceType":"tablet","plan":{"x":[1]}},
			"identity":{"id":"u","vip":true},"userPhone":"+336","csat":{"score":5,"respondedAt":"yesterday"}}} `, ""},
		{"message", `{"type":"visitor_message","session":` + someSession + `,"message":` + someMessage + `}`, ""},
		{"longest message", `{"type":"visitor_message","session":` + someSession + `,"message":{"id":"m","sessionId":"s1","content":"` + long + `"}}`, ""},
		{"attachment without content", `{"type":"visitor_message","session":` + someSession + `,"message":{"id":"m","sessionId":"s1","content":"",
			"attachments":[{"id":"a","status":"ready","uploadedFrom":"widget","size":3}]}}`, ""},
		{"edited", `{"type":"visitor_message_edited","sessionId":"s","messageId":"m","content":"x","editedAt":"2026-01-02T03:04:05Z"}`, ""},
		{"deleted", `{"type":"visitor_message_deleted","sessionId":"s","messageId":"m"}`, ""},
		{"read", `{"type":"message_read","sessionId":"s","messageIds":["a","b"],"status":"delivered"}`, ""},
		{"status", `{"type":"operator_status","online":false}`, ""},
		{"custom, free time", `{"type":"custom_event","session":` + someSession + `,"event":{"name":"n","data":{"a":null},"timestamp":"noon"}}`, ""},
		{"identity", `{"type":"identity_update","session":` + someSession + `}`, ""},
		{"takeover", `{"type":"ai_takeover","session":` + someSession + `,"reason":"asked"}`, ""},
		{"rating, free time", `{"type":"csat_submitted","session":` + someSession + `,"score":1,"respondedAt":"now"}`, ""},
		{"disconnect", `{"type":"visitor_disconnect","session":` + someSession + `,"duration":0,"reason":"inactivity"}`, ""},
		{"typing", `{"type":"visitor_typing","sessionId":"s","isTyping":false}`, ""},
		{"closed", `{"type":"session_closed","sessionId":"s"}`, ""},
		{"operator message", `{"type":"operator_message","session":` + someSession + `,"message":` + someMessage + `,"sourceBridge":"api"}`, ""},
		{"unused fields are not looked at", `{"type":"operator_status","online":true,"editedAt":"x","score":9,"session":{"id":"s"},"reason":"?"}`, ""},
		{"unknown fields", `{"type":"session_closed","sessionId":"s","x":{"y":[1,2]},"ids":"\u0000"}`, ""},
		{"null is absent", `{"type":"session_closed","sessionId":"s","message":null,"online":null,"messageIds":null,"editedAt":null}`, ""},

		{"longest of all", `{"type":"csat_submitted","session":` + someSession + `,"score":5,"comment":"` + strings.Repeat("é", MaxReason) + `"}`, ""},
		{"most receipts", `{"type":"message_read","sessionId":"s","messageIds":["m"` + strings.Repeat(`,"m"`, MaxReceipts-1) + `],"status":"seen"}`, ""},
		{"words that nobody knows", `{"type":"visitor_message","session":{"id":"s1","visitorId":"v","metadata":{"deviceType":"tv"}},"message":{"id":"m",
			"sessionId":"s1","content":"x","status":"queued","sender":"system","attachments":[{"id":"a","status":"scanned","uploadedFrom":"crm"}]}}`, ""},
		{"a reason that nobody knows", `{"type":"visitor_disconnect","session":` + someSession + `,"reason":"bored"}`, ""},
		{"metadata without a bound", `{"type":"new_session","session":{"id":"s","visitorId":"v","metadata":{"url":"` + strings.Repeat("x", 100_000) + `"}}}`, ""},
		{"PHP's empty objects", `{"type":"custom_event","session":{"id":"s","visitorId":"v","metadata":[],"identity":[],"csat":[ ]},"event":{"name":"n","data":[]}}`, ""},
		{"empty objects", `{"type":"custom_event","session":{"id":"s","visitorId":"v","metadata":{},"identity":{},"csat":{}},"event":{"name":"n","data":{}}}`, ""},
		{"Go's zero times", `{"type":"new_session","session":{"id":"s","visitorId":"v","createdAt":"0001-01-01T00:00:00Z","lastActivity":"0001-01-01T00:00:00Z"}}`, ""},

		{"nothing", ``, "the body is not valid JSON: unexpected end of JSON input (at byte 0)"},
		{"half", `{"type":`, "the body is not valid JSON: unexpected end of JSON input (at byte 8)"},
		{"more behind", `{"type":"x"} {}`, "the body is not valid JSON: invalid character '{' after top-level value (at byte 14)"},
		{"not an object", `[1]`, "the body must be a JSON object"},
		{"null", `null`, "the body must be a JSON object"},
		{"invalid UTF-8", "{\"type\":\"\xff\"}", "the body is not valid UTF-8 (at byte 9)"},
		{"no type", `{}`, "type is required"},
		{"wrong type of type", `{"type":1}`, "type must be a string"},
		{"object for a string", `{"session":{"id":{}}}`, "session.id must be a string"},
		{"string for an object", `{"session":{"metadata":"x"}}`, "session.metadata must be an object"},
		{"string for a bool", `{"online":"yes"}`, "online must be true or false"},
		{"fraction", `{"score":1.5}`, "score must be a whole number"},
		{"string for a number", `{"duration":"1"}`, "duration must be a number"},
		{"huge number", `{"duration":1e999}`, "duration is a number too large"},
		{"huge number in data", `{"event":{"data":{"a":1e999}}}`, "event.data is a number too large"},
		{"list of others", `{"messageIds":[1]}`, "messageIds must be a list of strings"},
		{"attachments of others", `{"message":{"attachments":[1]}}`, "message.attachments must be a list of objects"},
		{"in an attachment", `{"message":{"attachments":[{"size":"1"}]}}`, "message.attachments.size must be a whole number"},
		{"data of others", `{"event":{"data":[1]}}`, "event.data must be an object"},
		{"metadata of others", `{"session":{"metadata":[[]]}}`, "session.metadata must be an object"},
		{"identity of others", `{"session":{"identity":[{}]}}`, "session.identity must be an object"},
		{"within metadata", `{"session":{"metadata":{"url":1}}}`, "session.metadata.url must be a string"},
		{"within a message's session", `{"message":{"id":"m"},"session":{"identity":{"email":[]}}}`, "session.identity.email must be a string"},
		{"NUL in an id that the type does not use", `{"type":"operator_status","online":true,"messageId":"a\u0000"}`, "messageId must be 1 to 128 printable characters"},
		{"broken id", `{"type":"session_closed","sessionId":"a\ud800"}`, "sessionId must be 1 to 128 printable characters"},
		{"null among ids", `{"type":"message_read","sessionId":"s","messageIds":["a",null]}`, "messageIds[1] must be 1 to 128 printable characters"},
		{"null attachment", `{"type":"visitor_message","session":` + someSession + `,"message":{"id":"m","sessionId":"s1","content":"","attachments":[null]}}`,
			"message.attachments[0] must not be empty"},
		{"51 attachments", `{"type":"visitor_message","session":` + someSession + `,"message":{"id":"m","sessionId":"s1","attachments":[` +
			strings.Repeat(`{"id":"a"},`, 50) + `{"id":"a"}]}}`, "message.attachments must be at most 50"},
		{"50 attachments", `{"type":"visitor_message","session":` + someSession + `,"message":{"id":"m","sessionId":"s1","attachments":[` +
			strings.Repeat(`{"id":"a"},`, 49) + `{"id":"a"}]}}`, ""},
		{"attachment's long URL", `{"type":"visitor_message","session":` + someSession + `,"message":{"id":"m","sessionId":"s1","attachments":[{"url":"https://` +
			strings.Repeat("a", 8185) + `"}]}}`, "message.attachments[0].url must be at most 8192 bytes, unless it is a data: URL"},
		{"attachment's longest URL", `{"type":"visitor_message","session":` + someSession + `,"message":{"id":"m","sessionId":"s1","attachments":[{"url":"https://` +
			strings.Repeat("a", 8184) + `"}]}}`, ""},
		{"attachment in its URL", `{"type":"visitor_message","session":` + someSession + `,"message":{"id":"m","sessionId":"s1","attachments":[{"url":"data:,` +
			strings.Repeat("a", 9000) + `"}]}}`, ""},
		{"another sender", `{"type":"visitor_message","session":` + someSession + `,"message":{"id":"m","sessionId":"s1","content":"x","sender":"cat"}}`,
			"message.sender must be one of visitor, operator, ai, system"},
		{"event's name too long", `{"type":"custom_event","session":` + someSession + `,"event":{"name":"x` + strings.Repeat("é", MaxEventName) + `"}}`,
			"event.name must be at most 200 characters"},
		{"comment too long", `{"type":"csat_submitted","session":` + someSession + `,"score":5,"comment":"x` + strings.Repeat("é", MaxReason) + `"}`,
			"comment must be at most 2000 characters"},
		{"takeover's reason too long", `{"type":"ai_takeover","session":` + someSession + `,"reason":"x` + strings.Repeat("é", MaxReason) + `"}`,
			"reason must be at most 2000 characters"},
		{"deletion's reason too long", `{"type":"visitor_message_deleted","sessionId":"s","messageId":"m","reason":"x` + strings.Repeat("é", MaxReason) + `"}`,
			"reason must be at most 2000 characters"},
		{"close reason too long", `{"type":"session_closed","sessionId":"s","reason":"x` + strings.Repeat("é", MaxReason) + `"}`,
			"reason must be at most 2000 characters"},
		{"disconnect's reason too long", `{"type":"visitor_disconnect","session":` + someSession + `,"reason":"x` + strings.Repeat("é", MaxReason) + `"}`,
			"reason must be at most 2000 characters"},
		{"too many receipts", `{"type":"message_read","sessionId":"s","messageIds":["m"` + strings.Repeat(`,"m"`, MaxReceipts) + `]}`,
			"messageIds must be at most 1000 ids"},
		{"an edit too long", `{"type":"visitor_message_edited","sessionId":"s","messageId":"m","content":"x` + long + `"}`,
			"content must be at most 64000 characters"},
		{"content too long", `{"type":"visitor_message","session":` + someSession + `,"message":{"id":"m","sessionId":"s1","content":"x` + long + `"}}`,
			"message.content must be at most 64000 characters"},
		{"another session", `{"type":"visitor_message","session":{"id":"s2","visitorId":"v"},"message":` + someMessage + `}`,
			"message.sessionId must be the id of the session"},
		{"no session", `{"type":"operator_message","message":` + someMessage + `}`, "session is required"},
		{"ours, not theirs", `{"type":"message_delivered"}`, "type must be one of new_session, visitor_message, visitor_message_edited, " +
			"visitor_message_deleted, message_read, operator_status, custom_event, identity_update, ai_takeover, csat_submitted, " +
			"visitor_disconnect, visitor_typing, session_closed, operator_message"},
		{"the bridge's own", `{"type":"answer"}`, "type must be one of new_session, visitor_message, visitor_message_edited, " +
			"visitor_message_deleted, message_read, operator_status, custom_event, identity_update, ai_takeover, csat_submitted, " +
			"visitor_disconnect, visitor_typing, session_closed, operator_message"},
		{"no rating", `{"type":"csat_submitted","session":` + someSession + `}`, "score is required"},
		{"an identity without id", `{"type":"identity_update","session":{"id":"s","visitorId":"v","identity":{"name":"x"}}}`, "session.identity.id is required"},
		{"local time", `{"type":"new_session","session":{"id":"s","visitorId":"v","createdAt":"2026-01-02T03:04:05"}}`,
			"session.createdAt must be RFC 3339, such as 2026-01-31T12:00:00Z"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e, err := DecodeAppEvent([]byte(test.body))
			if err == nil {
				err = e.Validate()
			}
			got := ""
			if fault, ok := errors.AsType[*FieldError](err); ok {
				got = strings.TrimSpace(fault.Error())
			} else if err != nil {
				t.Fatalf("error of type %T", err)
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestPrintableID(t *testing.T) {
	for id, want := range map[string]bool{
		"": false, "a": true, "a b": true, "日本": true, "a\nb": false, "\x7f": false, "a\u200b": false, "\ufffd": false,
		strings.Repeat("é", MaxID): true, strings.Repeat("é", MaxID+1): false, strings.Repeat("x", 1000): false,
	} {
		if PrintableID(id) != want {
			t.Errorf("PrintableID(%q) = %v", id, !want)
		}
	}
}

func TestTrimLeavesWhatWasChecked(t *testing.T) {
	e, err := DecodeAppEvent([]byte(`{"type":"session_closed","sessionId":"s","messageId":"m","session":{"id":""},"message":{"id":""}}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Validate(); err != nil {
		t.Fatal(err)
	}
	e.Trim()
	if e.SessionOf() != "s" || e.MessageOf() != "" {
		t.Errorf("session %q, message %q", e.SessionOf(), e.MessageOf())
	}
}

func FuzzDecodeAppEvent(f *testing.F) {
	for _, seed := range []string{
		`{"type":"visitor_message","session":` + someSession + `,"message":` + someMessage + `}`,
		`{"type":"message_read","sessionId":"s","messageIds":["a",null]}`,
		`{"type":"session_closed","sessionId":"s","session":{"id":""}}`,
		`{"type":"custom_event","session":` + someSession + `,"event":{"name":"n","data":{"a":1e999}}}`,
		`{"TYPE":"operator_status","Online":true} `, `null`, `[]`, `{"type":`, "\xff", `{"sessionId":"\ud800"}`, `{} {}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := DecodeAppEvent(body)
		if err == nil {
			if err = e.Validate(); err == nil {
				e.Trim()
			}
		}
		if err != nil {
			fault, ok := errors.AsType[*FieldError](err)
			if !ok || fault.Problem == "" {
				t.Fatalf("not a fault of a field: %v", err)
			}
			if strings.Contains(fault.Problem, "bridge.") || strings.Contains(fault.Problem, "json:") {
				t.Fatalf("a name of ours: %s", fault)
			}
			return
		}
		if !isObject(body) || !utf8.Valid(body) {
			t.Fatalf("taken: %q", body)
		}
		for _, id := range []string{e.SessionOf(), e.MessageOf()} {
			if id != "" && !PrintableID(id) {
				t.Fatalf("an id that nobody checked: %q", id)
			}
		}
		if e.SessionOf() == "" && e.Type != TypeOperatorStatus {
			t.Fatalf("a %s of no session", e.Type)
		}
	})
}

func BenchmarkDecodeAppEvent(b *testing.B) {
	body := []byte(`{"type":"visitor_message","session":` + someSession + `,"message":` + someMessage + `}`)
	b.ReportAllocs()
	for b.Loop() {
		e, err := DecodeAppEvent(body)
		if err != nil || e.Validate() != nil {
			b.Fatal(err)
		}
	}
}
