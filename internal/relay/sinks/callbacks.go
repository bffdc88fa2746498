// Package sinks is where events go that programs are told of: app servers' callbacks and the events webhook. It says which program gets
// which event and what operators are told of those that fail. It knows no HTTP, no registration's row and no lane's queue.
package sinks

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/incident"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/words"
)

// CallbackSink is where the callbacks' lane delivers to: the app servers' registered instances, each with a partition of its own
// in every session.
type CallbackSink struct {
	programs
	recv   Receivers
	store  Store
	kept   time.Duration                // how long the store keeps a silent session; 0: for ever
	team   func() bridge.OperatorStatus // who is online, as the backend is told from time to time
	status backendStatus

	mu sync.Mutex // of what is below
	// bound is which callback a session's events go to, the last one that sent something of it, of those that wait or that
	// something happened to lately; unsaved are those that the store does not have yet.
	bound   map[string]binding
	unsaved map[string]string
	// everHadTarget says that there has been a callback at some time, rowWritten that the store knows.
	everHadTarget, rowWritten bool
}

// binding is a session's callback.
type binding struct {
	callback string    // empty: none
	seen     time.Time // the session's last event
}

// knownBindings is how many bindings are kept in memory besides those of sessions that wait.
const knownBindings = 10_000

// callbackConcurrency is how many requests to callbacks may be under way at once.
const callbackConcurrency = 256

func (d *CallbackSink) Limits() bridge.Limits { return bridge.Limits{Concurrency: callbackConcurrency} }

// namedBy returns the callback that an app names with an event.
func namedBy(e bridge.Entry) string {
	if e.Event.Origin != bridge.OriginApp {
		return ""
	}
	return e.Event.Callback
}

func (d *CallbackSink) Kind(e bridge.Entry) bridge.Kind {
	switch {
	case !e.Event.FromOperators():
		return bridge.KindNone
	case e.Event.Type.HoldsUpNothing():
		return bridge.KindNotice
	default:
		return bridge.KindMessage
	}
}

// bind keeps the session's binding up to date, and says whether it is another one. Its row goes with a session that is silent
// for long and may come again: it is written again long before that can have happened.
func (d *CallbackSink) bind(session string, e bridge.Entry) (moved bool) {
	now, callback := e.Seq.Time(), namedBy(e)
	old, ok := d.bound[session]
	switch {
	case callback != "" && (callback != old.callback || d.kept > 0 && now.Sub(old.seen) > d.kept/2):
		d.bound[session], d.unsaved[session] = binding{callback: callback, seen: now}, callback
		return callback != old.callback
	case ok && now.After(old.seen):
		old.seen = now
		d.bound[session] = old
	}
	return false
}

// registrationLag is how long an event for a callback may be there before this process knows of the callback, which another one
// may have registered.
const registrationLag = 30 * time.Second

func (d *CallbackSink) Attempt(ctx context.Context, a engine.Delivery, _ engine.Peek) (engine.Result, error) {
	e, target := a.Entry, a.Target
	err := d.recv.Post(ctx, target, e)
	d.noteBackend(target, err)
	d.incidents.Note(ctx, target, e.Event.Type, err)
	if err != nil && !bridge.AsDelivery(err, engine.OpPost, "").UnknownType(e.Event.Type) {
		return engine.Result{Op: engine.OpPost}, err
	}
	return engine.Result{Op: engine.OpPost, Done: true, Batch: reached(e)}, nil
}

// reached tells the platform that an operator's message came from that the visitor's app has it.
func reached(e bridge.Entry) bridge.Batch {
	if e.Event.Type != bridge.TypeOperatorMessage {
		return bridge.Batch{}
	}
	return bridge.Batch{Events: []bridge.Event{{
		Type: bridge.TypeOperatorMessageAcked, Origin: e.Event.Origin, Session: e.Event.Session, Message: e.Event.Message, Body: json.RawMessage("{}"),
	}}}
}

func (d *CallbackSink) Report(now time.Time, _ engine.Refusals) engine.Notice {
	return d.withStatus(d.incidents.Notice(now, d.recv.Has), now)
}

// GivenUp implements engine.Disposer: it tells, where an operator wrote or changed a message, that the visitor's app did not take it.
func (d *CallbackSink) GivenUp(e bridge.Entry, cause *bridge.DeliveryError) []bridge.Event {
	text := ""
	switch e.Event.Type {
	case bridge.TypeOperatorMessage:
		text = words.Get().AnswerNotTaken.With(cause.Detail)
	case bridge.TypeOperatorEdited, bridge.TypeOperatorDeleted:
		text = words.Get().ChangeNotTaken.With(cause.Detail)
	}
	id, ok := strings.CutPrefix(e.Event.Message, e.Event.Origin+":")
	if text == "" || !ok {
		return nil
	}
	return []bridge.Event{{
		Type: bridge.TypeAnswer, Origin: e.Event.Origin, Session: e.Event.Session,
		Body: bridge.MustJSON(bridge.Answer{Session: e.Event.Session, ReplyTo: bridge.MessageID(id), Text: text}),
	}}
}

func (d *CallbackSink) Changed() <-chan struct{} { return d.recv.Changed() }

// NewCallbacks returns the sink of a store that keeps a silent session so long; 0: for ever. team says who is online.
func NewCallbacks(
	recv Receivers, s Store, kept time.Duration, team func() bridge.OperatorStatus, places func() []incident.Place, log *slog.Logger,
) *CallbackSink {
	return &CallbackSink{
		programs: newPrograms(CallbacksLane, places, log), recv: recv, store: s, kept: kept, team: team,
		bound: map[string]binding{}, unsaved: map[string]string{},
	}
}

// Load implements engine.Loader.
func (d *CallbackSink) Load(ctx context.Context) error {
	served, err := engine.EverServed(ctx, d.store, CallbacksLane)
	if err != nil {
		return err
	}
	d.mu.Lock()
	clear(d.bound)
	clear(d.unsaved)
	d.everHadTarget, d.rowWritten = served, served
	d.mu.Unlock()
	d.status.noteTold(time.Now())
	return d.incidents.Load(ctx, d.store)
}

// Prepare implements engine.Preparer: it reads the bindings that the entries need.
func (d *CallbackSink) Prepare(ctx context.Context, entries []bridge.Entry, waiting func(session string) bool) error {
	d.makeRoom(waiting)
	missing := map[string]time.Time{}
	d.mu.Lock()
	for _, e := range entries {
		session := e.Event.Session
		needed := d.Kind(e) != bridge.KindNone || e.Event.Type == engine.TypeRedelivered || namedBy(e) != ""
		if _, known := d.bound[session]; session != "" && needed && !known {
			missing[session] = e.Seq.Time()
		}
	}
	d.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	sessions := slices.Collect(maps.Keys(missing))
	callbacks, err := msgmap.AllBound(ctx, d.store, sessions...)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, session := range sessions {
		d.bound[session] = binding{callback: callbacks[i], seen: missing[session]}
	}
	return nil
}

// makeRoom drops the bindings of sessions of which nothing waits, where there are many.
func (d *CallbackSink) makeRoom(waiting func(session string) bool) {
	d.mu.Lock()
	var all []string
	if len(d.bound) > knownBindings {
		all = slices.Collect(maps.Keys(d.bound))
	}
	d.mu.Unlock()
	keep := map[string]bool{}
	for _, session := range all { // not under our lock: waiting takes the lane's
		keep[session] = waiting(session)
	}
	if len(all) > 0 {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.forget(func(session string, _ binding) bool { return keep[session] })
	}
}

// forget drops the bindings that need not be kept. It is called with d.mu held.
func (d *CallbackSink) forget(kept func(session string, b binding) bool) {
	left := map[string]binding{} // a map only ever grows
	for session, b := range d.bound {
		if _, unsaved := d.unsaved[session]; unsaved || kept(session, b) {
			left[session] = b
		}
	}
	d.bound = left
}

// Tidy implements engine.Tidier: the bindings of sessions that nothing happens to are forgotten.
func (d *CallbackSink) Tidy(now time.Time, waiting func(session string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forget(func(session string, b binding) bool { return now.Sub(b.seen) <= engine.TidyEvery || waiting(session) })
}

// OnEvent implements engine.Observer: it keeps the bindings.
func (d *CallbackSink) OnEvent(e bridge.Entry) (moved bool) {
	if e.Event.Session == "" {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bind(e.Event.Session, e)
}

// Unwanted implements engine.Targeter. With no callback ever registered, events wait in the log for the first one; and where streams
// take them, only for as long as it may take this process to know of a registration.
func (d *CallbackSink) Unwanted(ctx context.Context, now time.Time) (bridge.Seq, bool) {
	if d.EverHadTarget() {
		return 0, false
	}
	wait := engine.GiveUpAfter
	if streams, err := engine.StreamsFollow(ctx, d.store); err == nil && streams {
		wait = registrationLag
	}
	return bridge.SeqAt(now.Add(-wait)), true
}

// EverHadTarget implements engine.Targeter.
func (d *CallbackSink) EverHadTarget() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hadTarget()
}

// hadTarget is called with d.mu held.
func (d *CallbackSink) hadTarget() bool {
	d.everHadTarget = d.everHadTarget || d.recv.Registered()
	return d.everHadTarget
}

// PendingRows implements engine.RowWriter.
func (d *CallbackSink) PendingRows() []bridge.Row {
	d.mu.Lock()
	defer d.mu.Unlock()
	rows := make([]bridge.Row, 0, len(d.unsaved)+1)
	for session, id := range d.unsaved {
		rows = append(rows, msgmap.BindingRow(session, id))
	}
	if !d.rowWritten && d.hadTarget() {
		rows = append(rows, engine.ServedRow(CallbacksLane))
	}
	return rows
}

// RowsWritten implements engine.RowWriter.
func (d *CallbackSink) RowsWritten(rows []bridge.Row) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, row := range rows {
		session, callback, binds := msgmap.BindingOf(row)
		switch {
		case binds && d.unsaved[session] == callback:
			delete(d.unsaved, session)
		case engine.IsServedRow(row):
			d.rowWritten = true
		}
	}
}

// Targets implements engine.Targeter.
func (d *CallbackSink) Targets(q engine.Queued) []string {
	d.mu.Lock()
	bound := d.bound[q.Session].callback
	d.mu.Unlock()
	return d.targetsOf(q, bound)
}

// targetsOf returns who is to get an event now. A dead letter that is delivered again goes to whom it was for while that one is
// there; else it goes the way of an event that was for nobody in particular.
func (d *CallbackSink) targetsOf(q engine.Queued, bound string) []string {
	ev := bridge.Event{Type: q.Type, Origin: bridge.OriginBridge, Session: q.Session, Callback: q.Only}
	if q.Redelivered && q.Only != "" && !d.recv.Has(q.Only) {
		ev.Callback = ""
	}
	return d.recv.Targets(bridge.Entry{Seq: q.Seq, Event: ev}, bound)
}

// Awaits implements engine.Targeter: events wait for the first callback, but not for one that wants them; and for one that is told of
// its own registration, until that is known here too.
func (d *CallbackSink) Awaits(q engine.Queued) bool {
	if q.Only != "" && !q.Redelivered {
		return !d.recv.Has(q.Only) && q.Age(time.Now()) < registrationLag
	}
	return !d.recv.Registered()
}

// TargetsKept implements engine.Targeter.
func (d *CallbackSink) TargetsKept(ctx context.Context, q engine.Queued) ([]string, error) {
	bound, err := msgmap.Bound(ctx, d.store, q.Session)
	if err != nil {
		return nil, err
	}
	targets := d.targetsOf(q, bound)
	if len(targets) == 0 && d.Awaits(q) {
		targets = []string{q.Only}
	}
	return targets, nil
}
