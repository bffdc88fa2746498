package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// The tables of a platform; the platform's name follows the slash.
const (
	tableThreads  = "threads/"  // session → thread
	tablePlaces   = "places/"   // thread id → session
	tableShown    = "shown/"    // as ref.key says → shown
	tableOrigins  = "origins/"  // message id on the platform → origin
	tableProgress = "progress/" // event id → progress, of an event of several parts
	tableMoves    = "moves"     // platform → where its chat went
	tableSessions = "sessions"  // session → the session as last told, for threads that are opened by others' words
)

// thread is what is kept of a session's place on a platform.
type thread struct {
	ID       bridge.ThreadID `json:"id,omitempty"`    // empty: not open yet
	Steps    []string        `json:"steps,omitempty"` // of opening it
	Name     string          `json:"name,omitempty"`
	Card     bool            `json:"card,omitempty"`     // the card has been shown
	CardOf   string          `json:"cardOf,omitempty"`   // the message that carries the card; empty: it stands alone
	CardSide side            `json:"cardSide,omitempty"` // whose that is
	CardSum  string          `json:"cardSum,omitempty"`  // of what the card shows
	Identity string          `json:"identity,omitempty"` // who the visitor is, as it was last shown
	Shut     bool            `json:"shut,omitempty"`     // we have closed it
	Lost     int             `json:"lost,omitempty"`     // how many there were before it
	GoneAt   time.Time       `json:"goneAt,omitzero"`    // when the one before it went
	Gone     []time.Time     `json:"gone,omitempty"`     // when those before it went, within the hour before the last
	Flat     bool            `json:"flat,omitempty"`     // there is none: the session is shown in the main place
}

// goneWithin returns when the session's threads went within the last hour.
func (t *thread) goneWithin(now time.Time) []time.Time {
	gone := t.Gone
	if len(gone) == 0 && !t.GoneAt.IsZero() { // of a version that kept the last time alone
		gone = []time.Time{t.GoneAt}
	}
	return slices.DeleteFunc(slices.Clone(gone), func(at time.Time) bool { return now.Sub(at) >= goneAgain })
}

// shown is what a message became on a platform, and what is needed to show it anew. A card that stands alone is kept in the
// same way, under no message's name.
type shown struct {
	IDs    []bridge.MessageID `json:"ids"`             // of its text, part by part
	Files  []bridge.MessageID `json:"files,omitempty"` // of its files
	Edited time.Time          `json:"edited,omitzero"` // of the edit that is shown
	// EditSeq is the edit that is shown: of two with one time the later accepted wins. 0: none, or a version before kept none.
	EditSeq bridge.Seq          `json:"editSeq,omitempty"`
	Gone    bool                `json:"gone,omitempty"`   // it was deleted
	Author  string              `json:"author,omitempty"` // empty: the visitor
	Card    bool                `json:"card,omitempty"`   // its first part carries the card
	Links   []bridge.Attachment `json:"links,omitempty"`
	Quote   *bridge.Quote       `json:"quote,omitempty"`
	More    string              `json:"more,omitempty"` // the line that names files that were not fetched
	// Refiled says that an edit has given it other files.
	Refiled bool        `json:"refiled,omitempty"`
	Text    string      `json:"text,omitempty"` // whole where it carries the card, its beginning where the platform quotes
	Sign    bridge.Sign `json:"sign,omitempty"` // that it carries
}

// origin is what a platform's message is.
type origin struct {
	Session string `json:"session"`
	Message string `json:"message"`
	Side    side   `json:"side,omitempty"` // of the message
}

// threads is where a platform's lane delivers to.
type threads struct {
	platform bridge.Platform
	name     string
	lane     *lane
	store    Store
	open     OpenThread
	// platforms are all that are configured, by name.
	platforms map[string]bridge.Platform
	files     Files // nil, or without a depot: files are shown as links
	depot     Depot
	incidents *incidents
	max       bridge.Limits
	fetchMost int64 // bytes of a file that any of the platforms takes

	mu     sync.Mutex
	known  map[string]*thread // what the rows say; only the lane's owner writes them
	older  map[string]*thread // known before the last turn, and not used since
	closed map[string]bool    // sessions whose thread has to be reopened first
}

// A platform has one target.
var onlyTarget = []string{""}

// knownThreads is how many threads are kept in memory, twice at most.
const knownThreads = 5000

func newThreads(p bridge.Platform, l *lane, o Options) *threads {
	d := &threads{
		platform: p, name: p.Name(), lane: l, store: o.Store, open: o.OpenThread, platforms: map[string]bridge.Platform{},
		files: o.Files, depot: o.Depot, max: p.Limits(), known: map[string]*thread{}, closed: map[string]bool{},
		incidents: newIncidents(l, func() []place { return mainPlaces(o.Platforms) }, l.log),
	}
	for _, other := range o.Platforms {
		d.platforms[other.Name()] = other
		if _, takes := other.(bridge.Uploader); takes {
			d.fetchMost = max(d.fetchMost, other.Limits().MaxFile)
		}
	}
	return d
}

func (d *threads) limits() bridge.Limits { return d.max }

func (d *threads) load(ctx context.Context) error {
	d.mu.Lock()
	d.known, d.older, d.closed = map[string]*thread{}, nil, map[string]bool{}
	d.mu.Unlock()
	if err := d.incidents.load(ctx, d.store); err != nil {
		return err
	}
	to, err := d.store.Get(ctx, tableMoves, d.name)
	if err != nil || to == nil {
		return err
	}
	if m, ok := d.platform.(bridge.Mover); ok {
		return m.Move(string(to))
	}
	return nil
}

func (d *threads) unwritten() []bridge.Row  { return nil }
func (d *threads) written([]bridge.Row)     {}
func (d *threads) targets(*item) []string   { return onlyTarget }
func (d *threads) waits(*item) bool         { return true }
func (d *threads) changed() <-chan struct{} { return nil }
func (d *threads) served() bool             { return true }

// lastOnly implements destination: a session is announced with every page that its visitor looks at.
func (d *threads) lastOnly(t bridge.Type) bool { return t == bridge.TypeNewSession }

// tidy is called at times that lie far closer together than a session has to be silent to be forgotten: what was not used
// between two of them is read again when it is needed.
func (d *threads) tidy(time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn()
	clear(d.closed) // a thread that is closed still will say so once more
}

// turn makes room for what is used now. Called under the lock.
func (d *threads) turn() { d.known, d.older = map[string]*thread{}, d.known }

func (d *threads) kind(e bridge.Entry) bridge.Kind {
	ev := e.Event
	switch ev.Type {
	case bridge.TypeVisitorMessage:
		if bySystem(ev.Body) {
			return bridge.KindNotice
		}
		return bridge.KindWord
	case typeLate:
		if isLateOf(d.name, ev) {
			return bridge.KindWord
		}
	case bridge.TypeOperatorMessage:
		if ev.Origin == d.name || ev.Origin == bridge.OriginApp && d.cameFromChat(e) {
			return bridge.KindNone
		}
		return bridge.KindWord
	case bridge.TypeAnswer:
		return d.addressed(e)
	case bridge.TypeSessionClosed, bridge.TypeSessionReopened:
		return bridge.KindNotice
	case bridge.TypeReached:
		if _, can := d.platform.(bridge.Reactor); can && ev.Origin == d.name {
			return bridge.KindNotice
		}
	case bridge.TypeMessageRead:
		if _, can := d.platform.(bridge.Reactor); can && ev.Origin == bridge.OriginApp && len(d.ours(e)) > 0 {
			return bridge.KindNotice
		}
	case bridge.TypeOperatorEdited, bridge.TypeOperatorDeleted:
		if ev.Origin != d.name || d.max.Quotes {
			return bridge.KindNotice
		}
	case bridge.TypeNewSession, bridge.TypeIdentityUpdate, bridge.TypeCustomEvent, bridge.TypeAITakeover,
		bridge.TypeCSATSubmitted, bridge.TypeVisitorDisconnect, bridge.TypeVisitorEdited, bridge.TypeVisitorDeleted:
		if ev.Origin == bridge.OriginApp {
			return bridge.KindNotice
		}
	}
	return bridge.KindNone
}

// cameFromChat says whether an operator's message from the app came from one of our platforms in the first place: then the
// others have been shown it already.
func (d *threads) cameFromChat(e bridge.Entry) bool {
	var body struct {
		SourceBridge string `json:"sourceBridge"`
	}
	return json.Unmarshal(e.Event.Body, &body) == nil && d.platforms[body.SourceBridge] != nil
}

// attempt takes the next step towards the event being shown.
func (d *threads) attempt(ctx context.Context, it *item, _ string, e bridge.Entry) (result, error) {
	it.opening, it.decked = false, false
	w, err := read(e)
	if err != nil {
		return result{}, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: "read", Detail: err.Error()}
	}
	if w.answer != nil && w.answer.Session != "" {
		return d.address(ctx, it, e, w)
	}
	if w.answer != nil {
		return d.answer(ctx, it, e, w)
	}
	if w.late != nil {
		if res, over, err := d.lateFirst(ctx, it, e, w); over || err != nil {
			return res, err
		}
	}
	if w.refers != "" && !it.placed {
		if res, wait, err := d.awaits(ctx, e, w.refers); wait || err != nil {
			return res, err
		}
	}
	t, err := d.thread(ctx, e.Event.Session)
	if err != nil {
		return result{}, err
	}
	gone := false
	if it.now != nil && w.message.id != "" {
		w.edited, w.edit = it.now.At, bridge.SeqAt(it.now.At)
	}
	if it.kind == bridge.KindWord && w.message.id != "" {
		if gone, err = d.update(ctx, it, e, &w); err != nil {
			return result{}, err
		}
	}
	switch {
	case gone:
		d.dropFiles(e, w, nil)
		return result{done: true, idle: true, note: "it was deleted before it could be shown"}, nil
	case t.ID == "" && it.kind != bridge.KindWord && !w.announces:
		return result{done: true, idle: true, batch: d.keepSession(e, w)}, nil // a notice for a session that has no thread
	case t.ID == "" && w.announces && !d.opensNow(it):
		return result{done: true, idle: true, batch: d.keepSession(e, w)}, nil
	case t.ID == "":
		return d.openStep(ctx, it, e, t, w)
	case t.Shut || d.isClosed(e.Event.Session):
		return d.reopen(ctx, it, e, t, w)
	case w.closes:
		return d.end(ctx, it, e, t, w)
	case w.reopens && w.text == "":
		return result{done: true, idle: true}, nil
	case w.changes.id != "":
		return d.change(ctx, it, e, t, w)
	case w.signs:
		return d.sign(ctx, e, t, w)
	}
	if w.tells {
		if res, called, err := d.retell(ctx, e, t, w); called || err != nil {
			return res, err
		}
	}
	if w.text == "" && len(w.files) == 0 && it.kind == bridge.KindNotice && (t.Card || d.opensWithCard()) {
		return result{done: true, idle: true, batch: d.keepSession(e, w)}, nil // the thread's name and card tell it
	}
	return d.send(ctx, it, e, t, w, "")
}

// awaits looks for what an event refers to. wait says that the event cannot be shown now: it is parked, or has nothing to
// refer to and is dropped.
func (d *threads) awaits(ctx context.Context, e bridge.Entry, claim string) (res result, wait bool, err error) {
	now, err := d.store.Now(ctx) // before the claim is read: what is accepted in time is then seen
	if err != nil {
		return result{}, false, err
	}
	seqs, err := d.store.Claimed(ctx, e.Event.Session, claim)
	if err != nil {
		return result{}, false, err
	}
	latest := e.Seq.Time().Add(orphanWindow)
	switch seq := seqs[0]; {
	case seq != 0 && seq < e.Seq:
		return result{}, false, nil
	case seq != 0 && !seq.Time().After(latest):
		return result{idle: true, park: &parking{claim: claim, seq: seq, atMost: orphanWindow}}, true, nil
	case seq == 0 && !now.After(latest):
		return result{idle: true, park: &parking{claim: claim, atMost: latest.Sub(now) + time.Millisecond}}, true, nil
	default:
		return result{done: true, idle: true, stray: true, note: "orphan: what it refers to was not accepted within a minute"}, true, nil
	}
}

// opensNow says whether an announcement opens the thread, or leaves it to the first message.
func (d *threads) opensNow(it *item) bool {
	switch d.open {
	case OpenOnSession:
		return !d.lane.leftUnheard(it)
	case OpenOnMessage:
		return false
	default:
		return !d.lane.leftUnheard(it) && d.lane.room()
	}
}

// openStep takes the next step of opening the session's thread.
func (d *threads) openStep(ctx context.Context, it *item, e bridge.Entry, t *thread, w wish) (result, error) {
	if ok, until := d.lane.mayCall(it, opOpenThread); !ok {
		return result{idle: true, blocked: opOpenThread, until: until}, nil
	}
	s, err := d.sessionOf(ctx, e, w)
	if err != nil {
		return result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	it.opening = true
	id, step, err := d.platform.OpenThread(ctx, bareSession(s, it.bare), bridge.Opening{
		Done: t.Steps, Key: s.ID + "/" + strconv.Itoa(t.Lost) + "/" + strconv.Itoa(len(t.Steps)), Since: it.since,
	})
	if err != nil {
		return result{op: opOpenThread}, err
	}
	next := *t
	var b bridge.Batch
	if id == "" {
		next.Steps = append(next.Steps[:len(next.Steps):len(next.Steps)], step)
	} else {
		next.ID, next.Steps, next.Card, next.CardOf, next.CardSide = id, nil, d.opensWithCard(), "", ""
		next.CardSum = cardSum(s)
		if r, ok := d.platform.(bridge.ThreadRenamer); ok {
			next.Name = r.ThreadName(s)
		}
		next.Identity = identityOf(s)
		it.bare = 0 // what comes next is embellished in other ways
		if b, err = d.keepFirst(ctx, e, w); err != nil {
			return result{}, err
		}
		b.Rows = append(b.Rows, bridge.Row{
			Table: tablePlaces + d.name, Key: string(id), Value: []byte(e.Event.Session), Session: e.Event.Session,
		})
		if w.announces {
			b.Rows = append(b.Rows, announced(e.Event.Session, e.Seq.Time()))
		}
	}
	b.Rows = append(b.Rows, d.keep(e.Event.Session, &next))
	return result{op: opOpenThread, batch: b}, nil
}

// barest is the last form of a new thread's name and card.
const barest = 2

// bareSession is a session as a new thread shows it: whole, by its visitor's id alone where the platform refused the name or the
// card, or as somebody where it refused that too.
func bareSession(s *bridge.Session, bare uint8) *bridge.Session {
	switch bare {
	case 0:
		return s
	case 1:
		return &bridge.Session{ID: s.ID, VisitorID: s.VisitorID}
	default:
		return &bridge.Session{ID: s.ID, VisitorID: "Visitor"}
	}
}

// opensWithCard says whether the platform shows the card while it opens a thread.
func (d *threads) opensWithCard() bool {
	_, ok := d.platform.(bridge.CardEditor)
	return ok
}

func (d *threads) isClosed(session string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed[session]
}

func (d *threads) buried(e bridge.Entry, cause *bridge.DeliveryError) []bridge.Event {
	if w, err := read(e); err == nil {
		d.dropFiles(e, w, nil)
		if w.late != nil {
			return d.lateBuried(e, w, cause)
		}
	}
	if e.Event.Type != bridge.TypeVisitorMessage {
		return nil
	}
	return []bridge.Event{
		d.receipt(e, bridge.TypeMessageFailed, string(cause.Reason)+": "+cause.Detail),
		everywhere(e.Event.Session, "⚠️ A message of the visitor's is not shown on "+title(d.name)+" ("+cause.Detail+
			"). Read it in the app; whoever runs the bridge can send it again from the dead letters."),
	}
}

func (d *threads) circumstance(ctx context.Context, it *item, c *circumstance) {
	c.plain = it.markup && !it.plain
	c.failures = max(c.failures, int(it.reopened)+1)
	c.opening = it.opening
	c.bare = it.opening && it.bare < barest || it.decked && it.bare == 0
	now := time.Now()
	t, err := d.thread(ctx, it.session)
	if err != nil {
		return
	}
	c.flat = it.kind == bridge.KindWord && !t.Flat && d.flatThread(it.session) != ""
	gone := t.goneWithin(now)
	if c.gone = len(gone) + 1; c.gone >= goneAtMost {
		at := now
		if len(gone) >= goneAtMost-1 {
			at = gone[len(gone)-(goneAtMost-1)]
		}
		c.opensIn = goneAgain - now.Sub(at)
	}
}

// flatThread returns where a session is shown that goes without a thread; nothing where there is no such place.
func (d *threads) flatThread(session string) bridge.ThreadID {
	if f, ok := d.platform.(bridge.FlatPlace); ok {
		return f.FlatThread(session)
	}
	return ""
}

func (d *threads) react(ctx context.Context, o outcome, cause *bridge.DeliveryError, it *item, e bridge.Entry) (bridge.Batch, bool, error) {
	session := e.Event.Session
	word := it.kind == bridge.KindWord && e.Event.Type != bridge.TypeAnswer
	switch o.act {
	case actForget:
		if e.Event.Type == bridge.TypeAnswer {
			return bridge.Batch{}, true, nil
		}
		t, err := d.thread(ctx, session)
		if err != nil {
			return bridge.Batch{}, false, err
		}
		d.mu.Lock()
		delete(d.closed, session)
		d.mu.Unlock()
		return bridge.Batch{Rows: d.forget(session, e, t, &thread{})}, !word, nil
	case actFlat:
		t, err := d.thread(ctx, session)
		if err != nil {
			return bridge.Batch{}, false, err
		}
		d.mu.Lock()
		delete(d.closed, session)
		d.mu.Unlock()
		it.bare = 0
		d.incidents.flat(cause)
		return bridge.Batch{Rows: d.forget(session, e, t, &thread{ID: d.flatThread(session), Flat: true})}, false, nil
	case actReopen:
		if e.Event.Type == bridge.TypeAnswer && it.kind == bridge.KindWord && it.reopened == 0 {
			it.shut = true
			return bridge.Batch{}, false, nil
		}
		if word {
			d.mu.Lock()
			d.closed[session] = true
			d.mu.Unlock()
		}
		return bridge.Batch{}, !word, nil
	case actFollow:
		m, ok := d.platform.(bridge.Mover)
		if !ok {
			return bridge.Batch{}, false, errors.New("the platform cannot follow a move")
		}
		if err := m.Move(cause.MovedTo); err != nil {
			return bridge.Batch{}, false, err
		}
		return bridge.Batch{Rows: []bridge.Row{{Table: tableMoves, Key: d.name, Value: []byte(cause.MovedTo)}}}, false, nil
	default:
		return bridge.Batch{}, false, fmt.Errorf("no reaction to %s", o)
	}
}

// forget returns the rows by which another thread takes the place of a session's, which is gone or never came to be.
func (d *threads) forget(session string, e bridge.Entry, t, next *thread) []bridge.Row {
	now := time.Now().UTC()
	next.GoneAt, next.Gone, next.Lost = now, append(t.goneWithin(now), now), t.Lost+1
	rows := []bridge.Row{d.keep(session, next), {Table: tableProgress + d.name, Key: e.Seq.String()}}
	if t.ID != "" {
		rows = append(rows, bridge.Row{Table: tablePlaces + d.name, Key: string(t.ID)})
	}
	return rows
}

// sessionOf returns the session that the event carries, else the one last told, else one of which only the id is known.
func (d *threads) sessionOf(ctx context.Context, e bridge.Entry, w wish) (*bridge.Session, error) {
	if w.session != nil {
		return w.session, nil
	}
	s := &bridge.Session{ID: e.Event.Session, VisitorID: e.Event.Session}
	if e.Event.Session == "" {
		return s, nil
	}
	value, err := d.store.Get(ctx, tableSessions, e.Event.Session)
	if err != nil || value == nil {
		return s, err
	}
	return s, json.Unmarshal(value, s)
}

// keepSession returns the row of a session that was told anew.
func (d *threads) keepSession(e bridge.Entry, w wish) bridge.Batch {
	if w.session == nil || !w.tells {
		return bridge.Batch{}
	}
	return bridge.Batch{Rows: []bridge.Row{{
		Table: tableSessions, Key: e.Event.Session, Value: mustJSON(w.session), Session: e.Event.Session,
	}}}
}

// thread returns what is kept of a session's thread.
func (d *threads) thread(ctx context.Context, session string) (*thread, error) {
	d.mu.Lock()
	t := d.known[session]
	if t == nil {
		if t = d.older[session]; t != nil {
			d.remember(session, t)
		}
	}
	d.mu.Unlock()
	if t != nil {
		return t, nil
	}
	value, err := d.store.Get(ctx, tableThreads+d.name, session)
	if err != nil {
		return nil, err
	}
	t = &thread{}
	if value != nil {
		if err := json.Unmarshal(value, t); err != nil {
			return nil, fmt.Errorf("row %s%s of session %s: %w", tableThreads, d.name, session, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remember(session, t)
	return t, nil
}

// keep remembers a thread and returns its row. The row is written before the session's next step, or the lane is given up.
func (d *threads) keep(session string, t *thread) bridge.Row {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remember(session, t)
	return bridge.Row{Table: tableThreads + d.name, Key: session, Value: mustJSON(t), Session: session}
}

// remember is called under the lock.
func (d *threads) remember(session string, t *thread) {
	if len(d.known) >= knownThreads {
		d.turn()
	}
	d.known[session] = t
}
