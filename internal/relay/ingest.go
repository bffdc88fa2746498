package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
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
		add(append([]string{e.Status}, slices.Sorted(slices.Values(e.MessageIDs))...)...)
	}
	if in.IdempotencyKey != "" {
		out = append(out, bridge.Claim{Key: "request\n" + in.IdempotencyKey, Sum: in.Sum})
	}
	return out
}

// answererOf returns who answers the visitor with an app server's event; empty: nobody.
func answererOf(e *bridge.AppEvent) string {
	switch {
	case e.Type == bridge.TypeAITakeover:
		return msgmap.AnswererAI
	case e.Message == nil || e.Type != bridge.TypeOperatorMessage && e.Type != bridge.TypeVisitorMessage:
		return ""
	case e.Message.Sender == bridge.SenderAI:
		return msgmap.AnswererAI
	case e.Type == bridge.TypeOperatorMessage, e.Message.Sender == bridge.SenderOperator:
		return msgmap.AnswererApp
	default:
		return ""
	}
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
		Type: e.Type, Origin: bridge.OriginApp, Session: strings.Clone(e.SessionOf()), Message: strings.Clone(e.MessageOf()), // parts of the body
		Callback: in.Callback, Opens: e.Session != nil, Blocked: blocked, Body: json.RawMessage(in.Body), Summary: e.InShort(),
	}
	b := bridge.Batch{Claims: dedupeKeys(in, ev), Events: []bridge.Event{ev}, Rows: slices.Concat(in.Rows, keep), If: in.If}
	if who := answererOf(e); who != "" && ev.Session != "" {
		answered, err := msgmap.AnsweredBy(ctx, r.store, ev.Session)
		if err != nil {
			return bridge.Accepted{}, err
		}
		b.Rows = append(b.Rows, msgmap.AnsweredRow(ev.Session, answered.With(who, time.Now())))
	}
	var res bridge.Result
	if e.Type == bridge.TypeOperatorStatus {
		res, err = r.presence.SetApp(ctx, *e.Online, bridge.PresenceWrite{
			Also: func(bridge.PresenceChange) bridge.Batch { return b }, Commit: r.Commit,
		})
	} else {
		res, err = r.commitUnlessSuperseded(ctx, e, b)
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

// supersededTries is how often an AI's answer is committed while others change what it is written with.
const supersededTries = 20

// commitUnlessSuperseded commits an event. An AI's answer to a message is refused with bridge.ErrSuperseded when the visitor or a person
// has written since, unless it was accepted before.
func (r *Relay) commitUnlessSuperseded(ctx context.Context, e *bridge.AppEvent, b bridge.Batch) (bridge.Result, error) {
	if e.Type != bridge.TypeOperatorMessage || e.Message.Sender != bridge.SenderAI || cmp.Or(e.AfterMessageID, e.Message.AfterMessageID) == "" {
		return r.Commit(ctx, b)
	}
	words := msgmap.LastWords{Store: r.store}
	for range supersededTries {
		seqs, err := r.store.Claimed(ctx, e.SessionOf(), bridge.OperatorMessageKey(e.MessageOf()))
		if err != nil {
			return bridge.Result{}, err
		}
		if seqs[0] != 0 {
			return r.Commit(ctx, b)
		}
		written, still, err := words.Since(ctx, e.SessionOf(), cmp.Or(e.AfterMessageID, e.Message.AfterMessageID))
		if err != nil {
			return bridge.Result{}, err
		}
		if written {
			return bridge.Result{}, bridge.ErrSuperseded
		}
		next := b
		next.IfTaken = append(slices.Clone(b.IfTaken), still)
		res, err := r.Commit(ctx, next)
		if !errors.Is(err, bridge.ErrChanged) {
			return res, err
		}
	}
	return bridge.Result{}, fmt.Errorf("%w: others write in the same session", bridge.ErrUnavailable)
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
