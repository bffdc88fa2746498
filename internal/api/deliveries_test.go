package api

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
)

// letters are deliveries in memory.
type letters struct {
	asked []string
	page  bridge.DeliveryPage
	fault error
}

func (l *letters) Deliveries(_ context.Context, q bridge.DeliveryQuery) (bridge.DeliveryPage, error) {
	l.asked = append(l.asked, fmt.Sprintf("list %s/%s/%s/%d", q.State, q.Lane, q.After, q.Max))
	return l.page, l.fault
}

func (l *letters) Retry(_ context.Context, id string) error {
	l.asked = append(l.asked, "retry "+id)
	return l.fault
}

func (l *letters) RetryAll(_ context.Context, lane string) (int, int, error) {
	l.asked = append(l.asked, "retry all of "+lane)
	return 3, 1, l.fault
}

func (l *letters) Discard(_ context.Context, id string) error {
	l.asked = append(l.asked, "discard "+id)
	return l.fault
}

func TestDeliveries(t *testing.T) {
	d := newDesk()
	url := serve(t, d.options(t)) + "/api/deliveries"
	check := func(got answered, status int, body string) {
		t.Helper()
		if got.status != status || got.body != body {
			t.Errorf("%d %s\nwant %d %s", got.status, got.body, status, body)
		}
	}
	check(ask(t, "GET", url, ""), 200, `{"deliveries":[]}`)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d.letters.page = bridge.DeliveryPage{Next: "f:x", Deliveries: []bridge.Delivery{
		{ID: "callbacks:evt_0000000000000001:web 1", State: "failed", Lane: "callbacks", Target: "web 1", EventID: "evt_0000000000000001",
			Type: bridge.TypeOperatorMessage, SessionID: "s", MessageID: "m", Timestamp: at, Reason: bridge.ReasonRejected, Detail: "422", FailedAt: at},
		{ID: "telegram:evt_0000000000000002", State: "waiting", Lane: "telegram", EventID: "evt_0000000000000002", Type: bridge.TypeAnswer, Timestamp: at},
	}}
	check(ask(t, "GET", url+"?state=failed&lane=callbacks&after=f%3Aw&limit=2", ""), 200, `{"deliveries":[`+
		`{"id":"callbacks:evt_0000000000000001:web 1","state":"failed","lane":"callbacks","target":"web 1","eventId":"evt_0000000000000001",`+
		`"type":"operator_message","sessionId":"s","messageId":"m","timestamp":"2026-01-02T03:04:05Z","reason":"rejected","detail":"422",`+
		`"failedAt":"2026-01-02T03:04:05Z"},`+
		`{"id":"telegram:evt_0000000000000002","state":"waiting","lane":"telegram","eventId":"evt_0000000000000002","type":"answer",`+
		`"timestamp":"2026-01-02T03:04:05Z"}],"next":"f:x"}`)
	check(ask(t, "POST", url+"/callbacks:evt_0000000000000001:web%201/retry", ""), 202, `{"ok":true,"id":"callbacks:evt_0000000000000001:web 1"}`)
	check(ask(t, "POST", url+"/retry?lane=telegram", ""), 202, `{"ok":true,"retried":3,"left":1}`)
	check(ask(t, "DELETE", url+"/telegram%3Aevt_0000000000000002", ""), 204, "")
	want := []string{
		"list ///50", "list failed/callbacks/f:w/2", "retry callbacks:evt_0000000000000001:web 1", "retry all of telegram",
		"discard telegram:evt_0000000000000002",
	}
	if diff := cmp.Diff(want, d.letters.asked); diff != "" {
		t.Error(diff)
	}
}

func TestDeliveriesRefused(t *testing.T) {
	d := newDesk()
	url := serve(t, d.options(t)) + "/api/deliveries"
	for _, c := range []struct {
		method, path string
		fault        error
		status       int
		code, field  string
	}{
		{"GET", "?state=lost", nil, 400, "invalid_field", "state"},
		{"GET", "?state=waiting&state=failed", nil, 400, "invalid_field", "state"},
		{"GET", "?limit=0", nil, 400, "invalid_field", "limit"},
		{"GET", "?limit=201", nil, 400, "invalid_field", "limit"},
		{"GET", "?limit=many", nil, 400, "invalid_field", "limit"},
		{"GET", "?after=" + strings.Repeat("x", 1025), nil, 400, "invalid_field", "after"},
		{"GET", "?lane=x", &bridge.FieldError{Field: "lane", Problem: "is no lane"}, 400, "invalid_field", "lane"},
		{"GET", "", bridge.ErrUnavailable, 503, "unavailable", ""},
		{"POST", "/retry", nil, 400, "invalid_field", "lane"},
		{"POST", "/retry?lane=", nil, 400, "invalid_field", "lane"},
		{"POST", "/retry?lane=x", fmt.Errorf("wrapped: %w", bridge.ErrNoLane), 400, "invalid_field", "lane"},
		{"POST", "/x/retry", bridge.ErrNoDelivery, 404, "not_found", ""},
		{"POST", "/x/retry", bridge.ErrNoLane, 422, "no_lane", ""},
		{"POST", "/%00/retry", nil, 404, "not_found", ""},
		{"POST", "/" + strings.Repeat("x", 129) + "/retry", nil, 404, "not_found", ""},
		{"DELETE", "/x", bridge.ErrNoDelivery, 404, "not_found", ""},
		{"DELETE", "/x", bridge.ErrUnavailable, 503, "unavailable", ""},
		{"DELETE", "/%ff", nil, 404, "not_found", ""},
	} {
		d.letters.fault = c.fault
		got := ask(t, c.method, url+c.path, "")
		if code, field := got.problem(t); got.status != c.status || code != c.code || field != c.field {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.status, got.body)
		}
	}
}
