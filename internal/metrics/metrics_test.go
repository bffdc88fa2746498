package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/metrics"
)

// scrape reads the series as Prometheus does: by name and labels, histograms by their number of observations.
func scrape(t *testing.T, m *metrics.Metrics) map[string]float64 {
	t.Helper()
	text := page(t, m)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	out := map[string]float64{}
	for name, family := range families {
		for _, series := range family.GetMetric() {
			var labels []string
			for _, l := range series.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			key := strings.TrimSpace(name + " " + strings.Join(labels, " "))
			switch family.GetType() {
			case dto.MetricType_COUNTER:
				out[key] = series.GetCounter().GetValue()
			case dto.MetricType_HISTOGRAM:
				out[key] = float64(series.GetHistogram().GetSampleCount())
				out[key+" sum"] = series.GetHistogram().GetSampleSum()
			default:
				out[key] = series.GetGauge().GetValue()
			}
		}
	}
	return out
}

func page(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler(slog.New(slog.NewTextHandler(t.Output(), nil))).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Body)
	if err != nil || w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%d %s %v", w.Code, w.Header().Get("Content-Type"), err)
	}
	return string(body)
}

// ours leaves out what is zero, and the series of Go and of the process.
func ours(all map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for key, value := range all {
		if strings.HasPrefix(key, "bridge_") && value != 0 {
			out[key] = value
		}
	}
	return out
}

func TestCounts(t *testing.T) {
	m := metrics.New("1.2.3")
	accepted := m.Accepts("visitor_message", "accepted")
	for range 3 {
		accepted()
	}
	m.Accepts("other", "invalid")()
	told := m.Requests("/api/messages")
	told(200, 2*time.Second)
	told(204, time.Second)
	told(503, 4*time.Second)
	told(0, time.Second)
	told(-7, time.Second)
	told(999, time.Second)
	m.StreamOpened()
	m.StreamOpened()
	m.StreamClosed()
	m.PageOpened("socket")
	m.PageOpened("stream")
	m.PageOpened("stream")
	m.PageClosed("stream")
	m.Pushed()
	m.Pushed()
	m.Refused("origin")
	m.Called("telegram", "send", "")
	m.Called("telegram", "send", "")
	m.Called("telegram", "send", bridge.ReasonRateLimited)
	m.Called("telegram", "send", "what no adapter should say")
	m.Called("callbacks", "post", bridge.ReasonTransient)
	m.Repeated("telegram")
	m.Delivered("telegram", 2*time.Second)
	m.Delivered("telegram", -time.Second)
	m.CalledBack(3 * time.Second)
	m.CalledBack(-time.Hour)
	m.Orphaned("telegram")
	m.Limited("telegram", "sendMessage", 8*time.Second)
	m.Limited("telegram", "sendMessage", 40*time.Second)
	m.DeadLettered("telegram", bridge.ReasonRejected)
	m.Updated("telegram", bridge.UpdateMessage)
	m.Updated("telegram", bridge.UpdateNothing)
	want := map[string]float64{
		"bridge_build_info go_version=" + runtime.Version() + " version=1.2.3": 1,
		"bridge_accepts_total result=accepted type=visitor_message":            3,
		"bridge_pages way=socket":                                     1,
		"bridge_pages way=stream":                                     1,
		"bridge_page_pushes_total":                                    2,
		"bridge_page_refusals_total code=origin":                      1,
		"bridge_accepts_total result=invalid type=other":              1,
		"bridge_request_seconds route=/api/messages status=2xx":       2,
		"bridge_request_seconds route=/api/messages status=2xx sum":   3,
		"bridge_request_seconds route=/api/messages status=5xx":       1,
		"bridge_request_seconds route=/api/messages status=5xx sum":   4,
		"bridge_request_seconds route=/api/messages status=other":     3,
		"bridge_request_seconds route=/api/messages status=other sum": 3,
		"bridge_streams": 1,
		"bridge_calls_total lane=telegram op=send reason=ok":              2,
		"bridge_calls_total lane=telegram op=send reason=rate_limited":    1,
		"bridge_calls_total lane=telegram op=send reason=other":           1,
		"bridge_calls_total lane=callbacks op=post reason=transient":      1,
		"bridge_retry_after_seconds lane=telegram method=sendMessage":     2,
		"bridge_retry_after_seconds lane=telegram method=sendMessage sum": 48,
		"bridge_repeats_total lane=telegram":                              1,
		"bridge_delivery_seconds lane=telegram":                           2,
		"bridge_delivery_seconds lane=telegram sum":                       2,
		"bridge_callback_seconds":                                         2,
		"bridge_callback_seconds sum":                                     3,
		"bridge_orphans_total lane=telegram":                              1,
		"bridge_dead_letters_total lane=telegram reason=rejected":         1,
		"bridge_updates_total kind=message platform=telegram":             1,
		"bridge_updates_total kind=none platform=telegram":                1,
	}
	all := scrape(t, m)
	if diff := cmp.Diff(want, ours(all)); diff != "" {
		t.Errorf("-want +scraped\n%s", diff)
	}
	for _, name := range []string{"go_goroutines", "go_memstats_heap_alloc_bytes", "process_start_time_seconds", "process_open_fds"} {
		if all[name] == 0 {
			t.Errorf("no %s", name)
		}
	}
}

func TestLanes(t *testing.T) {
	health := []bridge.LaneHealth{{Lane: "telegram", State: "waiting"}, {Lane: "callbacks", State: "waiting"}}
	m := metrics.New("")
	m.WatchLanes(func() []bridge.LaneHealth { return health })
	all := scrape(t, m)
	for _, lane := range []string{"telegram", "callbacks"} {
		for _, key := range []string{
			"bridge_lane_owned lane=" + lane, "bridge_repeats_total lane=" + lane, "bridge_orphans_total lane=" + lane,
			"bridge_delivery_seconds lane=" + lane, "bridge_dead_letters_total lane=" + lane + " reason=transient",
			"bridge_dead_letters_total lane=" + lane + " reason=rejected",
		} {
			if value, ok := all[key]; !ok || value != 0 {
				t.Errorf("%s is %v, %v at the start", key, value, ok)
			}
		}
		if _, told := all["bridge_lane_backlog lane="+lane]; told {
			t.Errorf("the backlog of %s is told by one that does not know it", lane)
		}
	}
	health = []bridge.LaneHealth{
		{Lane: "telegram", State: "paused", Reason: "auth: 401 what telegram said", Waiting: 7, Oldest: 90 * time.Second},
		{Lane: "callbacks", State: "delivering", Waiting: 1, Oldest: -time.Second},
	}
	text := page(t, m)
	if strings.Contains(text, "what telegram said") { // a number such as 401 is on the page by chance
		t.Errorf("a cause is shown:\n%s", text)
	}
	want := map[string]float64{
		"bridge_lane_owned lane=telegram": 1, "bridge_lane_paused lane=telegram": 1,
		"bridge_lane_backlog lane=telegram": 7, "bridge_lane_oldest_seconds lane=telegram": 90,
		"bridge_lane_owned lane=callbacks": 1, "bridge_lane_backlog lane=callbacks": 1,
		"bridge_build_info go_version=" + runtime.Version() + " version=": 1,
	}
	if diff := cmp.Diff(want, ours(scrape(t, m))); diff != "" {
		t.Errorf("-want +scraped\n%s", diff)
	}
}

func TestLog(t *testing.T) {
	var entries int
	var oldest bridge.Seq
	var fault error
	m := metrics.New("")
	m.WatchLog(func(ctx context.Context) (int, bridge.Seq, error) {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 5*time.Second {
			t.Errorf("a scrape waits until %v, %v", deadline, ok)
		}
		return entries, oldest, fault
	})
	check := func(events, low, high float64, there bool) {
		t.Helper()
		all := scrape(t, m)
		gotEvents, ok := all["bridge_log_events"]
		age, alsoOK := all["bridge_log_age_seconds"]
		if ok != there || alsoOK != there || gotEvents != events || age < low || age > high {
			t.Errorf("%v events, %v seconds, there: %v %v", gotEvents, age, ok, alsoOK)
		}
	}
	check(0, 0, 0, true)
	entries, oldest = 5, bridge.SeqAt(time.Now().Add(-time.Hour))
	check(5, 3600, 3700, true)
	entries, oldest = 1, bridge.SeqAt(time.Now().Add(time.Hour)) // by a clock that is ahead
	check(1, 0, 0, true)
	fault = errors.Join(bridge.ErrUnavailable, errors.New("redis://secret"))
	check(0, 0, 0, false)
	if strings.Contains(page(t, m), "secret") {
		t.Error("a store's fault is shown")
	}
}

// Prometheus' own rules for names, units and help.
func TestLint(t *testing.T) {
	m := metrics.New("1.2.3")
	m.WatchLanes(func() []bridge.LaneHealth {
		return []bridge.LaneHealth{{Lane: "telegram", State: "delivering", Waiting: 1}}
	})
	m.WatchLog(func(context.Context) (int, bridge.Seq, error) { return 1, 1, nil })
	m.Accepts("visitor_message", "accepted")()
	m.Requests("/api/messages")(200, time.Second)
	m.Called("telegram", "send", "")
	m.Updated("telegram", bridge.UpdateMessage)
	problems, err := promlint.New(strings.NewReader(page(t, m))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "bridge_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// Labels are few, and named as the log's keys are.
func TestLabels(t *testing.T) {
	m := metrics.New("1.2.3")
	m.WatchLanes(func() []bridge.LaneHealth { return []bridge.LaneHealth{{Lane: "telegram", State: "delivering"}} })
	m.Accepts("visitor_message", "accepted")()
	m.Requests("/api/messages")(200, time.Second)
	m.Called("telegram", "send", "")
	m.Updated("telegram", bridge.UpdateMessage)
	known := []string{"lane", "platform", "type", "result", "op", "reason", "kind", "route", "status", "version", "go_version"}
	for key := range scrape(t, m) {
		if !strings.HasPrefix(key, "bridge_") {
			continue
		}
		for _, label := range strings.Fields(key)[1:] {
			if name, _, is := strings.Cut(label, "="); is && !slices.Contains(known, name) {
				t.Errorf("%s has the label %s", key, name)
			}
		}
	}
}

func TestTwoOfThem(t *testing.T) {
	for i := range 2 { // in one process, as tests have them: nothing is registered globally
		m := metrics.New(fmt.Sprint(i))
		m.Accepts("other", "accepted")()
		if n := scrape(t, m)["bridge_accepts_total result=accepted type=other"]; n != 1 {
			t.Errorf("counted %v", n)
		}
	}
}

func BenchmarkAccepts(b *testing.B) {
	accepted := metrics.New("").Accepts("visitor_message", "accepted")
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			accepted()
		}
	})
}

func BenchmarkRequests(b *testing.B) {
	told := metrics.New("").Requests("/api/messages")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			told(200, time.Millisecond)
		}
	})
}

func BenchmarkCalled(b *testing.B) {
	m := metrics.New("")
	b.ReportAllocs()
	for b.Loop() {
		m.Called("telegram", "send", "")
	}
}
