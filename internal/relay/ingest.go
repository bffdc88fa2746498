package relay

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// dedupeKeys returns what makes a repeat of the event recognisable.
func dedupeKeys(in bridge.Inbound, ev bridge.Event) []bridge.Claim {
	var out []bridge.Claim
	// A digest, since the parts may be of any length, and the store's keys may not.
	add := func(parts ...string) {
		key := string(ev.Type) + "\n" + ev.Session + "\n" + bridge.Digest([]byte(strings.Join(parts, "\n")))
		out = append(out, bridge.Claim{Key: key})
	}
	e := in.Event
	switch ev.Type {
	case bridge.TypeVisitorMessage, bridge.TypeOperatorMessage:
		out = append(out, bridge.Claim{Session: ev.Session, Key: ev.NaturalKey()})
	case bridge.TypeNewSession:
		add(string(ev.Body))
	case bridge.TypeVisitorEdited:
		if _, ok := bridge.Time(e.EditedAt); ok { // the content too: several edits may have the same second
			add(e.MessageID, e.EditedAt, bridge.Digest([]byte(e.Content)))
		}
	case bridge.TypeVisitorDeleted:
		add(e.MessageID)
	case bridge.TypeMessageRead:
		ids := slices.Clone(e.MessageIDs)
		slices.Sort(ids)
		add(append([]string{e.Status}, ids...)...)
	}
	if in.IdempotencyKey != "" {
		out = append(out, bridge.Claim{Key: "request\n" + in.IdempotencyKey, Sum: in.Sum})
	}
	return out
}

// Ingest takes an app server's event. When it returns without an error the event is durable, or had been before.
func (r *Relay) Ingest(ctx context.Context, in bridge.Inbound) (bridge.Accepted, error) {
	e := in.Event
	out := bridge.Accepted{}
	if in.Callback != "" {
		known, err := r.recv.Touch(ctx, in.Callback)
		if err != nil {
			return out, err
		}
		if !known {
			out.CallbackUnknown = true
			in.Callback = ""
		}
	}
	blocked, keep, err := r.blocked(ctx, e)
	if err != nil {
		return out, err
	}
	if e.Type == bridge.TypeVisitorTyping {
		if (e.IsTyping == nil || *e.IsTyping) && !blocked {
			r.visitorTypes(e.SessionOf())
		}
		out.OperatorOnline = r.presence.Online()
		return out, nil
	}
	ev := bridge.Event{
		Type: e.Type, Origin: bridge.OriginApp, Session: e.SessionOf(), Message: e.MessageOf(),
		Callback: in.Callback, Opens: e.Session != nil, Blocked: blocked, Body: json.RawMessage(in.Body),
	}
	b := bridge.Batch{Claims: dedupeKeys(in, ev), Events: []bridge.Event{ev}, Rows: in.Rows, If: in.If}
	if len(keep) > 0 {
		b.Rows = append(slices.Clone(b.Rows), keep...)
	}
	var res bridge.Result
	if e.Type == bridge.TypeOperatorStatus {
		res, err = r.presence.SetApp(ctx, *e.Online, bridge.PresenceWrite{
			Also: func(bridge.PresenceChange) bridge.Batch { return b }, Commit: r.Commit,
		})
	} else {
		res, err = r.Commit(ctx, b)
	}
	if err != nil {
		return bridge.Accepted{}, err
	}
	out.OperatorOnline = r.presence.Online()
	if out.Duplicate = res.Duplicate; res.Duplicate {
		out.ID = res.First.String()
	} else {
		out.ID = res.Seqs[0].String()
	}
	return out, nil
}

// blocked says whether an event is one of a blocked visitor's, and which rows are to be written with it. What the app itself says or
// closes is not the visitor's.
func (r *Relay) blocked(ctx context.Context, e *bridge.AppEvent) (bool, []bridge.Row, error) {
	switch e.Type {
	case bridge.TypeOperatorStatus, bridge.TypeOperatorMessage, bridge.TypeSessionClosed:
		return false, nil, nil
	}
	visitor := ""
	if e.Session != nil {
		visitor = e.Session.VisitorID
	}
	return r.desk.Blocked(ctx, e.SessionOf(), visitor)
}
