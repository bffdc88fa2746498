package bridge

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestRepeatedFields(t *testing.T) {
	for body, field := range map[string]string{
		`{"type":"session_closed","sessionId":"s"}`:                                                          "",
		`{"type":"session_closed","sessionId":"s","sessionId":"s"}`:                                          "sessionId",
		`{"type":"session_closed","sessionId":"a","SessionID":"b"}`:                                          "sessionId",
		`{"type":"session_closed","sessionId":"a","\u0073essionId":"b"}`:                                     "sessionId",
		`{"type":"session_closed","sessionId":"a","ſessionId":"b"}`:                                          "sessionId",
		`{"type":"session_closed","type":"visitor_message","sessionId":"s"}`:                                 "type",
		`{"TYPE":"session_closed","SESSIONID":"s"}`:                                                          "",
		`{"type":"session_closed","sessionId":"s","x":1,"x":2,"y":{"a":1,"a":2}}`:                            "",
		`{"session":{"id":"a","id":"b"}}`:                                                                    "session.id",
		`{"session":{"id":"a","visitorId":"v"},"Session":{"id":"b"}}`:                                        "session",
		`{"message":{"content":"a","CONTENT":"b"}}`:                                                          "message.content",
		`{"message":{"attachments":[{"url":"a"},{"url":"b","URL":"c"}]}}`:                                    "message.attachments.url",
		`{"message":{"metadata":{"id":1,"id":2}}}`:                                                           "",
		`{"session":{"metadata":{"ip":"a","ip":"b","IP":"c","x":1,"x":2}}}`:                                  "",
		`{"session":{"identity":{"id":"a","id":"b","ID":"c"}}}`:                                              "",
		`{"session":{"csat":{"score":1,"score":5}}}`:                                                         "session.csat.score",
		`{"event":{"name":"a","data":{"name":1,"name":2},"NAME":"b"}}`:                                       "event.name",
		`{"event":{"data":{"a":[{},{"b":"}{,\"]"}]},"name":"a"},"x":["[",-1.5e3,true,null],"event":{}}`:      "event",
		` { "sessionId" : "a" , "messageIds" : [ "x" , "y" ] , "messageids" : [ ] } `:                        "messageIds",
		`{"type":1,"sessionId":"a","sessionId":"b"}`:                                                         "sessionId",
		`{"session":{"metadata":[]},"session":{"metadata":[]}}`:                                              "session",
		`{"session":{"identity":{"id":"a"},"Identity":{"id":"b"}},"message":{"id":"x","sessionId":"s\\\""}}`: "session.identity",
	} {
		_, err := DecodeAppEvent([]byte(body))
		fault, _ := errors.AsType[*FieldError](err)
		got := ""
		if fault != nil && fault.Problem == ProblemRepeated {
			got = fault.Field
		}
		if got != field {
			t.Errorf("%s: %v, want %q", body, err, field)
		}
	}
}

// Within metadata and identity, keys are taken as written: of an exact repeat the last counts, and another case is another key.
func TestKeysAsWritten(t *testing.T) {
	e, err := DecodeAppEvent([]byte(`{"type":"new_session","session":{"id":"s","visitorId":"v",
		"metadata":{"ip":"1","ip":"2","IP":"3","uſerAgent":"evil","userAgent":"good","USERAGENT":"evil"},
		"identity":{"ID":"x","id":"a","id":"b","Email":"x@y"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	m, i := e.Session.Metadata, e.Session.Identity
	if m.IP != "2" || m.UserAgent != "good" || i.ID != "b" || i.Email != "" {
		t.Errorf("%+v %+v", m, i)
	}
	e, err = DecodeAppEvent([]byte(`{"session":{"metadata":{"IP":"3"},"identity":{"ID":"x"}}}`))
	if err != nil || e.Session.Metadata.IP != "" || e.Session.Identity.ID != "" {
		t.Errorf("%+v %v", e, err)
	}
}

// What the scanner says is what a slow reading says, and it reads every valid JSON to its end.
func FuzzRepeated(f *testing.F) {
	for _, seed := range []string{`{"session":{"id":"a","ID":"b"}}`, `{"a":[1,{"b":"\""}],"type":"x","tyPe":2}`, `[]`, `"x"`, `{"ſession":{},"session":{}}`, `{"message":{"attachments":[{"id":"a"}]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if !json.Valid(body) {
			return
		}
		s := scanner{text: body}
		fault := s.value(reflect.TypeFor[AppEvent]())
		if fault == nil && strings.TrimSpace(string(body[min(s.at, len(body)):])) != "" {
			t.Fatalf("%q is read to byte %d", body, s.at)
		}
		var top struct{ Type, SessionID []json.RawMessage }
		dec := json.NewDecoder(strings.NewReader(string(body)))
		if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
			return
		}
		for dec.More() {
			tok, err := dec.Token()
			if err != nil {
				return
			}
			var v json.RawMessage
			if dec.Decode(&v) != nil {
				return
			}
			switch key, _ := tok.(string); {
			case strings.EqualFold(key, "type"):
				top.Type = append(top.Type, v)
			case strings.EqualFold(key, "sessionId"):
				top.SessionID = append(top.SessionID, v)
			}
		}
		if fault == nil && (len(top.Type) > 1 || len(top.SessionID) > 1) {
			t.Fatalf("%q: a repeat is not found", body)
		}
	})
}
