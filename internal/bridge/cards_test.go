package bridge

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestMaskCards(t *testing.T) {
	for text, want := range map[string]string{
		"my card 4111111111111111 please":       "my card ••••••••••••1111 please",
		"4111 1111 1111 1111":                   "•••• •••• •••• 1111",
		"4111-1111-1111-1111, 12/27":            "••••-••••-••••-1111, 12/27",
		"4111 1111 1111 1111 12/27":             "•••• •••• •••• 1111 12/27",
		"4111.1111.1111.1111":                   "••••.••••.••••.1111",
		"3782 822463 10005":                     "•••• •••••• •0005",
		"378282246310005":                       "•••••••••••0005",
		"5555555555554444 and 6011111111111117": "••••••••••••4444 and ••••••••••••1117",
		"x4222222222222x":                       "x•••••••••2222x",
		"order 12 4111111111111111":             "order 12 ••••••••••••1111",
		"６０１１１１１１１１１１１１１７":                      "••••••••••••１１１７",
		"4111\u00a01111\u00a01111\u00a01111":    "••••\u00a0••••\u00a0••••\u00a01111",
		"4111111111111112":                      "4111111111111112", // Luhn
		"411111111111":                          "411111111111",
		"+4915112345678903":                     "+4915112345678903",
		"0000000000000000":                      "0000000000000000",
		"41111111111111114":                     "41111111111111114", // 17 digits, no card
		"4111  1111 1111 1111":                  "4111  1111 1111 1111",
		"11 1111111 1111151 515115111":          "11 ••••••• ••••••• •••••5111", // two, of which one ends in the other
		"":                                      "",
	} {
		if got := MaskCards(text); got != want || MaskCards(got) != got {
			t.Errorf("%q: %q, and that %q, want %q", text, got, MaskCards(got), want)
		}
	}
}

const aCard = "4111111111111111"

func TestMaskCardsJSON(t *testing.T) {
	body := `{"type":"visitor_message","X` + aCard + `":{"` + aCard + `":["` + aCard + `"]},"afterMessageId":"` + aCard + `",
	"session":{"id":"` + aCard + `","visitorId":"` + aCard + `","userPhone":"` + aCard + `",
	"metadata":{"url":"https://x/?n=` + aCard + `","ip":"` + aCard + `","n":` + aCard + `,"at":1764460800000,"pageTitle":"\u0034111 1111 1111 1111"},
	"identity":{"id":"` + aCard + `","name":"` + aCard + `","hash":"` + aCard + `","note":"` + aCard + `"}},
	"message":{"id":"` + aCard + `","sessionId":"` + aCard + `","content":"pay 4111-1111-1111-1111\n\"now\"","attachments":[{"id":"` + aCard + `","url":"https://f/` + aCard + `","filename":"` + aCard + `.png"}]},
	"event":{"name":"n","data":{"id":"` + aCard + `","url":"` + aCard + `","deep":[{"x":[` + aCard + `]}]}},"comment":"` + aCard + `"}`
	got := MaskCardsJSON([]byte(body), &AppEvent{})
	e, err := DecodeAppEvent(got)
	if err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	const masked = "••••••••••••1111"
	for what, is := range map[string]bool{
		"ids":     e.Session.ID == aCard && e.Session.VisitorID == aCard && e.Message.ID == aCard && e.Message.SessionID == aCard && e.AfterMessageID == aCard && e.Session.Identity.ID == aCard && e.Message.Attachments[0].ID == aCard,
		"phone":   e.Session.UserPhone == aCard,
		"file":    e.Message.Attachments[0].URL == "https://f/"+aCard && e.Message.Attachments[0].Filename == masked+".png",
		"page":    e.Session.Metadata.URL == "https://x/?n="+masked && e.Session.Metadata.PageTitle == "•••• •••• •••• 1111",
		"name":    e.Session.Identity.Name == masked,
		"words":   e.Message.Content == "pay ••••-••••-••••-1111\n\"now\"",
		"data":    string(MustJSON(e.Event.Data)) == `{"deep":[{"x":["`+masked+`"]}],"id":"`+masked+`","url":"`+masked+`"}`,
		"comment": e.Comment == masked,
		"time":    strings.Contains(string(got), `"at":1764460800000`),
		"number":  strings.Contains(string(got), `"n":"`+masked+`"`),
		"proof":   strings.Contains(string(got), `"hash":"`+aCard+`"`) && strings.Contains(string(got), `"note":"`+masked+`"`),
		"unknown": strings.Contains(string(got), `{"`+masked+`":["`+masked+`"]}`),
	} {
		if !is {
			t.Errorf("%s: %s", what, got)
		}
	}
	for _, same := range []string{`{"content":"` + aCard, `{"content":"nothing 12345678901234"}`, ``, `null`, `[]`} {
		if got := MaskCardsJSON([]byte(same), &AppEvent{}); string(got) != same {
			t.Errorf("%s became %s", same, got)
		}
	}
}

func FuzzMaskCards(f *testing.F) {
	f.Add("4111 1111 1111 1111", []byte(`{"message":{"content":"4111111111111111"},"x":[4111111111111111]}`))
	f.Fuzz(func(t *testing.T, text string, body []byte) {
		once := MaskCards(text)
		if MaskCards(once) != once {
			t.Fatalf("%q becomes %q, and that %q", text, once, MaskCards(once))
		}
		if got := MaskCardsJSON(body, &AppEvent{}); json.Valid(body) != json.Valid(got) {
			t.Fatalf("%q becomes %q", body, got)
		}
	})
}
