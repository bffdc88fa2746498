package relay

import (
	"slices"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// targetBackend is the configuration's callback. It never registers, and so is never told by that who is online.
const targetBackend = "backend"

// backendStatus says when the backend is told anew who is online. Its methods may be called from several goroutines.
type backendStatus struct {
	mu      sync.Mutex
	told    time.Time // when it was told last
	failing bool      // the last attempt had no answer, or one that said to come again
	again   bool      // it has answered again since it was told
}

// noteBackend takes what an attempt came to: a backend that answers again may have been started anew, and know nothing.
func (d *instances) noteBackend(target string, err error) {
	if target != targetBackend {
		return
	}
	s := &d.status
	s.mu.Lock()
	defer s.mu.Unlock()
	cause := bridge.AsDelivery(err, opPost, "")
	switch {
	case cause != nil && (cause.Status == 0 || cause.Status/100 == 5):
		s.failing = true
	case s.failing:
		s.failing, s.again = false, true
	}
}

// due says whether the backend is to be told now.
func (s *backendStatus) due(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := now.Sub(s.told)
	return since >= statusEvery || s.again && since >= statusAgainEvery
}

// tell notes that the backend is told.
func (s *backendStatus) tell(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told, s.again = now, false
}

// withStatus adds to the news, where the backend wants to know it and it is time, who is online.
func (d *instances) withStatus(n news, now time.Time) news {
	if d.team == nil || !d.status.due(now) {
		return n
	}
	ev := bridge.Event{Type: bridge.TypeOperatorStatus, Origin: bridge.OriginBridge, Callback: targetBackend, Body: mustJSON(d.team())}
	if !slices.Contains(d.recv.Targets(bridge.Entry{Seq: bridge.SeqAt(now), Event: ev}, ""), targetBackend) {
		d.status.tell(now)
		return n
	}
	n.batch.Events = append(n.batch.Events, ev)
	written := n.written
	n.written = func() {
		if written != nil {
			written()
		}
		d.status.tell(now)
	}
	return n
}
