package sinks

import (
	"slices"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
)

// targetBackend is the configuration's callback. It never registers, and so is never told by that who is online.
const targetBackend = "backend"

const (
	statusEvery      = 15 * time.Minute // how often the backend is told anew who is online
	statusAgainEvery = time.Minute      // and how often at most because it answers again
)

// backendStatus says when the backend is told anew who is online. Its methods may be called from several goroutines.
type backendStatus struct {
	mu           sync.Mutex
	toldAt       time.Time // when it was told last
	failing      bool      // the last attempt had no answer, or one that said to come again
	answersAgain bool      // it has answered again since it was told
}

// noteBackend takes what an attempt came to: a backend that answers again may have been started anew, and know nothing.
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

// due says whether the backend is to be told now.
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

// withStatus adds to the news, where the backend wants to know it and it is time, who is online.
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
