package threads

import (
	"context"
	"encoding/json"

	"github.com/pocketping/bridge/internal/relay/engine"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// answer answers an operator where they asked. A thread that takes no messages is opened for it, if the bot may do that.
func (d *Sink) answer(ctx context.Context, it *attempt, e bridge.Entry, w intent) (engine.Result, error) {
	t := &msgmap.Thread{ID: w.answer.Thread, Card: true}
	if !it.closed {
		w.mention = d.mentioned(*w.answer)
		return d.send(ctx, it, e, t, w, w.answer.ReplyTo)
	}
	if e.Event.Session != "" {
		var err error
		if t, err = d.thread(ctx, e.Event.Session); err != nil {
			return engine.Result{}, err
		}
	}
	w.reopens = true
	res, err := d.reopenThread(ctx, it, e, t, w)
	fault := bridge.AsDelivery(err, engine.OpReopenThread, "unexpected fault")
	switch {
	case fault != nil && (fault.Reason == bridge.ReasonTransient || fault.Reason == bridge.ReasonRateLimited):
		return res, fault
	case fault != nil || res.Blocked != "": // nobody else's answer waits for that right
		return engine.Result{Op: res.Op, Idle: fault == nil, Done: true, Note: "the thread is closed, and cannot be opened for an answer"}, nil
	}
	it.closed = false
	return res, nil
}

// address says something in a session's thread, or closes it for its silence. It opens none and reopens none.
func (d *Sink) address(ctx context.Context, it *attempt, e bridge.Entry, w intent) (engine.Result, error) {
	t, err := d.thread(ctx, e.Event.Session)
	switch {
	case err != nil:
		return engine.Result{}, err
	case t.ID == "" || t.Closed || d.isClosed(e.Event.Session):
		return engine.Result{Done: true, Idle: true}, nil
	case w.text == "" && w.answer.Close:
		return d.closeThread(ctx, e, t)
	case w.text == "":
		return engine.Result{Done: true, Idle: true}, nil
	}
	w.mention = d.mentioned(*w.answer)
	if w.answer.ReplyTo != "" {
		w.replyTo = []msgmap.Ref{msgmap.Operator(d.name + ":" + string(w.answer.ReplyTo))}
	}
	return d.send(ctx, it, e, t, w, "")
}

// endConversation says that the conversation is closed, and then closes its thread.
func (d *Sink) endConversation(ctx context.Context, it *attempt, e bridge.Entry, t *msgmap.Thread, w intent) (engine.Result, error) {
	p, err := d.progress(ctx, e)
	if err != nil {
		return engine.Result{}, err
	}
	if p.Told {
		return d.closeThread(ctx, e, t)
	}
	res, err := d.send(ctx, it, e, t, w, "")
	if _, can := d.platform.(bridge.ThreadCloser); can && err == nil && res.Done {
		res.Done = false
		res.Batch.Rows = append(res.Batch.Rows, d.progressRow(e, &progress{Told: true}))
	}
	return res, err
}

// closeThread closes a thread. One that cannot be closed stays open: that is worth no dead letter.
func (d *Sink) closeThread(ctx context.Context, e bridge.Entry, t *msgmap.Thread) (engine.Result, error) {
	done := engine.Result{Idle: true, Done: true, Batch: bridge.Batch{Rows: []bridge.Row{d.progressRow(e, nil)}}}
	closer, can := d.platform.(bridge.ThreadCloser)
	if !can {
		return done, nil
	}
	ctx, cancel := context.WithTimeout(ctx, engine.CallTimeout)
	defer cancel()
	switch fault := bridge.AsDelivery(closer.CloseThread(ctx, t.ID), engine.OpCloseThread, "unexpected fault"); {
	case fault == nil:
	case fault.Reason == bridge.ReasonClosed:
	case fault.Reason == bridge.ReasonRejected:
		done.Note = "the thread cannot be closed: " + fault.Detail
		return done, nil
	default:
		return engine.Result{Op: engine.OpCloseThread}, fault
	}
	next := *t
	next.Closed = true
	done.Op, done.Idle = engine.OpCloseThread, false
	done.Batch.Rows = append(done.Batch.Rows, d.keepThread(e.Event.Session, &next))
	return done, nil
}

// reopenThread opens a thread that was closed, for a person's word or since the conversation goes on. Anything else is dropped.
func (d *Sink) reopenThread(ctx context.Context, it *attempt, e bridge.Entry, t *msgmap.Thread, w intent) (engine.Result, error) {
	r, can := d.platform.(bridge.ThreadReopener)
	if it.Kind != bridge.KindWord && !w.reopens || !can && !t.Closed {
		return engine.Result{Done: true, Idle: true, Note: "the thread is closed", Batch: d.keepSession(e, w)}, nil
	}
	res := engine.Result{Op: engine.OpReopenThread, Idle: !can}
	if can {
		if ok, until := it.peek.MayCall(engine.OpReopenThread); !ok {
			return engine.Result{Idle: true, Blocked: engine.OpReopenThread, Until: until}, nil
		}
		ctx, cancel := context.WithTimeout(ctx, engine.CallTimeout)
		defer cancel()
		if err := r.ReopenThread(ctx, t.ID); err != nil {
			return engine.Result{Op: engine.OpReopenThread}, orGone(err)
		}
		it.reopened = min(it.reopened+1, 100)
	}
	d.mu.Lock()
	delete(d.closed, e.Event.Session)
	d.mu.Unlock()
	if t.Closed {
		next := *t
		next.Closed = false
		res.Batch.Rows = append(res.Batch.Rows, d.keepThread(e.Event.Session, &next))
	}
	return res, nil
}

// orGone takes a thread that will never be opened again for gone, so that what waits for it is shown in another one.
func orGone(err error) error {
	fault := bridge.AsDelivery(err, engine.OpReopenThread, "unexpected fault")
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
	var body bridge.SessionClosed
	_ = json.Unmarshal(e.Body, &body) // without it, nobody is named
	who := "An operator"
	if body.OperatorName != "" {
		who = body.OperatorName
	}
	if body.SourceBridge != "" {
		who += " (" + bridge.Title(body.SourceBridge) + ")"
	}
	if e.Type == bridge.TypeSessionReopened {
		return "↩️ " + who + " has opened the conversation again."
	}
	return "✅ " + who + " has closed the conversation."
}

// keepFirst is keepSession where a thread is opened: what a message tells of its session may be all that ever is.
func (d *Sink) keepFirst(ctx context.Context, e bridge.Entry, w intent) (bridge.Batch, error) {
	if w.session == nil || w.tells {
		return d.keepSession(e, w), nil
	}
	if _, known, err := msgmap.Session(ctx, d.store, e.Event.Session); err != nil || known {
		return bridge.Batch{}, err
	}
	w.tells = true
	return d.keepSession(e, w), nil
}
