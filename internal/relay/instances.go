package relay

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// tableBindings holds which callback a session is bound to: key session, value callback id.
const tableBindings = "bindings"

// instances is where the callbacks' lane delivers to: the app servers' registered instances, each with a track of its own
// in every session.
type instances struct {
	recv  Receivers
	store Store
	kept  time.Duration // how long the store keeps a silent session; 0: for ever
	lane  *lane
	// bound is which callback a session's events go to, the last one that sent something of it, of those that wait or that
	// something happened to lately; unsaved are those that the store does not have yet. All below is used under the lane's lock.
	bound   map[string]binding
	unsaved map[string]string
	// some says that there has been a callback at some time; told is what the store knows of that.
	some, told bool
	troubles   *troubles
	team       func() bridge.OperatorStatus // who is online, as the backend is told from time to time
	status     backendStatus
}

// binding is a session's callback.
type binding struct {
	callback string    // empty: none
	seen     time.Time // the session's last event
}

func newInstances(recv Receivers, s Store, kept time.Duration, l *lane, t *troubles) *instances {
	return &instances{recv: recv, store: s, kept: kept, lane: l, bound: map[string]binding{}, unsaved: map[string]string{}, troubles: t}
}

// knownBindings is how many bindings are kept in memory besides those of sessions that wait.
const knownBindings = 10_000

// How many requests to callbacks may be under way at once: to all of them, to one, and to one that fails. One that takes ten
// seconds to fail must not keep the others waiting.
const (
	instanceConcurrency = 256
	perInstance         = 64
	perFailingInstance  = 4
)

func (d *instances) limits() bridge.Limits { return bridge.Limits{Concurrency: instanceConcurrency} }

func (d *instances) atOnce(target string) int {
	if d.troubles.has(target) {
		return perFailingInstance
	}
	return perInstance
}

func (d *instances) load(ctx context.Context) error {
	note, err := readNote(ctx, d.store, laneCallbacks)
	if err != nil {
		return err
	}
	clear(d.bound)
	clear(d.unsaved)
	d.some, d.told = note.Served, note.Served
	d.status.tell(time.Now())
	return d.troubles.load(ctx, d.store)
}

// prepare implements preparer: it reads the bindings that the entries need.
func (d *instances) prepare(ctx context.Context, entries []bridge.Entry) error {
	missing := map[string]time.Time{}
	d.lane.mu.Lock()
	if len(d.bound) > knownBindings {
		d.forget(func(binding) bool { return false })
	}
	for _, e := range entries {
		session := e.Event.Session
		needed := d.kind(e) != bridge.KindNone || e.Event.Type == typeAgain || namedBy(e) != ""
		if _, known := d.bound[session]; session != "" && needed && !known {
			missing[session] = e.Seq.Time()
		}
	}
	d.lane.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	sessions := slices.Collect(maps.Keys(missing))
	values, err := d.store.GetAll(ctx, tableBindings, sessions...)
	if err != nil {
		return err
	}
	d.lane.mu.Lock()
	defer d.lane.mu.Unlock()
	for i, session := range sessions {
		d.bound[session] = binding{callback: string(values[i]), seen: missing[session]}
	}
	return nil
}

// forget drops the bindings of sessions of which nothing waits, unless they are kept.
func (d *instances) forget(kept func(binding) bool) {
	left := map[string]binding{} // a map only ever grows
	for session, b := range d.bound {
		if _, unsaved := d.unsaved[session]; unsaved || d.lane.queue.streams[session] != nil || kept(b) {
			left[session] = b
		}
	}
	d.bound = left
}

// heard keeps the bindings.
func (d *instances) heard(e bridge.Entry) bool {
	return e.Event.Session != "" && d.bind(e.Event.Session, e)
}

// namedBy returns the callback that an app names with an event.
func namedBy(e bridge.Entry) string {
	if e.Event.Origin != bridge.OriginApp {
		return ""
	}
	return e.Event.Callback
}

func (d *instances) kind(e bridge.Entry) bridge.Kind {
	switch {
	case !e.Event.FromOperators():
		return bridge.KindNone
	case e.Event.Type.HoldsUpNothing():
		return bridge.KindNotice
	default:
		return bridge.KindWord
	}
}

// bind keeps the session's binding up to date, and says whether it is another one. Its row goes with a session that is silent
// for long and may come again: it is written again long before that can have happened.
func (d *instances) bind(session string, e bridge.Entry) (moved bool) {
	now, named := e.Seq.Time(), namedBy(e)
	old, ok := d.bound[session]
	switch {
	case named != "" && (named != old.callback || d.kept > 0 && now.Sub(old.seen) > d.kept/2):
		d.bound[session], d.unsaved[session] = binding{callback: named, seen: now}, named
		return named != old.callback
	case ok && now.After(old.seen):
		old.seen = now
		d.bound[session] = old
	}
	return false
}

// tidy forgets the bindings of sessions that nothing happens to.
func (d *instances) tidy(now time.Time) {
	d.forget(func(b binding) bool { return now.Sub(b.seen) <= tidyEvery })
}

// tableLanes has a row under noteStreams once anybody has followed the events of this project by a stream.
const noteStreams = "streams"

// nobodys implements unserved. With no callback ever registered, events wait in the log for the first one; and where streams take
// them, only for as long as it may take this process to know of a registration.
func (d *instances) nobodys(ctx context.Context, now time.Time) (bridge.Seq, bool) {
	d.lane.mu.Lock()
	served := d.served()
	d.lane.mu.Unlock()
	if served {
		return 0, false
	}
	wait := giveUpAfter
	if streams, err := d.store.Get(ctx, tableLanes, noteStreams); err == nil && streams != nil {
		wait = registrationLag
	}
	return bridge.SeqAt(now.Add(-wait)), true
}

func (d *instances) served() bool {
	d.some = d.some || d.recv.Registered()
	return d.some
}

func (d *instances) unwritten() []bridge.Row {
	rows := make([]bridge.Row, 0, len(d.unsaved)+1)
	for session, id := range maps.All(d.unsaved) {
		rows = append(rows, bridge.Row{Table: tableBindings, Key: session, Value: []byte(id), Session: session})
	}
	if !d.told && d.served() {
		rows = append(rows, laneNote{Served: true}.row(laneCallbacks))
	}
	return rows
}

func (d *instances) written(rows []bridge.Row) {
	for _, row := range rows {
		switch {
		case row.Table == tableBindings && d.unsaved[row.Key] == string(row.Value):
			delete(d.unsaved, row.Key)
		case row.Table == tableLanes:
			d.told = true
		}
	}
}

func (d *instances) targets(it *item) []string {
	return targetsOf(d.recv, it, d.bound[it.session].callback)
}

// targetsOf returns who is to get an event now. A dead letter that is tried again goes to whom it was for while that one is
// there; else it goes the way of an event that was for nobody in particular.
func targetsOf(recv Receivers, it *item, bound string) []string {
	ev := bridge.Event{Type: it.eventType, Origin: bridge.OriginBridge, Session: it.session, Callback: it.only}
	if it.again && it.only != "" && !recv.Has(it.only) {
		ev.Callback = ""
	}
	return recv.Targets(bridge.Entry{Seq: it.seq, Event: ev}, bound)
}

// waits implements destination: events wait for the first callback, but not for one that wants them; and for one that is told of
// its own registration, until that is known here too.
func (d *instances) waits(it *item) bool { return waitsForFirst(d.recv, it) }

// registrationLag is how long an event for a callback may be there before this process knows of the callback, which another one
// may have registered.
const registrationLag = 30 * time.Second

func waitsForFirst(recv Receivers, it *item) bool {
	if it.only != "" && !it.again {
		return !recv.Has(it.only) && it.age(time.Now()) < registrationLag
	}
	return !recv.Registered()
}

func (d *instances) lastOnly(t bridge.Type) bool { return t == bridge.TypeOperatorStatus }

func (d *instances) attempt(ctx context.Context, _ *item, target string, e bridge.Entry) (result, error) {
	err := d.recv.Post(ctx, target, e)
	d.noteBackend(target, err)
	d.troubles.note(ctx, target, e.Event.Type, err)
	if err != nil && !bridge.AsDelivery(err, opPost, "").UnknownType(e.Event.Type) {
		return result{op: opPost}, err
	}
	return result{op: opPost, done: true, batch: reached(e)}, nil
}

// reached tells the platform that an operator's message came from that the visitor's app has it.
func reached(e bridge.Entry) bridge.Batch {
	if e.Event.Type != bridge.TypeOperatorMessage {
		return bridge.Batch{}
	}
	return bridge.Batch{Events: []bridge.Event{{
		Type: bridge.TypeReached, Origin: e.Event.Origin, Session: e.Event.Session, Message: e.Event.Message, Body: json.RawMessage("{}"),
	}}}
}

func (d *instances) circumstance(context.Context, *item, *circumstance) {}

// aged implements destination: an app server that only ever asks for time has a day, too.
func (d *instances) aged() bool { return true }

// knowsRepeats implements destination: by their webhook-id.
func (d *instances) knowsRepeats() bool { return true }

func (d *instances) news(now time.Time) news {
	return d.withStatus(d.troubles.news(now, d.recv.Has), now)
}

func (d *instances) takes(target string, since time.Time) bool {
	return d.troubles.takes(target, since)
}

// react is never asked: callbacks have no threads, no chats and no markup.
func (d *instances) react(context.Context, outcome, *bridge.DeliveryError, *item, bridge.Entry) (bridge.Batch, bool, error) {
	return bridge.Batch{}, true, nil
}

// buried tells, where an operator wrote or changed a message, that the visitor's app did not take it.
func (d *instances) buried(e bridge.Entry, cause *bridge.DeliveryError) []bridge.Event {
	text := ""
	switch e.Event.Type {
	case bridge.TypeOperatorMessage:
		text = "⚠️ The visitor does not see this message: the app did not take it (" + cause.Detail +
			"). Write it in another way, or ask whoever runs the app."
	case bridge.TypeOperatorEdited, bridge.TypeOperatorDeleted:
		text = "⚠️ The visitor may still see this message as it was: the app did not take the change (" + cause.Detail + ")."
	}
	id, ok := strings.CutPrefix(e.Event.Message, e.Event.Origin+":")
	if text == "" || !ok {
		return nil
	}
	return []bridge.Event{{
		Type: bridge.TypeAnswer, Origin: e.Event.Origin, Session: e.Event.Session,
		Body: mustJSON(bridge.Answer{Session: e.Event.Session, ReplyTo: bridge.MessageID(id), Text: text}),
	}}
}

func (d *instances) changed() <-chan struct{} { return d.recv.Changed() }
