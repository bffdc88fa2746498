package threads

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/words"
)

// answer answers an operator where they asked. A thread that takes no messages is opened for it, if the bot may do that.
func (d *Sink) answer(ctx context.Context, it *attempt) (engine.Result, error) {
	it.thread = &msgmap.Thread{ID: it.want.answer.Thread, Card: true}
	if res, called, err := d.remove(ctx, it); called || err != nil {
		return res, err
	}
	if !it.closed {
		it.want.mention = d.mentioned(*it.want.answer)
		return d.send(ctx, it, it.want.answer.ReplyTo)
	}
	if it.Entry.Event.Session != "" {
		var err error
		if it.thread, err = d.thread(ctx, it.Entry.Event.Session); err != nil {
			return engine.Result{}, err
		}
	}
	it.want.reopens = true
	res, err := d.reopenThread(ctx, it)
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

// remove takes away the messages that an answer makes needless, a call at a time, and with them the answer. called is false where one
// of them cannot be taken away: then the answer is given.
func (d *Sink) remove(ctx context.Context, it *attempt) (res engine.Result, called bool, err error) {
	ids := it.want.answer.Removes
	deleter, can := d.platform.(bridge.Deleter)
	if !can || it.stays || len(ids) == 0 {
		return engine.Result{}, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, engine.CallTimeout)
	defer cancel()
	fault := bridge.AsDelivery(deleter.Delete(ctx, it.thread.ID, ids[it.removed]), engine.OpDelete, "unexpected fault")
	switch {
	case fault == nil:
		it.removed++
		return engine.Result{Op: engine.OpDelete, Done: it.removed == len(ids)}, true, nil
	case fault.Reason == bridge.ReasonRejected, fault.Reason == bridge.ReasonTooLate, fault.Reason == bridge.ReasonAuth && fault.Scope != bridge.ScopeDestination:
		it.stays = true
		return engine.Result{Op: engine.OpDelete}, true, nil
	}
	return engine.Result{Op: engine.OpDelete}, true, fault
}

// address says something in a session's thread, or closes it for its silence. It opens none and reopens none.
func (d *Sink) address(ctx context.Context, it *attempt) (engine.Result, error) {
	var err error
	it.thread, err = d.thread(ctx, it.Entry.Event.Session)
	switch {
	case err != nil:
		return engine.Result{}, err
	case it.thread.ID == "" || it.thread.Closed || d.isClosed(it.Entry.Event.Session):
		return engine.Result{Done: true, Idle: true}, nil
	case it.want.text == "" && it.want.answer.Close:
		return d.closeThread(ctx, it)
	case it.want.text == "":
		return engine.Result{Done: true, Idle: true}, nil
	}
	if it.want.changes.ID != "" {
		return d.change(ctx, it)
	}
	it.want.mention = d.mentioned(*it.want.answer)
	if it.want.answer.ReplyTo != "" {
		it.want.replyTo = []msgmap.Ref{msgmap.Operator(d.name + ":" + string(it.want.answer.ReplyTo))}
	}
	return d.send(ctx, it, "")
}

// endConversation says that the conversation is closed, and then closes its thread.
func (d *Sink) endConversation(ctx context.Context, it *attempt) (engine.Result, error) {
	p, err := d.progress(ctx, it.Entry)
	if err != nil {
		return engine.Result{}, err
	}
	// Whoever pressed the button was told; a word more would be one more call that counts.
	shown := it.Entry.Event.Pressed && it.Entry.Event.Origin == d.name && d.max.ShowsClosing && it.thread.ID != d.flatThread(it.Entry.Event.Session)
	if p.Told || shown {
		return d.closeThread(ctx, it)
	}
	res, err := d.send(ctx, it, "")
	if _, can := d.platform.(bridge.ThreadCloser); can && err == nil && res.Done {
		res.Done = false
		res.Batch.Rows = append(res.Batch.Rows, d.progressRow(it.Entry, &progress{Told: true}))
	}
	return res, err
}

// closeThread closes a thread. One that cannot be closed stays open: that is worth no dead letter.
func (d *Sink) closeThread(ctx context.Context, it *attempt) (engine.Result, error) {
	done := engine.Result{Idle: true, Done: true, Batch: bridge.Batch{Rows: []bridge.Row{d.progressRow(it.Entry, nil)}}}
	closer, can := d.platform.(bridge.ThreadCloser)
	if !can {
		return done, nil
	}
	ctx, cancel := context.WithTimeout(ctx, engine.CallTimeout)
	defer cancel()
	switch fault := bridge.AsDelivery(closer.CloseThread(ctx, it.thread.ID), engine.OpCloseThread, "unexpected fault"); {
	case fault == nil:
	case fault.Reason == bridge.ReasonClosed:
	case fault.Reason == bridge.ReasonRejected:
		done.Note = "the thread cannot be closed: " + fault.Detail
		return done, nil
	default:
		return engine.Result{Op: engine.OpCloseThread}, fault
	}
	next := *it.thread
	next.Closed = true
	done.Op, done.Idle = engine.OpCloseThread, false
	done.Batch.Rows = append(done.Batch.Rows, d.keepThread(it.Entry.Event.Session, &next))
	return done, nil
}

// reopenThread opens a thread that was closed, for a person's word or since the conversation goes on. Anything else is dropped.
func (d *Sink) reopenThread(ctx context.Context, it *attempt) (engine.Result, error) {
	r, can := d.platform.(bridge.ThreadReopener)
	if it.Kind != bridge.KindMessage && !it.want.reopens || !can && !it.thread.Closed {
		return engine.Result{Done: true, Idle: true, Note: "the thread is closed", Batch: d.keepSession(it.Entry, it.want)}, nil
	}
	res := engine.Result{Op: engine.OpReopenThread, Idle: !can}
	if can {
		if ok, until := it.peek.MayCall(engine.OpReopenThread); !ok {
			return engine.Result{Idle: true, Blocked: engine.OpReopenThread, Until: until}, nil
		}
		ctx, cancel := context.WithTimeout(ctx, engine.CallTimeout)
		defer cancel()
		if err := r.ReopenThread(ctx, it.thread.ID); err != nil {
			return engine.Result{Op: engine.OpReopenThread}, orGone(err)
		}
		it.reopened = min(it.reopened+1, 100)
	}
	d.mu.Lock()
	delete(d.closed, it.Entry.Event.Session)
	d.mu.Unlock()
	if it.thread.Closed {
		next := *it.thread
		next.Closed = false
		res.Batch.Rows = append(res.Batch.Rows, d.keepThread(it.Entry.Event.Session, &next))
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
	who := cmp.Or(e.By, body.OperatorName, words.Get().AnOperator)
	if body.SourceBridge != "" {
		who = words.Get().OnPlatform.With(who, bridge.Title(body.SourceBridge))
	}
	if e.Type == bridge.TypeSessionReopened {
		return words.Get().ReopenedBy.With(who)
	}
	return words.Get().ClosedBy.With(who)
}

// keepFirst is keepSession where a thread is opened: what a message tells of its session may be all that ever is.
func (d *Sink) keepFirst(ctx context.Context, it *attempt) (bridge.Batch, error) {
	if it.want.session == nil || it.want.tells {
		return d.keepSession(it.Entry, it.want), nil
	}
	if _, known, err := msgmap.Session(ctx, d.store, it.Entry.Event.Session); err != nil || known {
		return bridge.Batch{}, err
	}
	it.want.tells = true
	return d.keepSession(it.Entry, it.want), nil
}
