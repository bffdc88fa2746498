package bridge

import (
	"testing"
)

func TestHidden(t *testing.T) {
	h, err := NewHidden([]string{"Phone", "url.query", "plan", "browser"})
	if err != nil {
		t.Fatal(err)
	}
	body := `{"SESSION":{"id":"s","USERPHONE":"1","userPhoneCountry":"FR","metadata":{"url":"https://x/?q","referrer":"https://y/#z","plan":"gold","PLAN":1,"os":"Linux","url2":"?"},` +
		`"identity":{"id":"u","phone":"2"}},"message":{"content":"plan?"},"event":{"name":"plan","data":{"plan":1,"total":2}}}`
	want := `{"SESSION":{"id":"s","identity":{"id":"u"},"metadata":{"os":"Linux","referrer":"https://y/","url":"https://x/","url2":"?"}},` +
		`"event":{"data":{"total":2},"name":"plan"},"message":{"content":"plan?"}}`
	if got := string(h.Event(Event{Body: []byte(body)}).Body); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	s := &Session{ID: "s", VisitorID: "v", UserPhone: "1", Metadata: &Metadata{Browser: "Firefox", URL: "https://x/?q", OS: "Linux"}}
	if got := h.Session(s); got.UserPhone+got.Metadata.Browser != "" || got.Metadata.URL != "https://x/" || got.Metadata.OS != "Linux" || s.UserPhone != "1" {
		t.Errorf("%+v %+v", got, got.Metadata)
	}
	if none, err := NewHidden(nil); none != nil || err != nil || none.Session(s) != s || none.Hides("ip") || string(none.Event(Event{Body: []byte(body)}).Body) != body {
		t.Error("what is not hidden is changed")
	}
	for _, odd := range []string{`[]`, `null`, `"x"`, `{"session":[]}`, `{"session":{"metadata":[]}}`} {
		if got := string(h.Event(Event{Body: []byte(odd)}).Body); got != odd {
			t.Errorf("%s became %s", odd, got)
		}
	}
	for _, bad := range []string{"a b", "", "x=y"} {
		if _, err := NewHidden([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
