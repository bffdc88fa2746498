package relay_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/api"
	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/metrics"
)

const scrapeEvery = 30 * time.Second

// recording is what Prometheus would have of a bridge, one value for each scrape.
type recording struct {
	series map[string][]string
	n      int
}

// scrape adds the present values. A series that is not there has none, as where the bridge does not run.
func (r *recording) scrape(h http.Handler) {
	seen := map[string]string{}
	if h != nil {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/metrics", nil))
		for line := range strings.Lines(w.Body.String()) {
			at := strings.LastIndexByte(line, ' ')
			if at < 0 || line[0] == '#' || !strings.HasPrefix(line, "bridge_") || strings.Contains(line, "_bucket{") {
				continue
			}
			name, labels, _ := strings.Cut(line[:at], "{")
			seen[name+`{job="bridge",instance="a",`+strings.TrimSuffix(labels, "}")+"}"] = strings.TrimSpace(line[at+1:])
		}
	}
	for name := range seen {
		if r.series[name] == nil {
			r.series[name] = slices.Repeat([]string{"_"}, r.n)
		}
	}
	for name, values := range r.series {
		value, ok := seen[name]
		if !ok {
			value = "_"
		}
		r.series[name] = append(values, value)
	}
	r.n++
}

// tests is the recording as promtool tests alert rules with it: at its end each of fires has fired, and nothing else has.
func (r *recording) tests(name, rules string, fires []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rule_files: [%s]\nevaluation_interval: 30s\ntests:\n  - name: %s\n    interval: %s\n    input_series:\n", rules, name, scrapeEvery)
	for _, series := range slices.Sorted(maps.Keys(r.series)) {
		fmt.Fprintf(&b, "      - {series: '%s', values: '%s'}\n", series, strings.Join(r.series[series], " "))
	}
	fmt.Fprintf(&b, "    promql_expr_test:\n      - expr: group by (alertname) (max_over_time(ALERTS{alertstate=\"firing\"}[2d]))\n        eval_time: %s\n",
		time.Duration(r.n-1)*scrapeEvery)
	for i, alert := range fires {
		if i == 0 {
			b.WriteString("        exp_samples:\n")
		}
		fmt.Fprintf(&b, "          - {labels: '{alertname=\"%s\"}', value: 1}\n", alert)
	}
	return b.String()
}

// watched is a bridge with Telegram, Discord and one callback whose metrics are recorded.
type watched struct {
	*house
	telegram, discord *bridgetest.Platform
	api, metrics      http.Handler
	full              atomic.Bool // the store has no room
	taken             int         // events
	recording         recording
}

// Ingest refuses what has no room.
func (w *watched) Ingest(ctx context.Context, in bridge.Inbound) (bridge.Accepted, error) {
	if w.full.Load() {
		return bridge.Accepted{}, fmt.Errorf("%w: no space left on device", bridge.ErrUnavailable)
	}
	return w.relay.Ingest(ctx, in)
}

func (w *watched) begin() {
	m := metrics.New("1")
	w.meter = m
	w.start()
	m.WatchLanes(w.relay.Health)
	w.metrics = m.Handler(slog.New(slog.DiscardHandler))
	w.api = api.New(api.Options{Ingester: w, Feed: w.relay.Feed(), Deliveries: w.relay, Meter: m})
}

// post has the app server tell something, which it repeats for as long as it is not taken.
func (w *watched) post(body string) int {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/api/events", strings.NewReader(body))
	r.Host = "127.0.0.1"
	r.Header.Set("Content-Type", "application/json")
	out := httptest.NewRecorder()
	w.api.ServeHTTP(out, r)
	return out.Code
}

// pass lets time pass while a visitor writes and an operator answers every minute, as far as that is possible.
func (w *watched) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(scrapeEvery) {
		w.recording.scrape(w.metrics)
		if w.recording.n%2 == 1 || w.api == nil {
			continue
		}
		w.taken++
		w.post(message("a", fmt.Sprint("m", w.taken), "hello"))
		synctest.Wait()
		if threads := w.telegram.Threads("a"); len(threads) > 0 {
			w.telegram.Say(threads[0], "Ana", fmt.Sprint("answer ", w.taken))
		}
	}
}

// The metrics of a bridge that runs, in the states that the alert rules are about, are recorded as tests for promtool: RECORDINGS names the
// folder where they go. Every metric that a rule asks for is among them.
func TestAlertsAreRecorded(t *testing.T) {
	t.Parallel()
	rules, err := filepath.Abs("../../deploy/monitoring/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	down := fault(bridge.ReasonTransient, bridge.ScopeDestination)
	scenes := []struct {
		name  string
		fires []string
		play  func(w *watched)
	}{
		{"a day on which all is well", nil, func(w *watched) {
			w.begin()
			w.pass(time.Hour)
		}},
		{"a quiet bridge whose events streams take", nil, func(w *watched) {
			w.receivers.ids = nil
			w.begin()
			w.pass(5 * time.Minute)
			w.api = nil
			w.pass(time.Hour)
		}},
		{"a platform asks for a slower pace, and the bridge is started anew", nil, func(w *watched) {
			w.begin()
			w.pass(5 * time.Minute)
			w.telegram.Fail(bridgetest.OpSend, &bridge.DeliveryError{
				Reason: bridge.ReasonRateLimited, Scope: bridge.ScopeDestination, Op: "send", Detail: "HTTP 429", RetryAfter: 3 * time.Minute,
			})
			w.pass(10 * time.Minute)
			w.stop()
			w.api, w.metrics = nil, nil
			w.pass(time.Minute)
			w.begin()
			w.pass(5 * time.Minute)
		}},
		{"a dead platform beside one that works", []string{"BridgePlatformPaused", "BridgeVisitorsWait"}, func(w *watched) {
			w.begin()
			w.pass(5 * time.Minute)
			w.telegram.Hook(bridgetest.OpSend, func(context.Context, bridgetest.Call) error { return down })
			w.pass(20 * time.Minute)
			w.telegram.Hook(bridgetest.OpSend, nil)
			w.pass(5 * time.Minute)
		}},
		{"one visitor's words wait", []string{"BridgeVisitorsWait"}, func(w *watched) {
			w.begin()
			w.post(message("b", "m1", "poison"))
			w.telegram.Hook(bridgetest.OpSend, func(_ context.Context, c bridgetest.Call) error {
				if strings.Contains(c.Text, "poison") {
					return fault(bridge.ReasonTransient, bridge.ScopeSession)
				}
				return nil
			})
			w.post(message("b", "m2", "poison"))
			w.pass(20 * time.Minute)
		}},
		{"a dead callback", []string{"BridgeCallbackFails"}, func(w *watched) {
			w.begin()
			w.pass(5 * time.Minute)
			w.receivers.change(func() { w.receivers.fails["x"] = fault(bridge.ReasonTransient, bridge.ScopeDestination) })
			w.pass(15 * time.Minute)
		}},
		{"a full disk", []string{"BridgeStoreRefuses"}, func(w *watched) {
			w.begin()
			w.pass(5 * time.Minute)
			w.full.Store(true)
			w.pass(12 * time.Minute)
			w.full.Store(false)
			w.pass(5 * time.Minute)
		}},
		{"a message that is refused for good", []string{"BridgeDeadLetters"}, func(w *watched) {
			w.begin()
			w.pass(5 * time.Minute)
			w.telegram.Fail(bridgetest.OpSend, refused()...)
			w.pass(10 * time.Minute)
		}},
	}
	dir := os.Getenv("RECORDINGS")
	if dir == "" {
		dir = t.TempDir()
	}
	recorded := map[string]bool{}
	for i, s := range scenes {
		synctest.Test(t, func(t *testing.T) {
			w := &watched{telegram: bridgetest.NewPlatform("telegram"), discord: bridgetest.NewPlatform("discord"), recording: recording{series: map[string][]string{}}}
			w.house = newHouse(t, w.telegram, w.discord)
			w.receivers.ids = []string{"x"}
			s.play(w)
			w.stop()
			for series := range w.recording.series {
				name, _, _ := strings.Cut(series, "{")
				recorded[name] = true
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("recorded-%d.yaml", i)), []byte(w.recording.tests(s.name, rules, s.fires)), 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	asked, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`bridge_[a-z_]+`).FindAllString(string(asked), -1) {
		if !recorded[name] {
			t.Errorf("%s is in no recording", name)
		}
	}
}
