package relay

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// addressed says of what use an answer is. One that is for a session's threads, with mentions, is for those whom it names here.
func (d *threads) addressed(e bridge.Entry) bridge.Kind {
	var a bridge.Answer
	if json.Unmarshal(e.Event.Body, &a) != nil {
		return bridge.KindNone
	}
	switch {
	case e.Event.Origin != bridge.OriginBridge && e.Event.Origin != d.name:
		return bridge.KindNone
	case a.Session == "" && e.Event.Origin == d.name:
		return bridge.KindWord
	case a.Session == "":
		return bridge.KindNone
	case len(a.Mention) == 0:
		return bridge.KindNotice
	case len(d.mentioned(a)) > 0:
		return bridge.KindWord
	default:
		return bridge.KindNone
	}
}

// mentioned returns the platform's own ids of those whom an answer names.
func (d *threads) mentioned(a bridge.Answer) []string {
	var ids []string
	for _, key := range a.Mention {
		if id, ok := strings.CutPrefix(key, d.name+":"); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// answer answers an operator where they asked. A thread that takes no messages is opened for it, if the bot may do that.
func (d *threads) answer(ctx context.Context, it *item, e bridge.Entry, w wish) (result, error) {
	t := &thread{ID: w.answer.Thread, Card: true}
	if !it.shut {
		w.mention = d.mentioned(*w.answer)
		return d.send(ctx, it, e, t, w, w.answer.ReplyTo)
	}
	if e.Event.Session != "" {
		var err error
		if t, err = d.thread(ctx, e.Event.Session); err != nil {
			return result{}, err
		}
	}
	w.reopens = true
	res, err := d.reopen(ctx, it, e, t, w)
	fault := bridge.AsDelivery(err, opReopenThread, "unexpected fault")
	switch {
	case fault != nil && (fault.Reason == bridge.ReasonTransient || fault.Reason == bridge.ReasonRateLimited):
		return res, fault
	case fault != nil || res.blocked != "": // nobody else's answer waits for that right
		return result{op: res.op, idle: fault == nil, done: true, note: "the thread is closed, and cannot be opened for an answer"}, nil
	}
	it.shut = false
	return res, nil
}

// address says something in a session's thread, or closes it for its silence. It opens none and reopens none.
func (d *threads) address(ctx context.Context, it *item, e bridge.Entry, w wish) (result, error) {
	t, err := d.thread(ctx, e.Event.Session)
	switch {
	case err != nil:
		return result{}, err
	case t.ID == "" || t.Shut || d.isClosed(e.Event.Session):
		return result{done: true, idle: true}, nil
	case w.text == "" && w.answer.Close:
		return d.shut(ctx, e, t)
	case w.text == "":
		return result{done: true, idle: true}, nil
	}
	w.mention = d.mentioned(*w.answer)
	if w.answer.ReplyTo != "" {
		w.replyTo = []ref{{operators, d.name + ":" + string(w.answer.ReplyTo)}}
	}
	return d.send(ctx, it, e, t, w, "")
}

// end says that the conversation is closed, and then closes its thread.
func (d *threads) end(ctx context.Context, it *item, e bridge.Entry, t *thread, w wish) (result, error) {
	p, err := d.progress(ctx, e)
	if err != nil {
		return result{}, err
	}
	if p.Told {
		return d.shut(ctx, e, t)
	}
	res, err := d.send(ctx, it, e, t, w, "")
	if _, can := d.platform.(bridge.ThreadCloser); can && err == nil && res.done {
		res.done = false
		res.batch.Rows = append(res.batch.Rows, d.progressRow(e, &progress{Told: true}))
	}
	return res, err
}

// shut closes a thread. One that cannot be closed stays open: that is worth no dead letter.
func (d *threads) shut(ctx context.Context, e bridge.Entry, t *thread) (result, error) {
	done := result{idle: true, done: true, batch: bridge.Batch{Rows: []bridge.Row{d.progressRow(e, nil)}}}
	closer, can := d.platform.(bridge.ThreadCloser)
	if !can {
		return done, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	switch fault := bridge.AsDelivery(closer.CloseThread(ctx, t.ID), opCloseThread, "unexpected fault"); {
	case fault == nil:
	case fault.Reason == bridge.ReasonClosed:
	case fault.Reason == bridge.ReasonRejected:
		done.note = "the thread cannot be closed: " + fault.Detail
		return done, nil
	default:
		return result{op: opCloseThread}, fault
	}
	next := *t
	next.Shut = true
	done.op, done.idle = opCloseThread, false
	done.batch.Rows = append(done.batch.Rows, d.keep(e.Event.Session, &next))
	return done, nil
}

// reopen opens a thread that was closed, for a person's word or since the conversation goes on. Anything else is dropped.
func (d *threads) reopen(ctx context.Context, it *item, e bridge.Entry, t *thread, w wish) (result, error) {
	r, can := d.platform.(bridge.ThreadReopener)
	if it.kind != bridge.KindWord && !w.reopens || !can && !t.Shut {
		return result{done: true, idle: true, note: "the thread is closed", batch: d.keepSession(e, w)}, nil
	}
	res := result{op: opReopenThread, idle: !can}
	if can {
		if ok, until := d.lane.mayCall(it, opReopenThread); !ok {
			return result{idle: true, blocked: opReopenThread, until: until}, nil
		}
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if err := r.ReopenThread(ctx, t.ID); err != nil {
			return result{op: opReopenThread}, orGone(err)
		}
		it.reopened = min(it.reopened+1, 100)
	}
	d.mu.Lock()
	delete(d.closed, e.Event.Session)
	d.mu.Unlock()
	if t.Shut {
		next := *t
		next.Shut = false
		res.batch.Rows = append(res.batch.Rows, d.keep(e.Event.Session, &next))
	}
	return res, nil
}

// orGone takes a thread that will never be opened again for gone, so that what waits for it is shown in another one.
func orGone(err error) error {
	fault := bridge.AsDelivery(err, opReopenThread, "unexpected fault")
	if fault.Reason != bridge.ReasonRejected {
		return err
	}
	gone := *fault
	gone.Reason = bridge.ReasonThreadGone
	return &gone
}

// closingText is what the threads are told of a conversation that an operator has closed or opened again; nothing of one to
// which the visitor has written again, since that is seen there.
func closingText(e bridge.Event) string {
	if e.Origin == bridge.OriginBridge {
		return ""
	}
	var body sessionClosed
	_ = json.Unmarshal(e.Body, &body) // without it, nobody is named
	who := "An operator"
	if body.OperatorName != "" {
		who = body.OperatorName
	}
	if body.SourceBridge != "" {
		who += " (" + title(body.SourceBridge) + ")"
	}
	if e.Type == bridge.TypeSessionReopened {
		return "↩️ " + who + " has opened the conversation again."
	}
	return "✅ " + who + " has closed the conversation."
}

// keepFirst is keepSession where a thread is opened: what a message tells of its session may be all that ever is.
func (d *threads) keepFirst(ctx context.Context, e bridge.Entry, w wish) (bridge.Batch, error) {
	if w.session == nil || w.tells {
		return d.keepSession(e, w), nil
	}
	known, err := d.store.Get(ctx, tableSessions, e.Event.Session)
	if err != nil || known != nil {
		return bridge.Batch{}, err
	}
	w.tells = true
	return d.keepSession(e, w), nil
}
