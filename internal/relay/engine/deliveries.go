package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// A dead letter is tried again by one batch: its row goes, and an event comes into the log that stands for it and that its lane
// alone carries. So there is always exactly one of the two, whatever ends in the middle. The event has the letter's session, and
// a place of its own in the log: from there on it has its day again, stands behind what the session has had since, and keeps
// the log as any other does. What the lane delivers is the event of the letter, with its first place in the log and so with the
// id that the receivers know: a webhook-id is the same, and of a message in several parts the platform gets those that it has
// not had. Given up once more, it is the same letter again.

// TypeRedelivered is the event that stands for a dead letter. It is never shown to anybody.
const TypeRedelivered bridge.Type = "delivery_retried"

// redelivery is its body.
type redelivery struct {
	Lane   string       `json:"lane"`
	Target string       `json:"target,omitempty"`
	ID     string       `json:"id"` // of the event
	Event  bridge.Event `json:"event"`
}

// event returns the event that stands for a letter. Its origin is the app, which asks for it: nothing happened on the operators'
// side.
func (l Letter) event() bridge.Event {
	return bridge.Event{
		Type: TypeRedelivered, Origin: bridge.OriginApp, Session: l.Event.Session,
		Body: bridge.MustJSON(redelivery{Lane: l.Lane, Target: l.Target, ID: l.ID, Event: l.Event}),
	}
}

// unwrap returns the event that an entry of TypeRedelivered stands for, if it is for the lane, and the one target that it is for.
func unwrap(e bridge.Entry, lane string) (of bridge.Entry, target string, ok bool) {
	var a redelivery
	if err := json.Unmarshal(e.Event.Body, &a); err != nil || a.Lane != lane {
		return bridge.Entry{}, "", false
	}
	of.Event = a.Event
	if of.Seq, ok = bridge.ParseSeq(a.ID); !ok {
		return bridge.Entry{}, "", false
	}
	var text string
	if json.Unmarshal(of.Event.Body, &text) == nil {
		of.Event.Body = json.RawMessage(text)
	}
	return of, a.Target, true
}

// asJSON returns a body that can be kept within another one: what cannot be read is kept as a text.
func asJSON(body json.RawMessage) json.RawMessage {
	if _, err := json.Marshal(body); err != nil {
		return bridge.MustJSON(string(body))
	}
	return body
}

// enqueueRedelivered queues a dead letter of this lane that is tried again. Called under the lock.
func (l *Lane) enqueueRedelivered(e bridge.Entry, done []string) {
	of, target, ok := unwrap(e, l.name)
	if !ok {
		l.queue.read(e.Seq)
		return
	}
	kind := l.sink.Kind(of)
	if kind == bridge.KindNone {
		l.log.Warn("a dead letter is of no use any more", "event", of.Seq, "type", of.Event.Type, "session", of.Event.Session)
		l.queue.read(e.Seq)
		return
	}
	it := &item{
		Queued: Queued{Seq: e.Seq, Session: e.Event.Session, Type: of.Event.Type, Only: target, Redelivered: true},
		kind:   kind, beside: l.isBeside(of.Event.Type),
		more: &moreOf{possiblySent: of.Seq.Time().Add(-clockSkew)}, // it may have been shown by a call whose answer was lost
	}
	l.rankOf(it, of)
	it.yields = false
	l.add(it, done)
}

// entry returns the event that an item stands for.
func (l *Lane) entry(ctx context.Context, it *item) (e bridge.Entry, ok bool, err error) {
	if e, ok, err = l.engine.tail.entry(ctx, it.Seq); err == nil && ok && it.Redelivered {
		e, _, ok = unwrap(e, l.name)
	}
	return e, ok, err
}

// maxTargetKey is the longest target, in bytes, that stands in the key of its letter as it is.
const maxTargetKey = 64

// key is <lane>/<event id>[/<target>], with ~ and a digest in the place of a long target. A target has no slash.
func (l Letter) key() string {
	key := l.Lane + "/" + l.ID
	switch {
	case l.Target == "":
		return key
	case len(l.Target) > maxTargetKey:
		return key + "/~" + bridge.Digest([]byte(l.Target))
	default:
		return key + "/" + l.Target
	}
}

// The id of a delivery is the key of its letter, with colons that no path minds.
func idOf(key string) string { return strings.Replace(key, "/", ":", 2) }
func keyOf(id string) string { return strings.Replace(id, ":", "/", 2) }

// Where a page of deliveries begins: afterFailed and a letter's key, or afterWaiting, a lane and a place in the log.
const (
	afterFailed  = "f:"
	afterWaiting = "w:"
)

// Deliveries lists what was given up, by lane and then by age, and what waits, as the store knows it: which bridge works a lane
// does not matter. An error is a *bridge.FieldError or the store's.
func (r *Engine) Deliveries(ctx context.Context, q bridge.DeliveryQuery) (bridge.DeliveryPage, error) {
	lanes, err := r.allLanes(ctx)
	if err != nil {
		return bridge.DeliveryPage{}, err
	}
	if q.Lane != "" && !slices.Contains(lanes, q.Lane) {
		any, err := r.letters(ctx, q.Lane, "", 1)
		if err != nil {
			return bridge.DeliveryPage{}, err
		}
		if len(any) == 0 {
			return bridge.DeliveryPage{}, &bridge.FieldError{Field: "lane", Problem: "is no lane; there are " + strings.Join(lanes, ", ")}
		}
	}
	var page bridge.DeliveryPage
	waiting, isWaiting := strings.CutPrefix(q.After, afterWaiting)
	key, isFailed := strings.CutPrefix(q.After, afterFailed)
	switch {
	case q.After != "" && !isWaiting && !isFailed:
		return bridge.DeliveryPage{}, badPage()
	case !isWaiting:
		waiting = ""
	}
	if !isWaiting && q.State != bridge.StateWaiting {
		rows, err := r.letters(ctx, q.Lane, key, q.Max+1)
		if err != nil {
			return bridge.DeliveryPage{}, err
		}
		for i, row := range rows {
			if i == q.Max {
				page.Next = afterFailed + rows[i-1].Key
				return page, nil
			}
			if d, ok := deliveryOf(row); ok {
				page.Deliveries = append(page.Deliveries, d)
			}
		}
	}
	if q.State == bridge.StateFailed {
		return page, nil
	}
	if q.Lane != "" {
		lanes = slices.DeleteFunc(lanes, func(name string) bool { return name != q.Lane })
	}
	err = r.waiting(ctx, lanes, waiting, q.Max, &page)
	return page, err
}

func badPage() error {
	return &bridge.FieldError{Field: "after", Problem: "must be the next of the page before"}
}

// allLanes returns the lanes that are configured here or known to the store, in order.
func (r *Engine) allLanes(ctx context.Context) ([]string, error) {
	names, err := r.store.Lanes(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range r.lanes {
		names = append(names, l.name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// letters returns up to max rows of the dead letters behind a key, of one lane or of all, in the order of lanes and of events.
func (r *Engine) letters(ctx context.Context, lane, after string, max int) ([]bridge.Row, error) {
	if lane == "" {
		return r.store.List(ctx, tableDead, after, max)
	}
	if after < lane+"/" {
		after = lane + "/"
	}
	rows, err := r.store.List(ctx, tableDead, after, max)
	return slices.DeleteFunc(rows, func(row bridge.Row) bool { return !strings.HasPrefix(row.Key, lane+"/") }), err
}

func deliveryOf(row bridge.Row) (bridge.Delivery, bool) {
	var l Letter
	if json.Unmarshal(row.Value, &l) != nil {
		return bridge.Delivery{}, false
	}
	d := describe(l.Event)
	seq, _ := bridge.ParseSeq(l.ID)
	d.EventID, d.Timestamp = seq.String(), seq.Time()
	d.ID, d.State, d.Lane, d.Target = idOf(row.Key), bridge.StateFailed, l.Lane, l.Target
	d.Reason, d.Detail, d.FailedAt = l.Reason, l.Detail, l.At
	return d, true
}

func describe(e bridge.Event) bridge.Delivery {
	return bridge.Delivery{Type: e.Type, SessionID: e.Session, MessageID: e.Message}
}

// scanMost is how many entries of the log one page of waiting deliveries looks at.
const scanMost = 20 * tailPage

// waiting adds to the page what waits in the lanes, from the place after, <lane>:<event id>, on. A page may have less than it
// could hold, and a next one all the same.
func (r *Engine) waiting(ctx context.Context, lanes []string, after string, most int, page *bridge.DeliveryPage) error {
	from := bridge.Seq(0)
	if after != "" {
		name, id, _ := strings.Cut(after, ":")
		seq, ok := bridge.ParseSeq(id)
		if !ok {
			return badPage()
		}
		from = seq
		lanes = slices.DeleteFunc(slices.Clone(lanes), func(other string) bool { return other < name })
		if len(lanes) == 0 || lanes[0] != name {
			from = 0
		}
	}
	scanned := 0
	for _, name := range lanes {
		state, err := r.store.Lane(ctx, name)
		if err != nil {
			return err
		}
		done := map[bridge.Seq][]string{}
		for _, m := range state.Done {
			done[m.Seq] = append(done[m.Seq], m.Target)
		}
		at := max(state.Cursor, from)
		from = 0
		for {
			if scanned >= scanMost {
				page.Next = afterWaiting + name + ":" + at.String()
				return nil
			}
			entries, err := r.store.Read(ctx, at, tailPage, 0)
			if err != nil {
				return err
			}
			if len(entries) == 0 {
				break
			}
			for _, e := range entries {
				found, err := r.waitingOf(ctx, name, e, done[e.Seq])
				if err != nil {
					return err
				}
				// An event's targets stay together.
				if len(page.Deliveries) > 0 && len(page.Deliveries)+len(found) > most {
					page.Next = afterWaiting + name + ":" + at.String()
					return nil
				}
				page.Deliveries = append(page.Deliveries, found...)
				at = e.Seq
			}
			scanned += len(entries)
		}
	}
	return nil
}

// waitingOf returns the deliveries of one entry that a lane still has to make.
func (r *Engine) waitingOf(ctx context.Context, name string, e bridge.Entry, done []string) ([]bridge.Delivery, error) {
	of, only := e, ""
	if e.Event.Type == TypeRedelivered {
		var ok bool
		if of, only, ok = unwrap(e, name); !ok {
			return nil, nil
		}
	} else if e.Event.Origin != bridge.OriginApp {
		only = e.Event.Callback
	}
	if r.kindAt(name, of) == bridge.KindNone || r.finished(name, e) {
		return nil, nil
	}
	targets := onlyTarget
	if l := r.lane(name); l != nil && l.targeter != nil {
		var err error
		q := Queued{Seq: e.Seq, Session: of.Event.Session, Type: of.Event.Type, Only: only, Redelivered: of.Seq != e.Seq}
		if targets, err = l.targeter.TargetsKept(ctx, q); err != nil {
			return nil, err
		}
	}
	var out []bridge.Delivery
	for _, target := range targets {
		if slices.Contains(done, target) {
			continue
		}
		d := describe(of.Event)
		d.EventID, d.Timestamp = of.Seq.String(), of.Seq.Time()
		d.State, d.Lane, d.Target = bridge.StateWaiting, name, target
		d.ID = idOf(Letter{Lane: name, Target: target, ID: of.Seq.String()}.key())
		out = append(out, d)
	}
	return out, nil
}

// finished says whether a lane that is worked here is known to have finished an event. The store may hear of it a little later.
func (r *Engine) finished(name string, e bridge.Entry) bool {
	l := r.lane(name)
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.owned || e.Seq > l.queue.fed || l.queue.find(e.Event.Session, e.Seq) != nil {
		return false
	}
	for _, items := range l.deferred {
		if slices.ContainsFunc(items, func(it *item) bool { return it.Seq == e.Seq }) {
			return false
		}
	}
	return true
}

// Retry delivers a dead letter again. An error is bridge.ErrNoDelivery, bridge.ErrNoLane or the store's.
func (r *Engine) Retry(ctx context.Context, id string) error {
	row, err := r.letter(ctx, id)
	if err != nil {
		return err
	}
	return r.retry(ctx, []bridge.Row{row})
}

// letter returns a dead letter's row.
func (r *Engine) letter(ctx context.Context, id string) (bridge.Row, error) {
	key := keyOf(id)
	value, err := r.store.Get(ctx, tableDead, key)
	if err != nil {
		return bridge.Row{}, err
	}
	if value == nil {
		return bridge.Row{}, bridge.ErrNoDelivery
	}
	return bridge.Row{Table: tableDead, Key: key, Value: value}, nil
}

// retry delivers dead letters of configured lanes again, all or none of them: in one batch.
func (r *Engine) retry(ctx context.Context, rows []bridge.Row) error {
	var b bridge.Batch
	for _, row := range rows {
		var l Letter
		if err := json.Unmarshal(row.Value, &l); err != nil {
			return fmt.Errorf("row %s of table %s: %w", row.Key, tableDead, err)
		}
		if r.lane(l.Lane) == nil {
			return fmt.Errorf("%w: %s", bridge.ErrNoLane, l.Lane)
		}
		b.If = append(b.If, row)
		b.Rows = append(b.Rows, bridge.Row{Table: tableDead, Key: row.Key})
		b.Events = append(b.Events, l.event())
	}
	_, err := r.Commit(ctx, b)
	if errors.Is(err, bridge.ErrChanged) {
		return bridge.ErrNoDelivery // another request was faster
	}
	return err
}

// How many dead letters one request tries again at most, how many, and of how many bytes, go in one write, and how many of those
// that are left are counted.
const (
	retryMost  = 1000
	retryPage  = 64
	retryBytes = 1 << 20
	retryLeft  = 1000
)

// RetryAll delivers the dead letters of a lane again, in the order of their events, and returns how many, and how many are left
// for another call, where 1000 are so many or more. An error is a *bridge.FieldError, bridge.ErrNoLane or the store's; what was done
// before it stays done.
func (r *Engine) RetryAll(ctx context.Context, name string) (retried, left int, err error) {
	if r.lane(name) == nil {
		return 0, 0, fmt.Errorf("%w: %s", bridge.ErrNoLane, name)
	}
	after := ""
	for retried < retryMost {
		rows, err := r.letters(ctx, name, after, min(retryPage, retryMost-retried))
		if err != nil || len(rows) == 0 {
			return retried, 0, err
		}
		after = rows[len(rows)-1].Key
		for len(rows) > 0 {
			n, size := 0, 0
			for n < len(rows) && (n == 0 || size+len(rows[n].Value) <= retryBytes) {
				size += len(rows[n].Value)
				n++
			}
			done, err := r.retryEach(ctx, rows[:n])
			retried, rows = retried+done, rows[n:]
			if err != nil {
				return retried, 0, err
			}
		}
	}
	for left < retryLeft {
		rows, err := r.letters(ctx, name, after, retryPage)
		if err != nil || len(rows) == 0 {
			return retried, left, err
		}
		left, after = min(left+len(rows), retryLeft), rows[len(rows)-1].Key
	}
	return retried, left, nil
}

// retryEach delivers dead letters again that may have gone meanwhile, and returns how many of them had not.
func (r *Engine) retryEach(ctx context.Context, rows []bridge.Row) (done int, err error) {
	switch err := r.retry(ctx, rows); {
	case err == nil:
		return len(rows), nil
	case !errors.Is(err, bridge.ErrNoDelivery):
		return 0, err
	case len(rows) == 1:
		return 0, nil
	}
	for _, row := range rows { // which of them is gone shows when each goes alone
		n, err := r.retryEach(ctx, []bridge.Row{row})
		if done += n; err != nil {
			return done, err
		}
	}
	return done, nil
}

// Discard removes a dead letter for good. An error is bridge.ErrNoDelivery or the store's.
func (r *Engine) Discard(ctx context.Context, id string) error {
	row, err := r.letter(ctx, id)
	if err != nil {
		return err
	}
	_, err = r.Commit(ctx, bridge.Batch{If: []bridge.Row{row}, Rows: []bridge.Row{{Table: tableDead, Key: row.Key}}})
	if errors.Is(err, bridge.ErrChanged) {
		return bridge.ErrNoDelivery
	}
	return err
}
