package relay

import (
	"context"
	"maps"

	"github.com/pocketping/bridge/internal/bridge"
)

// tableBindings holds which callback a session is bound to: key session, value callback id.
const tableBindings = "bindings"

// instances is where the callbacks' lane delivers to: the app servers' registered instances, each with a track of its own
// in every session.
type instances struct {
	recv  Receivers
	store Store
	// bound is which callback a session's events go to, the last one that sent something of it; unsaved are those that the
	// store does not have yet. Both are used under the lane's lock.
	bound   map[string]string
	unsaved map[string]string
}

func newInstances(recv Receivers, s Store) *instances {
	return &instances{recv: recv, store: s, bound: map[string]string{}, unsaved: map[string]string{}}
}

// instanceConcurrency is how many requests to callbacks may be under way at once.
const instanceConcurrency = 64

func (d *instances) limits() bridge.Limits { return bridge.Limits{Concurrency: instanceConcurrency} }

func (d *instances) load(ctx context.Context) error {
	rows, err := d.store.List(ctx, tableBindings)
	if err != nil {
		return err
	}
	clear(d.bound)
	clear(d.unsaved)
	for _, row := range rows {
		d.bound[row.Key] = string(row.Value)
	}
	return nil
}

func (d *instances) kind(e bridge.Entry) bridge.Kind {
	if ev := e.Event; ev.Origin == bridge.OriginApp && ev.Callback != "" && ev.Session != "" && d.bound[ev.Session] != ev.Callback {
		d.bound[ev.Session], d.unsaved[ev.Session] = ev.Callback, ev.Callback
	}
	if e.Event.FromOperators() {
		return bridge.KindWord
	}
	return bridge.KindNone
}

func (d *instances) unwritten() []bridge.Row {
	rows := make([]bridge.Row, 0, len(d.unsaved))
	for session, id := range maps.All(d.unsaved) {
		rows = append(rows, bridge.Row{Table: tableBindings, Key: session, Value: []byte(id), Session: session})
	}
	return rows
}

func (d *instances) written(rows []bridge.Row) {
	for _, row := range rows {
		if row.Table == tableBindings && d.unsaved[row.Key] == string(row.Value) {
			delete(d.unsaved, row.Key)
		}
	}
}

func (d *instances) targets(it *item) []string {
	ev := bridge.Event{Type: it.eventType, Origin: bridge.OriginBridge, Session: it.session, Callback: it.only}
	return d.recv.Targets(bridge.Entry{Seq: it.seq, Event: ev}, d.bound[it.session])
}

// waits implements destination: events wait for the first callback, but not for one that wants them.
func (d *instances) waits(it *item) bool { return it.only == "" && !d.recv.Registered() }

func (d *instances) lastOnly(t bridge.Type) bool { return t == bridge.TypeOperatorStatus }

func (d *instances) attempt(ctx context.Context, _ *item, target string, e bridge.Entry) (result, error) {
	if err := d.recv.Post(ctx, target, e); err != nil {
		return result{}, err
	}
	return result{done: true}, nil
}

func (d *instances) circumstance(context.Context, *item, *circumstance) {}

// react is never asked: callbacks have no threads, no chats and no markup.
func (d *instances) react(context.Context, outcome, *bridge.DeliveryError, *item, bridge.Entry) (bridge.Batch, bool, error) {
	return bridge.Batch{}, true, nil
}

func (d *instances) buried(bridge.Entry, *bridge.DeliveryError) []bridge.Event { return nil }

func (d *instances) changed() <-chan struct{} { return d.recv.Changed() }
