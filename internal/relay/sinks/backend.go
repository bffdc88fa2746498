package sinks

import (
	"slices"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
)

// targetBackend is the callback that the configuration names. Others are told who is online when they register. This one never
// registers, so it is told now and then.
const targetBackend = "backend"

const (
	statusEvery      = 15 * time.Minute // the backend is told who is online at least this often
	statusAgainEvery = time.Minute      // and at most this often because it answers again after a failure
)

// backendStatus decides when the backend is told who is online. Its methods may be called from several goroutines.
type backendStatus struct {
	mu           sync.Mutex
	toldAt       time.Time // when it was told last
	failing      bool      // the last attempt had no answer, or one that said to come again
	answersAgain bool      // it has answered again since it was told
}

// noteBackend notes how an attempt ended. A backend that answers after a failure may have been restarted, and may not know who is online.
func (d *CallbackSink) noteBackend(target string, err error) {
	if target != targetBackend {
		return
	}
	s := &d.status
	s.mu.Lock()
	defer s.mu.Unlock()
	cause := bridge.AsDelivery(err, engine.OpPost, "")
	switch {
	case cause != nil && (cause.Status == 0 || cause.Status/100 == 5):
		s.failing = true
	case s.failing:
		s.failing, s.answersAgain = false, true
	}
}

// due says whether it is time to tell the backend.
func (s *backendStatus) due(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := now.Sub(s.toldAt)
	return since >= statusEvery || s.answersAgain && since >= statusAgainEvery
}

// noteTold notes that the backend is told.
func (s *backendStatus) noteTold(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.toldAt, s.answersAgain = now, false
}

// withStatus adds who is online to the statuses that go to the backend, when it is time and the backend wants that event.
func (d *CallbackSink) withStatus(n engine.Notice, now time.Time) engine.Notice {
	if d.team == nil || !d.status.due(now) {
		return n
	}
	ev := bridge.Event{Type: bridge.TypeOperatorStatus, Origin: bridge.OriginBridge, Callback: targetBackend, Body: bridge.MustJSON(d.team())}
	if !slices.Contains(d.recv.Targets(bridge.Entry{Seq: bridge.SeqAt(now), Event: ev}, ""), targetBackend) {
		d.status.noteTold(now)
		return n
	}
	n.Batch.Events = append(n.Batch.Events, ev)
	acked := n.Acked
	n.Acked = func() {
		if acked != nil {
			acked()
		}
		d.status.noteTold(now)
	}
	return n
}
