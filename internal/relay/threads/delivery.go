package threads

import (
	"context"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// attempt is one attempt to show an event: all that its steps have to know.
type attempt struct {
	engine.Delivery
	*memory             // what is remembered of the event
	peek    engine.Peek // what the engine may be asked
	want    intent      // what the event wants shown
	thread  *msgmap.Thread
	lateTo  msgmap.Shown // what is shown of the message whose late files these are
}

// memory is what is remembered of an event between attempts.
type memory struct {
	reopened           uint8 // how often its thread was reopened for it
	asked              bool  // the platform was asked what the thread is called
	removed            int   // how many messages it has taken away
	stays              bool  // one of them cannot be taken away
	closed             bool  // the thread where it is to be answered takes no messages
	decorationsDropped uint8 // how much of what embellishes it was taken away, since the platform refused it
	opening            bool  // the call made last was to open its thread
	decorated          bool  // the part sent last had a card or a reply, without which it can be shown, too
	markup             bool  // the part sent last has a form without markup
	plain              bool  // the platform refused the markup
	// parts are those of the message, from its first part on until all are sent.
	parts []bridge.Part
	// group is what the event is shown with; nil: nothing, or not decided. shown is the part sent last, as it is read.
	group *group
	shown string
	stamp string // when it was written, where that is shown: decided before its first call
	// call is who is called with it, once that is decided.
	call   *calling
	called bool
	// filesBy is until when late files wait for each other; zero: they do not yet.
	filesBy time.Time
}

func remembered(a engine.Delivery) *memory {
	m, ok := (*a.Memory).(*memory)
	if !ok {
		m = &memory{}
		*a.Memory = m
	}
	return m
}

// hasPlaces says whether the attempt may take so many places: it took them, or has to come again with them.
func (it *attempt) hasPlaces(places int) bool { return places <= 1 || it.Places >= places }

// Circumstance implements engine.Recoverer.
func (d *Sink) Circumstance(ctx context.Context, a engine.Delivery, c *engine.Circumstance) {
	m, session := remembered(a), a.Entry.Event.Session
	c.Plain = m.markup && !m.plain
	c.Failures = max(c.Failures, int(m.reopened)+1)
	c.Opening = m.opening
	if m.group != nil && !m.opening {
		c.Plain = false // its members are tried one by one first
	}
	c.Decorated = m.group != nil || m.opening && m.decorationsDropped < decorationsMost || m.decorated && m.decorationsDropped == 0
	now := time.Now()
	t, err := d.thread(ctx, session)
	if err != nil {
		return
	}
	c.Flat = a.Kind == bridge.KindMessage && !t.Flat && d.flatThread(session) != ""
	gone := t.GoneWithin(engine.GoneAgain, now)
	if c.Gone = len(gone) + 1; c.Gone >= engine.GoneAtMost {
		at := now
		if len(gone) >= engine.GoneAtMost-1 {
			at = gone[len(gone)-(engine.GoneAtMost-1)]
		}
		c.OpensIn = engine.GoneAgain - now.Sub(at)
	}
}
