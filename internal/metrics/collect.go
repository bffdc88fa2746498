package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pocketping/bridge/internal/bridge"
)

// logTimeout is how long a scrape waits for the store. What it does not say in that time is left out of the scrape.
const logTimeout = time.Second

// WatchLanes shows how each lane does, as health tells at every scrape. It is called once, when the lanes are known.
func (m *Metrics) WatchLanes(health func() []bridge.LaneHealth) {
	for _, h := range health() {
		// What is alerted on is there from the start: a counter that first appears with 1 does not seem to rise.
		m.repeats.WithLabelValues(h.Lane)
		m.orphans.WithLabelValues(h.Lane)
		m.merged.WithLabelValues(h.Lane)
		m.deliveries.WithLabelValues(h.Lane)
		for _, reason := range reasons() {
			m.deadLetters.WithLabelValues(h.Lane, string(reason))
		}
	}
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, []string{"lane"}, nil) }
	m.registry.MustRegister(&lanes{
		health:  health,
		owned:   desc("bridge_lane_owned", "Whether this process works the lane; with several bridges one does."),
		backlog: desc("bridge_lane_backlog", "Events that the lane has not finished, in memory and in the log. Only the lane's owner tells."),
		oldest: desc("bridge_lane_oldest_seconds",
			"Age of the oldest event that the lane has not finished, 0 for none. Only the lane's owner tells."),
		paused: desc("bridge_lane_paused",
			"Whether the whole lane waits for its destination to recover. Only the lane's owner tells."),
		pause: desc("bridge_lane_pause_seconds", "How long the destination has asked to wait still. Only the lane's owner tells."),
		rate: desc("bridge_lane_rate",
			"Calls a minute that are made at most since the destination refused some for their pace, 0 for no such limit. Only the lane's owner tells."),
	})
}

type lanes struct {
	health                         func() []bridge.LaneHealth
	owned, backlog, oldest, paused *prometheus.Desc
	pause, rate                    *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (l *lanes) Describe(out chan<- *prometheus.Desc) {
	out <- l.owned
	out <- l.backlog
	out <- l.oldest
	out <- l.paused
	out <- l.pause
	out <- l.rate
}

// Collect implements prometheus.Collector.
func (l *lanes) Collect(out chan<- prometheus.Metric) {
	for _, h := range l.health() {
		gauge := func(desc *prometheus.Desc, value float64) {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, h.Lane)
		}
		if h.State == "waiting" { // for another bridge's lease: what waits in the lane is known there
			gauge(l.owned, 0)
			continue
		}
		gauge(l.owned, 1)
		gauge(l.backlog, float64(h.Waiting))
		gauge(l.oldest, seconds(h.Oldest))
		paused := 0.0
		if h.State == "paused" {
			paused = 1
		}
		gauge(l.paused, paused)
		gauge(l.pause, seconds(h.PauseLeft))
		gauge(l.rate, h.Rate)
	}
}

// LogSize tells how many entries the log keeps, and the oldest of them, 0 for none.
type LogSize func(ctx context.Context) (entries int, oldest bridge.Seq, err error)

// WatchLog shows how much the log keeps, as the store tells at every scrape.
func (m *Metrics) WatchLog(size LogSize) {
	m.registry.MustRegister(&log{
		size:   size,
		events: prometheus.NewDesc("bridge_log_events", "Events that the log keeps.", nil, nil),
		age:    prometheus.NewDesc("bridge_log_age_seconds", "Age of the oldest event that the log keeps, 0 for none.", nil, nil),
	})
}

type log struct {
	size        LogSize
	events, age *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (l *log) Describe(out chan<- *prometheus.Desc) {
	out <- l.events
	out <- l.age
}

// Collect implements prometheus.Collector. A store that cannot tell is no reason to have no metrics.
func (l *log) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), logTimeout)
	defer cancel()
	entries, oldest, err := l.size(ctx)
	if err != nil {
		return
	}
	age := 0.0
	if entries > 0 {
		age = seconds(time.Since(oldest.Time()))
	}
	out <- prometheus.MustNewConstMetric(l.events, prometheus.GaugeValue, float64(entries))
	out <- prometheus.MustNewConstMetric(l.age, prometheus.GaugeValue, age)
}
