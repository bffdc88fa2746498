package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Stats implements bridge.StatsSource: it tells the window that it was asked for.
func (d *desk) Stats(_ context.Context, from, to time.Time) (bridge.Stats, error) {
	return bridge.Stats{From: bridge.WireTime(from), To: bridge.WireTime(to), Sparkline: []int{}}, d.statsErr
}

func TestStatsWindows(t *testing.T) {
	d := newDesk()
	url := serve(t, d.options(t))
	now := time.Now().UTC()
	today := now.Truncate(24 * time.Hour)
	day := func(ago int) string { return today.AddDate(0, 0, -ago).Format(time.DateOnly) }
	for _, test := range []struct {
		query    string
		from, to time.Time // to the minute
	}{
		{"", now.AddDate(0, 0, -6), now},
		{"?period=7d", now.AddDate(0, 0, -6), now},
		{"?period=30d", now.AddDate(0, 0, -29), now},
		{"?from=" + day(3), today.AddDate(0, 0, -3), now},
		{"?from=" + day(35), today.AddDate(0, 0, -35), now},
		{"?from=" + day(9) + "&to=" + day(2), today.AddDate(0, 0, -9), today.AddDate(0, 0, -1)},
		{"?from=" + day(9) + "&to=" + day(9), today.AddDate(0, 0, -9), today.AddDate(0, 0, -8)},
		{"?from=" + day(2) + "&to=" + now.AddDate(1, 0, 0).Format(time.RFC3339), today.AddDate(0, 0, -2), now},
		{"?from=" + day(2) + "T02:00:00%2B02:00", today.AddDate(0, 0, -2), now},
		{"?from=" + day(2) + "T02:00:00+02:00", today.AddDate(0, 0, -2), now}, // a plus sign as most write it
	} {
		for _, path := range []string{"/stats", "/api/v1/stats"} {
			got := ask(t, "GET", url+path+test.query, "")
			if got.status != 200 {
				t.Errorf("%s: %d %s", test.query, got.status, got.body)
				continue
			}
			for name, want := range map[string]time.Time{"from": test.from, "to": test.to} {
				_, rest, _ := strings.Cut(got.body, `"`+name+`":"`)
				told, _, _ := strings.Cut(rest, `"`)
				if at, ok := bridge.Time(told); !ok || at.Sub(want).Abs() > 5*time.Minute {
					t.Errorf("%s: %s is %s, want %s", test.query, name, told, want)
				}
			}
		}
	}
	for query, field := range map[string]string{
		"?period=8d": "period", "?period=7d&from=" + day(2): "period", "?to=" + day(2): "from", "?from=yesterday": "from",
		"?from=" + day(36): "from", "?from=" + day(2) + "&to=soon": "to", "?from=" + day(2) + "&to=" + day(3): "to",
		"?from=" + now.Add(48*time.Hour).Format(time.RFC3339): "from", "?period=7d&period=7d": "period",
	} {
		if got := ask(t, "GET", url+"/stats"+query, ""); got.status != 400 || !strings.Contains(got.body, `"field":"`+field+`"`) {
			t.Errorf("%s: %d %s, want 400 and the field %s", query, got.status, got.body, field)
		}
	}
	d.statsErr = bridge.ErrUnavailable
	if got := ask(t, "GET", url+"/stats", ""); got.status != 503 {
		t.Errorf("the store is away: %d %s", got.status, got.body)
	}
}

// Erase and Erasure implement bridge.Eraser.
func (d *desk) Erase(_ context.Context, session string, platforms bool) (string, error) {
	d.erased = append(d.erased, fmt.Sprint(session, " ", platforms))
	return "e1", d.statsErr
}

func (d *desk) Erasure(_ context.Context, id string) (bridge.Erasure, bool, error) {
	return bridge.Erasure{ID: id, State: bridge.ErasureDone, Left: []bridge.ErasureLeft{{Where: "slack", Messages: 1, Reason: "a person's"}}}, id == "e1", d.statsErr
}

func TestErase(t *testing.T) {
	d := newDesk()
	url := serve(t, d.options(t))
	for path, status := range map[string]int{
		"/api/sessions/s1": 202, "/api/sessions/s2?platforms=true": 202, "/api/sessions/s3?platforms=1": 202, "/api/sessions/s4?platforms=some": 400,
	} {
		if got := ask(t, "DELETE", url+path, ""); got.status != status || status == 202 && got.body != `{"id":"e1"}` {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	slices.Sort(d.erased)
	if want := []string{"s1 false", "s2 true", "s3 true"}; !slices.Equal(d.erased, want) {
		t.Errorf("%q, want %q", d.erased, want)
	}
	for id, status := range map[string]int{"e1": 200, "e2": 404} {
		if got := ask(t, "GET", url+"/api/erasures/"+id, ""); got.status != status {
			t.Errorf("%s: %d %s", id, got.status, got.body)
		}
	}
	d.statsErr = bridge.ErrUnavailable
	if got := ask(t, "DELETE", url+"/api/sessions/s1", ""); got.status != 503 {
		t.Errorf("the store is away: %d %s", got.status, got.body)
	}
}
