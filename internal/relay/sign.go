package relay

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// ours returns the messages of this platform's operators that an event says to have been delivered or read.
func (d *threads) ours(e bridge.Entry) []string {
	if e.Event.Type == bridge.TypeReached {
		return []string{e.Event.Message}
	}
	var body struct {
		MessageIDs []string `json:"messageIds"`
	}
	if json.Unmarshal(e.Event.Body, &body) != nil {
		return nil
	}
	var out []string
	for _, id := range body.MessageIDs {
		if strings.HasPrefix(id, d.name+":") {
			out = append(out, id)
		}
	}
	return out
}

// sign puts a sign on operators' messages, a call at a time. One that cannot be signed is left as it is: a sign is worth no
// dead letter. Platforms count messages, and reactions are none.
func (d *threads) sign(ctx context.Context, e bridge.Entry, t *thread, w wish) (result, error) {
	p, err := d.progress(ctx, e)
	if err != nil {
		return result{}, err
	}
	ids := d.ours(e)
	if d.lane.isQuiet() {
		return result{done: true, idle: true, note: "the platform asked for time: signs are left out"}, nil
	}
	for ; p.Sent < len(ids); p.Sent++ {
		row, ok, err := d.shown(ctx, e.Event.Session, ref{operators, ids[p.Sent]})
		if err != nil {
			return result{}, err
		}
		if !ok || row.Gone || len(row.IDs) == 0 || row.Sign == w.sign || row.Sign == bridge.SignRead {
			continue // unknown, signed already, or of another session
		}
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		err = d.platform.(bridge.Reactor).React(ctx, t.ID, row.IDs[0], w.sign)
		cancel()
		switch fault := bridge.AsDelivery(err, opReact, "unexpected fault"); {
		case fault == nil:
			row.Sign = w.sign
		case fault.Reason == bridge.ReasonRateLimited && fault.Scope != bridge.ScopeDestination:
			d.lane.heedLimit(fault) // words do not wait for it
		case fault.Reason != bridge.ReasonMessageGone && fault.Reason != bridge.ReasonTooLate && fault.Reason != bridge.ReasonRejected &&
			fault.Reason != bridge.ReasonThreadGone && fault.Reason != bridge.ReasonClosed &&
			(fault.Reason != bridge.ReasonAuth || fault.Scope == bridge.ScopeDestination):
			return result{op: opReact}, err
		}
		p.Sent++
		rows := []bridge.Row{shownRow(d.name, e.Event.Session, ref{operators, ids[p.Sent-1]}, row)}
		if done := p.Sent == len(ids); done {
			rows = append(rows, d.progressRow(e, nil))
			return result{op: opReact, free: true, done: true, batch: bridge.Batch{Rows: rows}}, nil
		}
		rows = append(rows, d.progressRow(e, &p))
		return result{op: opReact, free: true, batch: bridge.Batch{Rows: rows}}, nil
	}
	return result{done: true, idle: true}, nil
}
