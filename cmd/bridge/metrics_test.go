package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// scraped is what a scrape says: series, as name{label="value",…} with sorted labels, and their values. A histogram's number
// of observations is in its _count.
type scraped map[string]float64

// scrape reads the metrics of a bridge as Prometheus does.
func (r *rig) scrape(base, key string) (scraped, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, base+"/metrics", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		r.t.Fatalf("a scrape is answered with %d, %s, %v", resp.StatusCode, resp.Header.Get("Content-Type"), err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		r.t.Fatalf("%v in:\n%s", err, text)
	}
	out := scraped{}
	for name, family := range families {
		for _, series := range family.GetMetric() {
			labels := make([]string, 0, len(series.GetLabel()))
			for _, l := range series.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			slices.Sort(labels)
			of := ""
			if len(labels) > 0 {
				of = "{" + strings.Join(labels, ",") + "}"
			}
			switch family.GetType() {
			case dto.MetricType_COUNTER:
				out[name+of] = series.GetCounter().GetValue()
			case dto.MetricType_HISTOGRAM:
				out[name+"_count"+of] = float64(series.GetHistogram().GetSampleCount())
				out[name+"_sum"+of] = series.GetHistogram().GetSampleSum()
			default:
				out[name+of] = series.GetGauge().GetValue()
			}
		}
	}
	return out, string(text)
}

// sum adds up the series whose name begins so and that have all of the labels.
func (s scraped) sum(name string, labels ...string) float64 {
	sum := 0.0
	for series, value := range s {
		if strings.HasPrefix(series, name) && !slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(series, l) }) {
			sum += value
		}
	}
	return sum
}

// of are the series whose name begins so.
func (s scraped) of(name string) scraped {
	out := scraped{}
	for series, value := range s {
		if strings.HasPrefix(series, name) {
			out[series] = value
		}
	}
	return out
}

// calls are the metrics of the calls that Telegram's stand-in saw.
func (r *rig) calls() scraped {
	out := scraped{}
	for _, c := range r.telegram.Calls() {
		op := map[string]string{"createForumTopic": "open_thread", "editForumTopic": "rename_thread", "sendMessage": "send",
			"setMessageReaction": "react"}[c.Method]
		reason, known := map[int]string{
			http.StatusOK: "ok", 0: "unconfirmed", http.StatusTooManyRequests: "rate_limited", http.StatusBadRequest: "rejected",
			http.StatusInternalServerError: "transient",
		}[c.Code]
		if op != "" && known {
			out[fmt.Sprintf(`bridge_calls_total{lane="telegram",op=%q,reason=%q}`, op, reason)]++
		}
	}
	return out
}

// Metrics say what happened, to the number, when some of it fails and some works.
func TestMetrics(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		t.Parallel() // it waits for pauses to end
		const session, poison = "kept-session-41", "poison"
		r.withSecrets()
		r.telegram.Next("createForumTopic", telegram.Fail(http.StatusInternalServerError, "Internal Server Error"))
		r.telegram.Next("sendMessage", telegram.FloodWait(1), telegram.Action{DropAfter: true})
		r.telegram.On("sendMessage", func(c telegram.Call) telegram.Action {
			if strings.Contains(c.Text, poison) {
				return telegram.Fail(http.StatusBadRequest, "Bad Request: message is too long")
			}
			return telegram.Action{}
		})
		r.env["TELEGRAM_RATE"] = "1200"      // or what is learnt from the refusal would be 20 a minute
		r.env["PRESENCE_ON_REPLY"] = "false" // or the first word would tell of a status, too
		p := r.start()
		stream := r.listen(keptKey)
		post := func(path, key, body string, want int) {
			t.Helper()
			if code, text := r.ask(http.MethodPost, path, key, body); code != want {
				t.Fatalf("POST %s is answered with %d, not %d: %s", path, code, want, text)
			}
		}
		const messages = 20
		post("/api/messages", keptKey, message(session, "kept-message-0", keptText+" 0"), http.StatusOK)
		r.until("in the topic", func() bool { return len(r.topics(session)) == 1 })
		topic := r.topics(session)[0].ID
		for i := 1; i < messages; i++ {
			text := fmt.Sprint(keptText, " ", i)
			if i == 7 {
				text = poison
			}
			post("/api/messages", keptKey, message(session, fmt.Sprint("kept-message-", i), text), http.StatusOK)
		}
		post("/api/messages", keptOldKey, message(session, "kept-message-3", keptText+" 3"), http.StatusOK) // a duplicate
		post("/api/messages", "", message(session, "kept-message-no", keptText), http.StatusUnauthorized)
		post("/api/events", keptKey, `{"type":"kept-type"}`, http.StatusBadRequest)
		post("/api/events", keptKey, `{"type":"visitor_typing","sessionId":"`+session+`","isTyping":true}`, http.StatusOK)
		post("/api/events", keptKey, `{"type":"visitor_message_edited","sessionId":"`+session+`"}`, http.StatusBadRequest)
		const words = 5
		for i := range words {
			r.telegram.Say(r.chat, topic, r.ana.ID, fmt.Sprint("kept-answer ", i))
		}
		r.telegram.Say(r.chat, 0, r.ana.ID, "among ourselves")
		r.until("everything everywhere", func() bool {
			return len(r.app.of("message_delivered")) == messages-1 && len(r.app.of("message_failed")) == 1 &&
				len(r.app.of("operator_message")) == words
		})
		// What is counted is what the stand-in and the app server saw, and nothing besides. It is counted a moment after they saw it.
		posted := float64(words + messages) // the words and the receipts
		var now scraped
		var text string
		var differs []string
		r.eventually(func() bool {
			now, text = r.scrape(p.base, keptKey)
			differs = nil
			calls := r.calls()
			if len(calls) < 6 {
				differs = append(differs, fmt.Sprintf("not all that was to happen has: %v", calls))
			}
			want := scraped{
				`bridge_accepts_total{result="accepted",type="visitor_message"}`:       messages,
				`bridge_accepts_total{result="accepted",type="visitor_typing"}`:        1,
				`bridge_accepts_total{result="duplicate",type="visitor_message"}`:      1,
				`bridge_accepts_total{result="unauthorized",type="visitor_message"}`:   1,
				`bridge_accepts_total{result="invalid",type="other"}`:                  1,
				`bridge_accepts_total{result="invalid",type="visitor_message_edited"}`: 1,
				`bridge_request_seconds_count{route="/api/messages",status="2xx"}`:     messages + 1,
				`bridge_request_seconds_count{route="/api/messages",status="4xx"}`:     1,
				`bridge_request_seconds_count{route="/api/events",status="4xx"}`:       2,
				`bridge_updates_total{kind="message",platform="telegram"}`:             words + 1,
				`bridge_calls_total{lane="callbacks",op="post",reason="ok"}`:           posted,
				`bridge_repeats_total{lane="telegram"}`:                                1,
				`bridge_repeats_total{lane="callbacks"}`:                               0,
				`bridge_dead_letters_total{lane="telegram",reason="rejected"}`:         1,
				`bridge_dead_letters_total{lane="telegram",reason="transient"}`:        0,
				`bridge_delivery_seconds_count{lane="telegram"}`:                       messages - 1 + words + 1, // and the words' signs, and what is said of the refusal
				`bridge_delivery_seconds_count{lane="callbacks"}`:                      posted,
				`bridge_callback_seconds_count`:                                        words,
				`bridge_orphans_total{lane="telegram"}`:                                0,
				`bridge_lane_owned{lane="telegram"}`:                                   1,
				`bridge_lane_owned{lane="callbacks"}`:                                  1,
				`bridge_lane_paused{lane="telegram"}`:                                  0,
				`bridge_lane_oldest_seconds{lane="telegram"}`:                          0,
				`bridge_streams`:    1,
				`bridge_log_events`: messages + posted + words + 1, // that each word reached the app, and the refusal
			}
			maps.Copy(want, calls)
			for series, value := range want {
				if got, there := now[series]; got != value || !there {
					differs = append(differs, fmt.Sprintf("%s is %v, %v, want %v", series, got, there, value))
				}
			}
			for name, sum := range map[string]float64{
				"bridge_accepts_total": messages + 5, "bridge_dead_letters_total": 1, "bridge_calls_total": posted + total(calls),
				"bridge_lane_backlog": 0,
			} {
				got := now.sum(name)
				if name == "bridge_calls_total" { // a busy machine may be too late for a poll, or its store for an attempt: neither is a call of a delivery
					got -= now.sum(name, `op="listen"`) + now.sum(name, `op="attempt"`)
				}
				if got != sum {
					differs = append(differs, fmt.Sprintf("all of %s are %v, want %v: %v", name, got, sum, now.of(name)))
				}
			}
			return len(differs) == 0
		})
		for _, line := range differs {
			t.Error(line)
		}
		if age := now["bridge_log_age_seconds"]; age <= 0 || age > hung.Seconds()*2 {
			t.Errorf("the log's age is %v", age)
		}
		if sum := now[`bridge_delivery_seconds_sum{lane="telegram"}`]; sum < 1 || math.IsNaN(sum) { // the flood wait alone
			t.Errorf("all deliveries took %v", sum)
		}
		limited := now[`bridge_retry_after_seconds_count{lane="telegram",method="sendMessage"}`]
		if counted := now.sum("bridge_calls_total", `lane="telegram"`, `reason="rate_limited"`); limited != counted || limited == 0 {
			t.Errorf("%v times were asked for by calls that were refused for their pace, of which there were %v", limited, counted)
		}
		// An attempt that failed is one line of the log, with its reason.
		for _, reason := range []string{"transient", "rate_limited", "unconfirmed", "rejected"} {
			lines := 0
			for line := range strings.Lines(p.Output()) {
				if strings.Contains(line, `msg="an attempt failed"`) && strings.Contains(line, "reason="+reason+" ") {
					lines++
				}
			}
			if counted := now.sum("bridge_calls_total", fmt.Sprintf("reason=%q", reason)); float64(lines) != counted || lines == 0 {
				t.Errorf("%s: %d lines, counted %v", reason, lines, counted)
			}
		}

		r.noLeak("a scrape", text)
		for _, kept := range []string{"kept-", session, "Ana", "among", poison, fmt.Sprint(r.chat), r.app.url, "too long", "default"} {
			if strings.Contains(text, kept) {
				t.Errorf("a scrape shows %q", kept)
			}
		}
		for _, key := range []string{"", "wrong", keptKey + "x"} {
			if code, _ := r.ask(http.MethodGet, "/metrics", key, ""); code != http.StatusUnauthorized {
				t.Errorf("a scrape with the key %q is answered with %d", key, code)
			}
		}

		// A platform that is gone.
		r.telegram.On("sendMessage", func(telegram.Call) telegram.Action { return telegram.Page(http.StatusForbidden) }) // a proxy that lets nothing by
		post("/api/messages", keptKey, message(session, "kept-message-last", "held up"), http.StatusOK)
		r.until("seen to be paused", func() bool {
			now, _ = r.scrape(p.base, keptKey)
			return now[`bridge_lane_paused{lane="telegram"}`] == 1
		})
		if n, age := now[`bridge_lane_backlog{lane="telegram"}`], now[`bridge_lane_oldest_seconds{lane="telegram"}`]; n != 1 || age <= 0 {
			t.Errorf("%v events wait, for %v seconds", n, age)
		}
		if n := now.sum("bridge_lane_backlog", `lane="callbacks"`) + now.sum("bridge_lane_paused", `lane="callbacks"`); n != 0 {
			t.Error("the other lane is held up")
		}

		if r.env["REDIS_URL"] != "" { // of two bridges one owns a lane, and tells of it
			other := r.launch()
			t.Cleanup(other.Kill)
			theirs, _ := r.scrape(other.base, keptKey)
			if theirs.sum("bridge_lane_owned") != 0 || theirs.sum("bridge_lane_backlog") != 0 {
				t.Errorf("the second bridge says that it owns %v lanes", theirs.sum("bridge_lane_owned"))
			}
			if theirs["bridge_log_events"] != messages+posted+words+2 {
				t.Errorf("the log has %v events", theirs["bridge_log_events"])
			}
		}
		if code := p.Exit(); code != 0 {
			t.Errorf("it ended with %d:\n%s", code, p.Output())
		}
		<-stream.ended
	})
}

func total(of map[string]float64) float64 {
	sum := 0.0
	for _, value := range of {
		sum += value
	}
	return sum
}

var servedApart = regexp.MustCompile(`msg="metrics are served apart" address=([0-9.:]+)`)

// METRICS_ADDR moves the metrics: no key there, and nothing left with the API.
func TestMetricsApart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.withSecrets()
	r.env["METRICS_ADDR"] = "127.0.0.1:0"
	p := r.start()
	found := servedApart.FindStringSubmatch(p.Output())
	if found == nil {
		t.Fatalf("no address of the metrics in:\n%s", p.Output())
	}
	base := "http://" + found[1]
	if now, _ := r.scrape(base, ""); now[`bridge_lane_owned{lane="telegram"}`] > 1 || now.sum("bridge_build_info") != 1 {
		t.Error("there are no metrics")
	}
	for key, want := range map[string]int{"": http.StatusUnauthorized, keptKey: http.StatusNotFound} {
		if code, text := r.ask(http.MethodGet, "/metrics", key, ""); code != want || strings.Contains(text, "bridge_") {
			t.Errorf("the API answers %d, want %d", code, want)
		}
	}
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{http.MethodGet, "/", http.StatusNotFound},
		{http.MethodGet, "/api/presence", http.StatusNotFound},
		{http.MethodPost, "/api/messages", http.StatusNotFound},
		{http.MethodPost, "/metrics", http.StatusMethodNotAllowed},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, base+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != test.want {
			t.Errorf("%s %s is answered with %d there, want %d", test.method, test.path, resp.StatusCode, test.want)
		}
	}

	taken := newRig(t)
	taken.withSecrets()
	taken.env["METRICS_ADDR"] = found[1]
	if second := taken.launch(); second.base != "" || !strings.Contains(second.Output(), "METRICS_ADDR: ") {
		second.Kill()
		t.Errorf("a taken address is not refused:\n%s", second.Output())
	}

	if code := p.Exit(); code != 0 {
		t.Errorf("it ended with %d:\n%s", code, p.Output())
	}
	if resp, err := r.client.Get(base + "/metrics"); err == nil {
		_ = resp.Body.Close()
		t.Error("metrics are served after the end")
	}
}

// Where no key is asked for, none is asked for metrics.
func TestMetricsWithoutKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stores()["bolt"](t, r.env)
	p := r.start()
	r.must("/api/messages", message("mia", "m1", "hello"))
	if now, _ := r.scrape(p.base, ""); now.sum("bridge_accepts_total") != 1 {
		t.Errorf("%v accepts are counted", now.sum("bridge_accepts_total"))
	}
}
