package engine

import (
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// item is an event on its way through a lane: what the queue has to know of it. The rest stays in the log; there may be very
// many.
type item struct {
	Queued
	done       map[string]bool // targets that have it or gave it up
	more       *moreOf         // what few have to remember; nil: nothing
	unrecorded uint16          // for how many targets it is done, and that is not in the store yet
	places     uint16          // that its next call takes in the pace; 0 is one
	kind       bridge.Kind
	urgency    Urgency
	beside     bool // it stands in a session queue beside its session's, with others of its type
	yields     bool // words of its session may overtake it
	told       bool // that it waits
	finished   bool
	placed     bool // it stands behind what it refers to
	isText     bool // a person's word without files
}

// moreOf is what is remembered of an event that is tried, or delivered again.
type moreOf struct {
	edited time.Time // of a dead letter that is delivered again: when its message was edited last; zero: it was not
	// possiblySent is when a call for its next step may have been made whose answer is not known, at the earliest; zero: none was.
	possiblySent time.Time
	memory       any // the sink's own
}

// remembers returns what is remembered of an event, to be written to.
func (it *item) remembers() *moreOf {
	if it.more == nil {
		it.more = &moreOf{}
	}
	return it.more
}

// possiblySent is that of what is remembered.
func (it *item) possiblySent() time.Time {
	if it.more == nil {
		return time.Time{}
	}
	return it.more.possiblySent
}

// queueKey names the event's session queue. No session's id has a line feed.
func (it *item) queueKey() string {
	if it.beside {
		return besideKey(it.Session, it.Type)
	}
	return it.Session
}

func besideKey(session string, t bridge.Type) string { return session + "\n" + string(t) }

// everyTarget in the place of a target says that an event is finished, whoever was to get it.
const everyTarget = "*"

// over says that an event is finished, and that the store knows.
func (it *item) over() bool { return it.finished && it.unrecorded == 0 }

// marks are the targets that have the event or gave it up.
func (it *item) marks() []bridge.Mark {
	var out []bridge.Mark
	for target := range it.done {
		out = append(out, bridge.Mark{Seq: it.Seq, Target: target})
	}
	return out
}
