package api

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

// Propose implements bridge.Proposer: nothing is known of the session “nobody”.
func (d *desk) Propose(_ context.Context, session string, _ bridge.Draft, _, _ string) (bridge.Accepted, error) {
	if session == "nobody" {
		return bridge.Accepted{}, bridge.ErrNoSession
	}
	return bridge.Accepted{ID: "evt_1767268800000000"}, nil
}

// proposals keeps what was proposed.
type proposals struct {
	session, key, sum string
	draft             bridge.Draft
}

func (p *proposals) Propose(_ context.Context, session string, d bridge.Draft, key, sum string) (bridge.Accepted, error) {
	*p = proposals{session, key, sum, d}
	return bridge.Accepted{ID: "evt_1767268800000000"}, nil
}

func TestDrafts(t *testing.T) {
	t.Parallel()
	kept := &proposals{}
	o := newDesk().options(t)
	o.Proposer, o.MaskCards = kept, true
	base := serve(t, o)
	post := func(path, body string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Idempotency-Key", "k")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for body, want := range map[string]int{
		`{"id":"d","content":"card 4111 1111 1111 1111","author":"Bot"}`: http.StatusOK,
		`{"content":"x"}`:        http.StatusBadRequest,
		`{"id":"d"}`:             http.StatusBadRequest,
		`{"id":"d","content":7}`: http.StatusBadRequest,
		`{"id":"d","content":"` + strings.Repeat("x", bridge.MaxDraft+1) + `"}`: http.StatusBadRequest,
		`{"id":"d","content":"x","author":"` + strings.Repeat("x", 1000) + `"}`: http.StatusBadRequest,
		`{"id":"` + strings.Repeat("x", 129) + `","content":"x"}`:               http.StatusBadRequest,
		`[]`: http.StatusBadRequest,
	} {
		if got := post("/api/sessions/s1/drafts", body); got != want {
			t.Errorf("%.60s is answered with %d, not %d", body, got, want)
		}
	}
	if kept.session != "s1" || kept.draft.ID != "d" || kept.draft.Author != "Bot" || strings.Contains(kept.draft.Content, "4111") ||
		!strings.Contains(kept.key, "s1 k") || kept.sum == "" {
		t.Errorf("%+v", kept)
	}
}
