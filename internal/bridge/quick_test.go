package bridge

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const plainMessage = `{"message":{"id":"m1","sessionId":"s","content":"Hello, is the \"blue\" one \u00e9\ud83d\ude00 in stock?","sender":"visitor",` +
	`"timestamp":"2026-11-22T10:00:00.000Z","status":"sending","attachments":[],"metadata":{"any":[1,-2.5e3,{"x":null}]}},"session":{"id":"s",` +
	`"visitorId":"v","createdAt":"2026-11-22T09:59:00.000Z","operatorOnline":false,"aiActive":true,"identity":null,"metadata":{"url":` +
	`"https://shop.example/shoes","pageTitle":"Shoes","language":"en","own":{"deep":["a",true,false]}}}, "later": "field" }`

// sameAsRead holds what is read quickly to what encoding/json and the look for repeated fields say of it.
func sameAsRead(t interface{ Errorf(string, ...any) }, body string) (quickly bool) {
	got := readQuickly([]byte(body))
	if got == nil {
		return false
	}
	want := new(AppEvent)
	if fault := decode([]byte(body), want); fault != nil {
		t.Errorf("%s is read, which is wrong: %v", body, fault)
	} else if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", body, diff)
	}
	return true
}

func TestReadQuickly(t *testing.T) {
	t.Parallel()
	if !sameAsRead(t, plainMessage) || !sameAsRead(t, " \n{}\t") {
		t.Error("what is plain is left to others")
	}
	// What is odd may be left to others, or is read as they read it.
	for _, body := range []string{
		``, `{`, `[]`, `null`, `{}x`, `{} {}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{"sessionId":"a","sessionid":"b"}`,
		`{"sessionId":"a","sessionId":"b"}`, `{"sessionID":"a"}`, `{"\u0073essionId":"a"}`, `{"ſessionId":"a"}`, `{"sessionId":null}`, `{"sessionId":5}`,
		`{"sessionId":"\ud800"}`, `{"sessionId":"\ud800\u0041"}`, `{"sessionId":"\x"}`, `{"sessionId":"\u12g4"}`, `{"sessionId":"` + "\x01" + `"}`, `{"sessionId":"a`,
		`{"sessionId":"\`, `{"sessionId":"\u00`, `{"x":01}`, `{"x":-}`, `{"x":1.}`, `{"x":1e}`, `{"x":+1}`, `{"x":.5}`, `{"x":-0}`, `{"x":1E+2}`, `{"x":tru}`,
		`{"x":truee}`, `{"x":nul}`, `{"online":true,"isTyping":false}`, `{"online":"true"}`, `{"session":{"metadata":[]}}`, `{"session":[]}`, `{"session":"x"}`,
		`{"session":{"metadata":{"url":"a","url":"b","URL":"c"}}}`, `{"session":{"metadata":{"URL":"c"}}}`, `{"session":{"identity":{"id":"a","verified":true}}}`,
		`{"session":{"csat":{"score":4,"pending":true}}}`, `{"messageIds":["a"]}`, `{"messageIds":[ ]}`, `{"messageIds":[}`, `{"message":{"attachments":[{}]}}`,
		`{"event":{"name":"x","data":{"a":1}}}`, `{"event":{"name":"x","data":[]}}`, `{"duration":1.5,"score":5}`, `{"score":5.5}`, "\ufeff{}", "{\"x\":\"\xff\"}",
		`{"x":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, `{"x":` + strings.Repeat(`{"x":`, 300) + `1` + strings.Repeat("}", 300) + `}`,
	} {
		sameAsRead(t, body)
	}
}

// Whatever is read quickly is read as it is otherwise: in JSON as it is, and with something of it changed.
func TestReadQuicklyAny(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body := []byte(drawObject(t, 0))
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			at := rapid.IntRange(0, len(body)-1).Draw(t, "at")
			body[at] = rapid.SampledFrom([]byte("{}[]\",:\\ 0-.eEtfnu\x00\x1f\xc3")).Draw(t, "byte")
		}
		sameAsRead(t, string(body))
	})
}

func drawObject(t *rapid.T, depth int) string {
	var members []string
	for range rapid.IntRange(0, 4).Draw(t, "members") {
		key := rapid.SampledFrom([]string{"type", "session", "message", "event", "sessionId", "SessionID", "messageIds", "content", "online", "duration", "score",
			"id", "visitorId", "metadata", "identity", "csat", "url", "URL", "sender", "attachments", "data", "aiActive", "x", "\\u0069d", "é"}).Draw(t, "key")
		members = append(members, fmt.Sprintf(`"%s"%s:%s`, key, rapid.SampledFrom([]string{"", " "}).Draw(t, "space"), drawValue(t, depth+1)))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func drawValue(t *rapid.T, depth int) string {
	kinds := 8
	if depth > 4 {
		kinds = 6
	}
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	case 0, 1:
		return string(MustJSON(rapid.String().Draw(t, "text")))
	case 2:
		return rapid.SampledFrom([]string{`"a"`, `"\n\u00e9\ud83d\ude00"`, `""`, `"\ud800x"`}).Draw(t, "quoted")
	case 3:
		return rapid.SampledFrom([]string{"true", "false", "null"}).Draw(t, "word")
	case 4:
		return rapid.SampledFrom([]string{"0", "-1", "1.5", "1e9", "5", "01"}).Draw(t, "number")
	case 5:
		return "[]"
	case 6:
		return "[" + drawValue(t, depth+1) + "]"
	default:
		return drawObject(t, depth)
	}
}

func BenchmarkDecodeOtherwise(b *testing.B) {
	for b.Loop() {
		if fault := decode([]byte(plainMessage), new(AppEvent)); fault != nil {
			b.Fatal(fault)
		}
	}
}

func FuzzReadQuickly(f *testing.F) {
	f.Add([]byte(plainMessage))
	f.Fuzz(func(t *testing.T, body []byte) {
		if sameAsRead(t, string(body)) && !json.Valid(body) {
			t.Errorf("%q is no JSON", body)
		}
	})
}

// A body that was accepted is read as encoding/json reads it, also one from before repeated fields were refused.
func TestReadAppEvent(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		plainMessage, `{"sessionId":"a","sessionId":"b"}`, `{"sessionID":"a"}`, `{"score":5,"duration":1.5}`, `{"messageIds":["a"]}`, `{"sessionId":`, `[]`,
	} {
		got, err := ReadAppEvent([]byte(body))
		want := new(AppEvent)
		if wrong := json.Unmarshal([]byte(body), want); (err == nil) != (wrong == nil) {
			t.Errorf("%s: %v, not %v", body, err, wrong)
		} else if diff := cmp.Diff(want, got); err == nil && diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
}
