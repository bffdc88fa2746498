package api

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

// told is a transcript that notes what it was asked.
type told struct{ asked []bridge.TranscriptQuery }

func (d *told) Transcript(_ context.Context, q bridge.TranscriptQuery) (bridge.TranscriptPage, error) {
	d.asked = append(d.asked, q)
	if q.Session == "away" {
		return bridge.TranscriptPage{}, bridge.ErrUnavailable
	}
	m := bridge.TranscriptMessage{Message: bridge.Message{
		ID: "telegram:7", SessionID: q.Session, Content: "yes", Sender: bridge.SenderOperator, Timestamp: "2026-01-01T12:00:00Z", Status: "sent",
	}, Metadata: &bridge.MessageMetadata{OperatorName: "Ana"}}
	return bridge.TranscriptPage{Messages: []bridge.TranscriptMessage{m}, More: true}, nil
}

func (d *told) TranscriptOf(context.Context, string, ...string) ([]bridge.TranscriptMessage, error) {
	return nil, nil
}

func TestTranscript(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, path string
		off        bool
		status     int
		asked      bridge.TranscriptQuery
		says       string
	}{
		{"the newest", "/api/sessions/s1/messages", false, 200, bridge.TranscriptQuery{Session: "s1", Limit: 100}, `"operatorName":"Ana"`},
		{"a page", "/api/sessions/a%2Fb/messages?before=telegram:7&limit=3", false, 200,
			bridge.TranscriptQuery{Session: "a/b", Before: "telegram:7", Limit: 3}, `"more":true`},
		{"too many", "/api/sessions/s1/messages?limit=201", false, 400, bridge.TranscriptQuery{}, `"field":"limit"`},
		{"none", "/api/sessions/s1/messages?limit=0", false, 400, bridge.TranscriptQuery{}, `"field":"limit"`},
		{"no id", "/api/sessions/s1/messages?before=%00", false, 400, bridge.TranscriptQuery{}, `"field":"before"`},
		{"twice", "/api/sessions/s1/messages?before=a&before=b", false, 400, bridge.TranscriptQuery{}, `"field":"before"`},
		{"no store", "/api/sessions/away/messages", false, 503, bridge.TranscriptQuery{Session: "away", Limit: 100}, `"unavailable"`},
		{"none are kept", "/api/sessions/s1/messages", true, 404, bridge.TranscriptQuery{}, "TRANSCRIPTS=on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := &told{}
			o := newDesk().options(t)
			o.APIKeys = []bridge.Secret{"0123456789abcdef"}
			if !c.off {
				o.Transcripts = d
			}
			url := serve(t, o)
			if got := ask(t, http.MethodGet, url+c.path, ""); got.status != http.StatusUnauthorized {
				t.Errorf("without a key: %d", got.status)
			}
			got := ask(t, http.MethodGet, url+c.path, "", "Authorization", "Bearer 0123456789abcdef")
			if got.status != c.status || !strings.Contains(got.body, c.says) {
				t.Errorf("%d %s", got.status, got.body)
			}
			if asked := append(d.asked, bridge.TranscriptQuery{}); asked[0] != c.asked {
				t.Errorf("asked for %+v", asked[0])
			}
		})
	}
}

func TestPageEvent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		answers    error
		none       bool
		status     int
	}{
		{"told", `{"name":"cart_ready","data":{"items":2}}`, nil, false, 202},
		{"without data", `{"name":"cart_ready"}`, nil, false, 202},
		{"without a name", `{"data":{}}`, nil, false, 400},
		{"no JSON", `cart`, nil, false, 400},
		{"of another session", `{"name":"x"}`, ErrNoPages, false, 404},
		{"no pages at all", `{"name":"x"}`, nil, true, 404},
		{"no store", `{"name":"x"}`, bridge.ErrUnavailable, false, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newDesk().options(t)
			o.TellPages = func(_ context.Context, session string, e bridge.CustomEvent) error {
				if session != "s1" || e.Name == "" {
					t.Errorf("told %s of %+v", session, e)
				}
				return c.answers
			}
			if c.none {
				o.TellPages = nil
			}
			if got := ask(t, http.MethodPost, serve(t, o)+"/api/sessions/s1/events", c.body); got.status != c.status {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
}
