package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
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

// A transcript's file has all pages, oldest first; of what was deleted nothing but that it was there, and an AI is named as one.
func TestTranscriptFile(t *testing.T) {
	t.Parallel()
	d := &paged{}
	for i, m := range []bridge.TranscriptMessage{
		{Message: bridge.Message{Content: "Is anyone\nthere?", Sender: bridge.SenderVisitor}},
		{Message: bridge.Message{Content: "I am", Sender: bridge.SenderAI}},
		{Message: bridge.Message{Content: "Yes", Sender: bridge.SenderOperator, EditedAt: "x"}, Metadata: &bridge.MessageMetadata{OperatorName: "Ana"}},
		{Message: bridge.Message{Content: "secret", Sender: bridge.SenderVisitor, DeletedAt: "x"}},
		{Message: bridge.Message{Sender: bridge.SenderVisitor, Attachments: []bridge.Attachment{
			{Filename: "a.png", URL: "https://files.example/a"}, {Filename: "b.png", URL: "data:image/png;base64,AA"},
		}}},
	} {
		m.ID, m.Timestamp = fmt.Sprint("m", i), fmt.Sprintf("2026-01-01T12:00:0%dZ", i)
		d.all = append(d.all, m)
	}
	o := newDesk().options(t)
	o.Transcripts = d
	url := serve(t, o)
	got := ask(t, http.MethodPost, url+"/api/sessions/s1/transcript", "")
	const want = "2026-01-01T12:00:00Z Visitor: Is anyone\n    there?\n2026-01-01T12:00:01Z AI: I am\n2026-01-01T12:00:02Z Ana: Yes [edited]\n" +
		"2026-01-01T12:00:03Z Visitor: [deleted]\n2026-01-01T12:00:04Z Visitor: \n    [file] a.png https://files.example/a\n    [file] b.png\n"
	if got.status != http.StatusOK || got.body != want {
		t.Errorf("%d\n%s, not\n%s", got.status, got.body, want)
	}
	if got := ask(t, http.MethodPost, url+"/api/sessions/unknown/transcript", ""); got.status != http.StatusNotFound {
		t.Errorf("of an unknown session: %d %s", got.status, got.body)
	}
	o.Transcripts = nil
	if got := ask(t, http.MethodPost, serve(t, o)+"/api/sessions/s1/transcript", ""); got.status != http.StatusNotFound || !strings.Contains(got.body, "TRANSCRIPTS=on") {
		t.Errorf("where none is kept: %d %s", got.status, got.body)
	}
}

// paged is a transcript in pages of two.
type paged struct{ all []bridge.TranscriptMessage }

func (d *paged) Transcript(_ context.Context, q bridge.TranscriptQuery) (bridge.TranscriptPage, error) {
	end := len(d.all)
	for i, m := range d.all {
		if m.ID == q.Before {
			end = i
		}
	}
	if q.Session != "s1" {
		end = 0
	}
	from := max(0, end-2)
	return bridge.TranscriptPage{Messages: slices.Clone(d.all[from:end]), More: from > 0}, nil
}

func (d *paged) TranscriptOf(context.Context, string, ...string) ([]bridge.TranscriptMessage, error) {
	return nil, nil
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
