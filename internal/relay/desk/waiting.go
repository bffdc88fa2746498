package desk

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/words"
)

// tellWaiting tells app servers of those who have waited for so long that operators are called, whether any is there or not. Who was
// told of is not looked at again.
func (w *conversationTracker) tellWaiting(ctx context.Context, now time.Time) error {
	after, told := "", 0
	if w.toldTo != 0 {
		after = fmt.Sprintf("%s%020d/\xff", waitPrefix(0), uint64(w.toldTo))
	}
	for {
		rows, next, err := w.waits(ctx, waitPrefix(0), after)
		if err != nil {
			return err
		}
		for _, row := range rows {
			session, c, ok := waitRow(row)
			if !ok {
				continue
			}
			if at := w.remindAt(c); at.After(now) {
				w.soon(at)
				return nil
			}
			if told++; told > remindersPage {
				w.soon(now)
				return nil
			}
			if err := w.tellWaitingOne(ctx, session, row.Key, now); err != nil {
				return err
			}
			w.toldTo = c.Waits
		}
		if after = next; next == "" {
			return nil
		}
	}
}

func (w *conversationTracker) tellWaitingOne(ctx context.Context, session, key string, now time.Time) error {
	c, err := w.conversations.get(ctx, session)
	if err != nil || c.Told || waitKey(session, c.conversation) != key {
		return err
	}
	if gone, err := w.forgotten(ctx, session); err != nil || gone {
		return err
	}
	next := *c
	next.Told = true
	_, err = w.desk.commit(ctx, bridge.Batch{
		Claims: []bridge.Claim{{Key: fmt.Sprintf("waits/%s/%s", bridge.Digest([]byte(session)), c.Waits)}},
		Lease:  w.lane.Lease(),
		Events: []bridge.Event{{
			Type: bridge.TypeVisitorWaiting, Origin: bridge.OriginBridge, Session: session,
			Body: bridge.MustJSON(bridge.VisitorWaiting{SessionID: session, Seconds: int(now.Sub(c.Waits.Time()).Seconds())}),
		}},
		Rows: next.rows(w.ordering != nil),
	})
	if err == nil {
		c.conversation = next.conversation
		w.conversations.written(c)
	}
	return err
}

// reminder is what operators are told who are called to a visitor: who waits, for how long, and what was said last.
func (w *conversationTracker) reminder(ctx context.Context, session string, c *tracked, now time.Time) (string, error) {
	s, err := w.desk.session(ctx, session)
	if err != nil {
		return "", err
	}
	who := cmp.Or(measure.OneLine(s.DisplayName(), bridge.ShownName), words.Get().TheVisitor)
	say := words.Get()
	waited := say.Lasting(now.Sub(c.Waits.Time()))
	text := say.HasWaited.With(who, waited)
	if c.Calls > 0 {
		text = say.HasWaitedStill.With(who, waited)
	}
	last, err := w.desk.lastWords(ctx, session)
	if err != nil || last == "" {
		return text + ".", err
	}
	return text + say.Colon + say.Quoted.With(last), nil
}
