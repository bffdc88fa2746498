package threads

import (
	"context"
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// sign puts a sign on operators' messages, a call at a time. One that cannot be signed is left as it is: a sign is worth no
// dead letter. Platforms count messages, and reactions are none.
func (d *Sink) sign(ctx context.Context, it *attempt) (engine.Result, error) {
	p, err := d.progress(ctx, it.Entry)
	if err != nil {
		return engine.Result{}, err
	}
	ids := d.ours(it.Entry)
	const leftOut = "the platform asked for time: signs are left out"
	if it.peek.Quiet() {
		return engine.Result{Done: true, Idle: true, Note: leftOut}, nil
	}
	if over, err := d.signIsOver(ctx, it); err != nil || over {
		return engine.Result{Done: true, Idle: true, Shed: "sign", Note: "the sign is left out: it comes too late"}, err
	}
	for ; p.Sent < len(ids); p.Sent++ {
		row, ok, err := d.messages.Shown(ctx, it.Entry.Event.Session, msgmap.Operator(ids[p.Sent]))
		if err != nil {
			return engine.Result{}, err
		}
		if !ok || row.Gone || len(row.IDs) == 0 || row.Sign == it.want.sign || row.Sign == bridge.SignRead {
			continue // unknown, signed already, or of another session
		}
		ctx, cancel := context.WithTimeout(ctx, engine.CallTimeout)
		err = d.platform.(bridge.Reactor).React(ctx, it.thread.ID, row.IDs[0], it.want.sign)
		cancel()
		note := ""
		switch fault := bridge.AsDelivery(err, engine.OpReact, "unexpected fault"); {
		case fault == nil:
			row.Sign = it.want.sign
		case fault.Reason == bridge.ReasonRateLimited && fault.Scope != bridge.ScopeDestination:
			it.peek.HeedLimit(fault) // words do not wait for it
			note = leftOut
		case !isRefused(fault) && fault.Reason != bridge.ReasonThreadGone && fault.Reason != bridge.ReasonClosed:
			return engine.Result{Op: engine.OpReact}, err
		}
		p.Sent++
		rows := []bridge.Row{d.messages.ShownRow(it.Entry.Event.Session, msgmap.Operator(ids[p.Sent-1]), row)}
		if done := p.Sent == len(ids); done {
			rows = append(rows, d.progressRow(it.Entry, nil))
			return engine.Result{Op: engine.OpReact, Free: true, Done: true, Note: note, Batch: bridge.Batch{Rows: rows}}, nil
		}
		rows = append(rows, d.progressRow(it.Entry, &p))
		return engine.Result{Op: engine.OpReact, Free: true, Note: note, Batch: bridge.Batch{Rows: rows}}, nil
	}
	return engine.Result{Done: true, Idle: true}, nil
}

// signLife is how long the sign that the visitor's app has a message is worth a call that had to wait.
const signLife = time.Minute

// signIsOver says whether a sign that waited is not worth a call any more: it is late, or another one is to take its place.
func (d *Sink) signIsOver(ctx context.Context, it *attempt) (bool, error) {
	if it.want.sign != bridge.SignDelivered || !it.peek.Held() {
		return false, nil
	}
	if time.Since(it.Entry.Seq.Time()) > signLife {
		return true, nil
	}
	behind, err := it.peek.Behind(ctx)
	if err != nil {
		return false, err
	}
	ids := d.ours(it.Entry)
	for _, later := range behind {
		if w, err := decodeIntent(later); err != nil || !w.signs || w.sign != bridge.SignRead {
			continue
		}
		read := d.ours(later)
		if !slices.ContainsFunc(ids, func(id string) bool { return !slices.Contains(read, id) }) {
			return true, nil
		}
	}
	return false, nil
}
