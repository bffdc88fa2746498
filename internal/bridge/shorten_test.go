package bridge

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestShortened(t *testing.T) {
	long := strings.Repeat("é", 300_000)
	s := &Session{
		ID: "s", VisitorID: "v", UserPhone: long,
		Metadata: &Metadata{URL: long, Referrer: long, PageTitle: long, UserAgent: long, City: long, DeviceType: long, OS: "Linux"},
		Identity: &Identity{ID: "u", Name: long, Email: long}, CSAT: &CSAT{Comment: long},
	}
	got := s.Shortened()
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if n := utf8.RuneCount(text); n > 4000 || got.Metadata.OS != "Linux" || !strings.HasSuffix(got.Identity.Name, "é…") {
		t.Errorf("%d characters are left", n)
	}
	if s.Identity.Name != long || s.Metadata.URL != long {
		t.Error("the session itself was changed")
	}
	if (*Session)(nil).Shortened() != nil {
		t.Error("there is a session where there was none")
	}
	for text, want := range map[string]string{"": "", "abc": "abc", "abcd": "ab…", "äöüß": "äö…"} {
		if got := Shorten(text, 3); got != want {
			t.Errorf("%q is shortened to %q", text, got)
		}
	}
}
