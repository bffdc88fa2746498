// Package metrics counts what the bridge does, and shows it in Prometheus' text format. It knows the names and labels of the
// series and how they are collected; who counts, and when, is the other rooms' matter: each declares the methods that it
// needs as an interface of its own.
//
// Labels only ever hold words from small sets: a platform or lane, an event's type, a reason, a step, a route. No session, no
// message, no address and no text is a label.
package metrics

import (
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pocketping/bridge/internal/bridge"
)

// Values of labels that stand for what has no word of its own.
const (
	reasonOK    = "ok"
	reasonOther = "other"
	kindNone    = "none" // an update that only moves the cursor
)

// Metrics are all series of one process, in a registry of their own. All methods may be called from several goroutines.
type Metrics struct {
	registry *prometheus.Registry

	accepts     *prometheus.CounterVec
	requests    *prometheus.HistogramVec
	streams     prometheus.Gauge
	updates     *prometheus.CounterVec
	calls       *prometheus.CounterVec
	repeats     *prometheus.CounterVec
	deadLetters *prometheus.CounterVec
	orphans     *prometheus.CounterVec
	merged      *prometheus.CounterVec
	shed        *prometheus.CounterVec
	retryAfter  *prometheus.HistogramVec
	filtered    *prometheus.CounterVec
	deliveries  *prometheus.HistogramVec
	callbacks   prometheus.Histogram
	pages       *prometheus.GaugeVec
	pushes      prometheus.Counter
	refusals    *prometheus.CounterVec
}

// New returns the series, all that can be known beforehand at zero.
func New(version string) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		accepts: counter("bridge_accepts_total",
			"App servers' events, by what became of the request. One that is sent again counts again.", "type", "result"),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bridge_request_seconds", Help: "Time from a request's head to its answer, without streams.",
			Buckets: requestBuckets(),
		}, []string{"route", "status"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "bridge_streams", Help: "Open streams of server-sent events."}),
		updates: counter("bridge_updates_total",
			"Updates taken from a platform, without those that were known already.", "platform", "kind"),
		calls: counter("bridge_calls_total",
			"Attempts to take the next step towards a delivery. The reason is ok, or why the attempt failed.", "lane", "op", "reason"),
		repeats: counter("bridge_repeats_total",
			"Calls made again because the answer to the one before was lost: the destination may have both.", "lane"),
		deadLetters: counter("bridge_dead_letters_total", "Deliveries given up.", "lane", "reason"),
		orphans: counter("bridge_orphans_total",
			"Events dropped because what they refer to was not accepted within a minute.", "lane"),
		merged: counter("bridge_merged_messages_total", "Messages shown in one with others, since they had waited for the platform's pace.", "lane"),
		shed:   counter("bridge_shed_total", "What was left out, since it had waited for the platform's pace and is not worth it.", "lane", "kind"),
		retryAfter: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bridge_retry_after_seconds", Help: "How long destinations have asked to wait that refused a call for its pace.",
			Buckets: retryBuckets(),
		}, []string{"lane", "method"}),
		filtered: counter("bridge_filtered_total", "Requests refused because a filter keeps their visitor out.", "filter"),
		deliveries: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bridge_delivery_seconds", Help: "Time from an event's acceptance until its delivery was recorded.",
			Buckets: deliveryBuckets(),
		}, []string{"lane"}),
		callbacks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "bridge_callback_seconds", Help: "Time from the acceptance of an operator's act until an app server's 2xx.",
			Buckets: deliveryBuckets(),
		}),
		pages:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "bridge_pages", Help: "Open pages of visitors, by how they hear."}, []string{"way"}),
		pushes:   prometheus.NewCounter(prometheus.CounterOpts{Name: "bridge_page_pushes_total", Help: "What pages were told by socket or stream."}),
		refusals: counter("bridge_page_refusals_total", "Pages' requests that were refused, by the code of the answer.", "code"),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "bridge_build_info", Help: "Always 1."}, []string{"version", "go_version"})
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.registry.MustRegister(
		m.accepts, m.requests, m.streams, m.updates, m.calls, m.repeats, m.deadLetters, m.orphans, m.merged, m.shed, m.retryAfter, m.filtered, m.deliveries, m.callbacks,
		m.pages, m.pushes, m.refusals, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// requestBuckets are seconds. An accept takes about one write to the disk; more than a few seconds is a time-out.
func requestBuckets() []float64 {
	return []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
}

// deliveryBuckets are seconds, up to the day after which a delivery is given up.
func deliveryBuckets() []float64 {
	return []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400}
}

// retryBuckets are seconds. Telegram has asked for up to two hours (rubenlagus/TelegramBots#1520 and others).
func retryBuckets() []float64 { return []float64{1, 2, 5, 10, 20, 40, 60, 300, 1800, 7200} }

// Handler answers scrapes. It asks nobody for a key.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), CoalesceGather: true, MaxRequestsInFlight: 8,
	})
}

// Accepts returns the counter of one outcome of a type's requests. It is resolved once, since it is counted on the way of
// every accept.
func (m *Metrics) Accepts(t, result string) func() { return m.accepts.WithLabelValues(t, result).Inc }

// Requests returns what a route's requests are told to. A status counts by its first digit: 2xx, 4xx.
func (m *Metrics) Requests(route string) func(status int, took time.Duration) {
	// A class is resolved when it first comes: most routes never answer most of them.
	observer := func(class string) func() prometheus.Observer {
		return sync.OnceValue(func() prometheus.Observer { return m.requests.WithLabelValues(route, class) })
	}
	classes := [...]func() prometheus.Observer{
		observer("other"), observer("1xx"), observer("2xx"), observer("3xx"), observer("4xx"), observer("5xx"),
	}
	return func(status int, took time.Duration) {
		class := status / 100
		if class < 0 || class >= len(classes) {
			class = 0
		}
		classes[class]().Observe(took.Seconds())
	}
}

// Filtered counts a request that a filter refused.
func (m *Metrics) Filtered(filter string) { m.filtered.WithLabelValues(filter).Inc() }

// StreamOpened counts a stream that has begun.
func (m *Metrics) StreamOpened() { m.streams.Inc() }

// StreamClosed counts one that has ended.
func (m *Metrics) StreamClosed() { m.streams.Dec() }

// PageOpened counts a visitor's page that hears from now on, by socket or stream.
func (m *Metrics) PageOpened(way string) { m.pages.WithLabelValues(way).Inc() }

// PageClosed counts one that does not any more.
func (m *Metrics) PageClosed(way string) { m.pages.WithLabelValues(way).Dec() }

// Pushed counts something that a page was told.
func (m *Metrics) Pushed() { m.pushes.Inc() }

// Refused counts a page's request that was refused; code is one of a few words.
func (m *Metrics) Refused(code string) { m.refusals.WithLabelValues(code).Inc() }

// Called counts an attempt of a lane; no reason means that it succeeded.
func (m *Metrics) Called(lane, op string, reason bridge.Reason) {
	m.calls.WithLabelValues(lane, op, reasonOf(reason)).Inc()
}

// Repeated counts a call that was made again because the answer to the one before was lost.
func (m *Metrics) Repeated(lane string) { m.repeats.WithLabelValues(lane).Inc() }

// Delivered tells how long after its acceptance an event's delivery was recorded.
func (m *Metrics) Delivered(lane string, after time.Duration) {
	m.deliveries.WithLabelValues(lane).Observe(seconds(after))
}

// CalledBack tells how long after its acceptance an app server took what an operator did.
func (m *Metrics) CalledBack(after time.Duration) { m.callbacks.Observe(seconds(after)) }

// Orphaned counts an event that a lane dropped because what it refers to is not there.
func (m *Metrics) Orphaned(lane string) { m.orphans.WithLabelValues(lane).Inc() }

// Merged counts messages that were shown as one.
func (m *Metrics) Merged(lane string, messages int) {
	m.merged.WithLabelValues(lane).Add(float64(messages))
}

// Limited tells that a destination refused a call for its pace, and for how long it asked to wait.
func (m *Metrics) Limited(lane, method string, retryAfter time.Duration) {
	m.retryAfter.WithLabelValues(lane, method).Observe(seconds(retryAfter))
}

// Shed counts what was left out.
func (m *Metrics) Shed(lane, kind string) { m.shed.WithLabelValues(lane, kind).Inc() }

// DeadLettered counts a dead letter.
func (m *Metrics) DeadLettered(lane string, reason bridge.Reason) {
	m.deadLetters.WithLabelValues(lane, reasonOf(reason)).Inc()
}

// Updated counts a platform's update.
func (m *Metrics) Updated(platform string, kind bridge.UpdateKind) {
	label := string(kind)
	if kind == bridge.UpdateNothing {
		label = kindNone
	}
	m.updates.WithLabelValues(platform, label).Inc()
}

// seconds are never less than none: the log's time is the store's, whose clock may be ahead of ours.
func seconds(d time.Duration) float64 { return max(d, 0).Seconds() }

func reasons() []bridge.Reason {
	return []bridge.Reason{
		bridge.ReasonTransient, bridge.ReasonRateLimited, bridge.ReasonUnconfirmed, bridge.ReasonThreadGone,
		bridge.ReasonClosed, bridge.ReasonMoved, bridge.ReasonAuth, bridge.ReasonRejected,
	}
}

// reasonOf is the label of a reason. One that is none of the contract's words is an adapter's defect, and may be anything.
func reasonOf(reason bridge.Reason) string {
	if reason == "" {
		return reasonOK
	}
	if slices.Contains(reasons(), reason) {
		return string(reason)
	}
	return reasonOther
}
