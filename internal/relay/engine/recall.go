package engine

import (
	"slices"

	"github.com/pocketping/bridge/internal/bridge"
)

// recall adds what this process knows to be finished to what the store has of a lane, which may have lost it: after a
// fail-over the records of the last deliveries are gone, and often the lease was, too.
func (l *Lane) recall(stored bridge.LaneState) bridge.LaneState {
	l.mu.Lock()
	known := l.finished
	l.mu.Unlock()
	state := stored
	state.Cursor = max(stored.Cursor, known.Cursor)
	for _, m := range known.Done {
		if m.Seq > state.Cursor && !slices.Contains(stored.Done, m) {
			state.Done = append(state.Done, m)
		}
	}
	if state.Cursor > stored.Cursor || len(state.Done) > len(stored.Done) {
		l.restate()
	}
	return state
}

// remember keeps what is finished for the time when the lane is ours again.
func (l *Lane) remember() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished.Cursor, l.finished.Done = l.queue.allFinished()
}

// restate has everything that is finished recorded anew: the store has lost the end of what it had.
func (l *Lane) restate() {
	l.mu.Lock()
	l.restating = true
	l.mu.Unlock()
	nudge(l.restateNow)
}
