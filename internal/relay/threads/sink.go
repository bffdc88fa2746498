// Package threads is a platform as a sink: what an event wants shown (intent), in which thread, as which parts, one call at a time, and
// what is shown already: edits, deletions, cards, files, signs. It knows what a platform can do by its interfaces, and no platform's API.
package threads

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/incident"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/words"
)

// The tables of a platform; the platform's name follows the slash.
const (
	tableProgress = "progress/" // event id → progress, of an event of several parts
	tableMoves    = "moves"     // platform → where its chat went
)

// Store is what threads need of the store.
type Store interface {
	msgmap.Store
	List(ctx context.Context, table, after string, max int) ([]bridge.Row, error)
}

// Entries reads single events of the log; ok is false for one that is not there any more.
type Entries interface {
	Entry(ctx context.Context, seq bridge.Seq) (e bridge.Entry, ok bool, err error)
}

// OpenThread says when an announced session gets its thread.
type OpenThread string

const (
	OpenOnMessage OpenThread = "message" // with its first message
	OpenOnSession OpenThread = "session" // at once
	// OpenAuto is at once for visitors who say who they are, while the platform has room and openings take less than a tenth of its pace,
	// else with the first message.
	OpenAuto OpenThread = "auto"
)

// Options is what a platform's sink is made of.
type Options struct {
	Platform  bridge.Platform
	Platforms []bridge.Platform // all that are configured
	Store     Store
	Entries   Entries
	Open      OpenThread // empty: OpenOnMessage
	Files     Files      // nil, or without a depot: files are shown as links
	Depot     Depot
	FilesIn   time.Duration // how long a text waits for its files; 0: filesIn
	// Suspects says whether an announced session is likely a program's, whose thread is opened by its first message; nil: none is.
	Suspects func(bridge.Event) bool
	Callees  Callees                 // nil: a visitor's word calls nobody
	Hide     *bridge.Hidden          // fields of visitors that are not shown; nil: none
	Places   func() []incident.Place // where operators are told what is of no session
	// Buttons are those under a card, row by row; nil: none.
	Buttons func(ctx context.Context) ([][]bridge.Button, error)
	State   State // nil: cards do not show how sessions stand
	// Clock shows a moment as operators are told of it; nil: in UTC.
	Clock func(t, now time.Time) string
	Log   *slog.Logger // the lane's
}

// Sink is where a platform's lane delivers to.
type Sink struct {
	kinds
	platform bridge.Platform
	log      *slog.Logger
	entries  Entries
	store    Store
	messages msgmap.Map
	open     OpenThread
	filesIn  time.Duration
	suspects func(bridge.Event) bool
	hide     *bridge.Hidden
	// sources are where operators' files come from, by the platforms' names.
	sources   map[string]bridge.Platform
	files     Files // nil, or without a depot: files are shown as links
	depot     Depot
	callees   Callees // nil: nobody is called
	buttons   func(ctx context.Context) ([][]bridge.Button, error)
	incidents *incidents
	max       bridge.Limits
	fetchMost int64 // bytes of a file that any of the platforms takes

	mu     sync.Mutex
	known  map[string]*msgmap.Thread // what the rows say; only the lane's owner writes them
	older  map[string]*msgmap.Thread // known before the last turn, and not used since
	closed map[string]bool           // sessions whose thread has to be reopened first
	// singles are sessions some of whose words go alone, since the platform refused them together: up to which.
	singles map[string]bridge.Seq
	clocks  func(t, now time.Time) string

	board board
	state State // nil: cards do not show how sessions stand
	cards cardStates
	// announced are the last threads that were opened without a message.
	announced []time.Time
}

// New returns the sink of a platform.
func New(o Options) *Sink {
	p := o.Platform
	_, reacts := p.(bridge.Reactor)
	d := &Sink{
		kinds:    kinds{name: p.Name(), reacts: reacts, quotes: p.Limits().Quotes},
		platform: p, log: o.Log, entries: o.Entries, store: o.Store, messages: msgmap.Of(p.Name(), o.Store), open: o.Open, suspects: o.Suspects, hide: o.Hide,
		sources: map[string]bridge.Platform{}, files: o.Files, depot: o.Depot, callees: o.Callees, buttons: o.Buttons, state: o.State, max: p.Limits(), known: map[string]*msgmap.Thread{},
		closed: map[string]bool{}, singles: map[string]bridge.Seq{}, clocks: o.Clock, incidents: newIncidents(p.Name(), o.Places, o.Log),
	}
	if o.Files != nil {
		d.files = wholes{o.Files}
	}
	if d.filesIn = o.FilesIn; d.filesIn == 0 {
		d.filesIn = filesIn
	}
	for _, other := range o.Platforms {
		d.sources[other.Name()] = other
		d.platforms = append(d.platforms, other.Name())
		if _, takes := other.(bridge.Uploader); takes {
			d.fetchMost = max(d.fetchMost, other.Limits().MaxFile)
		}
	}
	return d
}

// knownThreads is how many threads are kept in memory, twice at most.
const knownThreads = 5000

func (d *Sink) Limits() bridge.Limits { return d.max }

func (d *Sink) Load(ctx context.Context) error {
	d.mu.Lock()
	d.known, d.older, d.closed = map[string]*msgmap.Thread{}, nil, map[string]bool{}
	d.mu.Unlock()
	if err := d.incidents.load(ctx, d.store); err != nil {
		return err
	}
	if err := d.loadBoard(ctx); err != nil {
		return err
	}
	if err := d.loadCards(ctx); err != nil {
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

// Tidy implements engine.Tidier. It is called at times that lie far closer together than a session has to be silent to be forgotten: what was not used
// between two of them is read again when it is needed.
func (d *Sink) Tidy(time.Time, func(string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.makeRoom()
	clear(d.singles)
	clear(d.closed) // a thread that is closed still will say so once more
}

// makeRoom makes room for what is used now. Called under the lock.
func (d *Sink) makeRoom() { d.known, d.older = map[string]*msgmap.Thread{}, d.known }

// Attempt implements engine.Sink: it takes the next step towards the event being shown.
func (d *Sink) Attempt(ctx context.Context, a engine.Delivery, peek engine.Peek) (engine.Result, error) {
	it := &attempt{Delivery: a, memory: remembered(a), peek: peek}
	it.opening, it.decorated = false, false
	var err error
	it.want, err = decodeIntent(bridge.Entry{Seq: it.Entry.Seq, Event: d.hide.Event(it.Entry.Event)})
	if err != nil {
		return engine.Result{}, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: "read", Detail: err.Error()}
	}
	if it.want.answer != nil && it.want.answer.Session != "" {
		return d.address(ctx, it)
	}
	if it.want.answer != nil {
		return d.answer(ctx, it)
	}
	if it.want.late != nil {
		if res, over, err := d.lateFirst(ctx, it); over || err != nil {
			return res, err
		}
	}
	if it.want.refers != "" && !it.Ordered {
		if res, wait, err := d.awaits(ctx, it.Entry, it.want.refers); wait || err != nil {
			return res, err
		}
	}
	it.thread, err = d.thread(ctx, it.Entry.Event.Session)
	if err != nil {
		return engine.Result{}, err
	}
	gone := false
	if !it.Edited.IsZero() && it.want.message.ID != "" {
		it.want.edited, it.want.edit = it.Edited, bridge.SeqAt(it.Edited)
	}
	if it.Kind == bridge.KindMessage && it.want.message.ID != "" {
		if gone, err = d.update(ctx, it); err != nil {
			return engine.Result{}, err
		}
	}
	switch {
	case gone:
		d.dropFiles(it.Entry, it.want, nil)
		forgotten := bridge.Batch{Rows: []bridge.Row{d.progressRow(it.Entry, nil)}}
		return engine.Result{Done: true, Idle: true, Batch: forgotten, Note: "it was deleted before it could be shown"}, nil
	case it.thread.ID == "" && it.Kind != bridge.KindMessage && !it.want.announces:
		return engine.Result{Done: true, Idle: true, Batch: d.keepSession(it.Entry, it.want)}, nil // a notice for a session that has no thread
	case it.thread.ID == "" && it.want.announces && !d.opensNow(it):
		return engine.Result{Done: true, Idle: true, Batch: d.keepSession(it.Entry, it.want)}, nil
	case it.thread.ID == "":
		return d.openStep(ctx, it)
	case it.thread.Closed || d.isClosed(it.Entry.Event.Session):
		return d.reopenThread(ctx, it)
	case it.want.closes:
		return d.endConversation(ctx, it)
	case it.want.reopens && it.want.text == "":
		return engine.Result{Done: true, Idle: true}, nil
	case it.want.changes.ID != "":
		return d.change(ctx, it)
	case it.want.signs:
		return d.sign(ctx, it)
	}
	if it.want.tells {
		if res, called, err := d.retell(ctx, it); called || err != nil {
			return res, err
		}
	}
	if it.want.text == "" && len(it.want.files) == 0 && it.Kind == bridge.KindNotice && (it.thread.Card || d.opensWithCard()) {
		return engine.Result{Done: true, Idle: true, Batch: d.keepSession(it.Entry, it.want)}, nil // the thread's name and card tell it
	}
	return d.send(ctx, it, "")
}

// orphanWindow is within which time what an event refers to must be accepted.
const orphanWindow = time.Minute

// awaits looks for what an event refers to. wait says that the event cannot be shown now: it is deferred, or has nothing to
// refer to and is dropped.
func (d *Sink) awaits(ctx context.Context, e bridge.Entry, key string) (res engine.Result, wait bool, err error) {
	now, err := d.store.Now(ctx) // before the key is read: what is accepted in time is then seen
	if err != nil {
		return engine.Result{}, false, err
	}
	seqs, err := d.store.Claimed(ctx, e.Event.Session, key)
	if err != nil {
		return engine.Result{}, false, err
	}
	latest := e.Seq.Time().Add(orphanWindow)
	switch seq := seqs[0]; {
	case seq != 0 && seq < e.Seq:
		return engine.Result{}, false, nil
	case seq != 0 && !seq.Time().After(latest):
		return engine.Result{Idle: true, Defer: &engine.Deferral{Key: key, Seq: seq, AtMost: orphanWindow}}, true, nil
	case seq == 0 && !now.After(latest):
		return engine.Result{Idle: true, Defer: &engine.Deferral{Key: key, AtMost: latest.Sub(now) + time.Millisecond}}, true, nil
	default:
		return engine.Result{Done: true, Idle: true, Orphan: true, Note: "orphan: what it refers to was not accepted within a minute"}, true, nil
	}
}

// opensNow says whether an announcement opens the thread, or leaves it to the first message.
func (d *Sink) opensNow(it *attempt) bool {
	if d.suspects != nil && d.suspects(it.Entry.Event) {
		return false
	}
	switch d.open {
	case OpenOnSession:
		return !it.peek.LeftUnheard()
	case OpenAuto:
		return !it.peek.LeftUnheard() && identityOf(it.want.session) != "" && it.peek.Room() && d.mayAnnounce(time.Now())
	default:
		return false
	}
}

// announcedPart of a platform's pace is for threads that no message has opened: a tenth.
const announcedPart = 10

// mayAnnounce says whether one more thread may be opened without a message, and counts it.
func (d *Sink) mayAnnounce(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.announced = slices.DeleteFunc(d.announced, func(at time.Time) bool { return now.Sub(at) >= time.Minute })
	for _, p := range d.max.Pace {
		if perMinute := float64(p.Calls) / p.Per.Minutes(); p.Per >= time.Minute && float64(len(d.announced)+1) > max(perMinute/announcedPart, 1) {
			return false
		}
	}
	d.announced = append(d.announced, now)
	return true
}

// openStep takes the next step of opening the session's thread.
func (d *Sink) openStep(ctx context.Context, it *attempt) (engine.Result, error) {
	if ok, until := it.peek.MayCall(engine.OpOpenThread); !ok {
		return engine.Result{Idle: true, Blocked: engine.OpOpenThread, Until: until}, nil
	}
	s, err := d.sessionOf(ctx, it.Entry, it.want)
	if err != nil {
		return engine.Result{}, err
	}
	first, err := d.keepFirst(ctx, it) // read before the call: what is opened is recorded, whatever becomes of the store
	if err != nil {
		return engine.Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, engine.CallTimeout)
	defer cancel()
	it.opening = true
	id, step, err := d.platform.OpenThread(ctx, plainerSession(s, it.decorationsDropped), bridge.Opening{
		Done: it.thread.Steps, Key: s.ID + "/" + strconv.Itoa(it.thread.Lost) + "/" + strconv.Itoa(len(it.thread.Steps)), Since: it.PossiblySent,
		Buttons: d.cardButtons(ctx),
	})
	if err != nil {
		return engine.Result{Op: engine.OpOpenThread}, err
	}
	next := *it.thread
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
		it.decorationsDropped = 0 // what comes next is embellished in other ways
		b = first
		b.Rows = append(b.Rows, d.messages.PlaceRow(id, it.Entry.Event.Session))
		if next.Lost > 0 && d.opensWithCard() { // the card of the lost one showed more
			b.Rows = append(b.Rows, d.cardRow(s.ID, cardShown{Of: next.CardSum}))
			d.cards.mark(s.ID, false)
		}
		if it.want.announces {
			b.Rows = append(b.Rows, msgmap.SilenceRow(it.Entry.Event.Session, it.Entry.Seq.Time()))
		}
	}
	b.Rows = append(b.Rows, d.keepThread(it.Entry.Event.Session, &next))
	return engine.Result{Op: engine.OpOpenThread, Batch: b, Next: true}, nil
}

// decorationsMost is the last form of a new thread's name and card.
const decorationsMost = 2

// plainerSession is a session as a new thread shows it: whole, by its visitor's id alone where the platform refused the name or the
// card, or as somebody where it refused that too.
func plainerSession(s *bridge.Session, bare uint8) *bridge.Session {
	switch bare {
	case 0:
		return s
	case 1:
		return &bridge.Session{ID: s.ID, VisitorID: s.VisitorID}
	default:
		return &bridge.Session{ID: s.ID, VisitorID: words.Get().Visitor}
	}
}

// opensWithCard says whether the platform shows the card while it opens a thread.
func (d *Sink) opensWithCard() bool {
	_, ok := d.platform.(bridge.CardEditor)
	return ok
}

func (d *Sink) isClosed(session string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed[session]
}

// flatThread returns where a session is shown that goes without a thread; nothing where there is no such place.
func (d *Sink) flatThread(session string) bridge.ThreadID {
	if f, ok := d.platform.(bridge.FlatPlace); ok {
		return f.FlatThread(session)
	}
	return ""
}

// forget returns the rows by which another thread takes the place of a session's, which is gone or never came to be.
func (d *Sink) forget(ctx context.Context, e bridge.Entry, next *msgmap.Thread) (bridge.Batch, error) {
	session := e.Event.Session
	t, err := d.thread(ctx, session)
	if err != nil {
		return bridge.Batch{}, err
	}
	d.mu.Lock()
	delete(d.closed, session)
	d.mu.Unlock()
	now := time.Now().UTC()
	next.GoneAt, next.Gone, next.Lost = now, append(t.GoneWithin(engine.GoneAgain, now), now), t.Lost+1
	rows := []bridge.Row{d.keepThread(session, next), {Table: tableProgress + d.name, Key: e.Seq.String()}}
	if t.ID != "" {
		rows = append(rows, d.messages.NoPlace(t.ID))
	}
	return bridge.Batch{Rows: rows}, nil
}

// sessionOf returns the session that the event carries, else the one last told, else one of which only the id is known.
func (d *Sink) sessionOf(ctx context.Context, e bridge.Entry, w intent) (*bridge.Session, error) {
	if w.session != nil {
		return w.session, nil
	}
	s, _, err := msgmap.Session(ctx, d.store, e.Event.Session)
	return d.hide.Session(s), err
}

// keepSession returns the row of a session that was told anew.
func (d *Sink) keepSession(e bridge.Entry, w intent) bridge.Batch {
	if w.session == nil || !w.tells {
		return bridge.Batch{}
	}
	return bridge.Batch{Rows: []bridge.Row{msgmap.SessionRow(e.Event.Session, w.session)}}
}

// thread returns what is kept of a session's thread.
func (d *Sink) thread(ctx context.Context, session string) (*msgmap.Thread, error) {
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
	read, err := d.messages.Thread(ctx, session)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remember(session, &read)
	return &read, nil
}

// keepThread remembers a thread and returns its row. The row is written before the session's next step, or the lane is given up.
func (d *Sink) keepThread(session string, t *msgmap.Thread) bridge.Row {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remember(session, t)
	return d.messages.ThreadRow(session, t)
}

// remember is called under the lock.
func (d *Sink) remember(session string, t *msgmap.Thread) {
	if len(d.known) >= knownThreads {
		d.makeRoom()
	}
	d.known[session] = t
}

// React implements engine.Recoverer.
func (d *Sink) React(
	ctx context.Context, act engine.Act, cause *bridge.DeliveryError, a engine.Delivery,
) (bridge.Batch, bool, error) {
	e, it := a.Entry, remembered(a)
	session := e.Event.Session
	word := a.Kind == bridge.KindMessage && e.Event.Type != bridge.TypeAnswer
	switch act {
	case engine.ActPlain:
		it.plain = true
		return bridge.Batch{}, false, nil
	case engine.ActUndecorated:
		if it.group != nil {
			return d.part(it, e), false, nil
		}
		it.decorationsDropped++
		return bridge.Batch{}, false, nil
	case engine.ActForget:
		if e.Event.Type == bridge.TypeAnswer {
			return bridge.Batch{}, true, nil
		}
		b, err := d.forget(ctx, e, &msgmap.Thread{})
		return b, !word, err
	case engine.ActFlat:
		b, err := d.forget(ctx, e, &msgmap.Thread{ID: d.flatThread(session), Flat: true})
		if err != nil {
			return b, false, err
		}
		it.decorationsDropped = 0
		d.incidents.flat(cause)
		return b, false, nil
	case engine.ActReopen:
		if e.Event.Type == bridge.TypeAnswer && a.Kind == bridge.KindMessage && it.reopened == 0 {
			it.closed = true
			return bridge.Batch{}, false, nil
		}
		if word {
			d.mu.Lock()
			d.closed[session] = true
			d.mu.Unlock()
		}
		return bridge.Batch{}, !word, nil
	case engine.ActFollow:
		m, ok := d.platform.(bridge.Mover)
		if !ok {
			return bridge.Batch{}, false, errors.New("the platform cannot follow a move")
		}
		if err := m.Move(cause.MovedTo); err != nil {
			return bridge.Batch{}, false, err
		}
		return bridge.Batch{Rows: []bridge.Row{{Table: tableMoves, Key: d.name, Value: []byte(cause.MovedTo)}}}, false, nil
	default:
		return bridge.Batch{}, false, fmt.Errorf("no reaction to %s", act)
	}
}

// GivenUp implements engine.Disposer.
func (d *Sink) GivenUp(e bridge.Entry, cause *bridge.DeliveryError) []bridge.Event {
	if w, err := decodeIntent(e); err == nil {
		d.dropFiles(e, w, nil)
	}
	return d.givenUp(e, cause)
}

// Report implements engine.Reporter.
func (d *Sink) Report(now time.Time, r engine.Refusals) engine.Notice {
	return d.incidents.notice(now, r)
}

// ShowsTyping says whether the platform can show that somebody types.
func (d *Sink) ShowsTyping() bool {
	_, can := d.platform.(bridge.Typer)
	return can
}

// ShowTyping shows in the session's thread that the visitor types, if there is one and the lane has a call to spare. Nothing waits
// for it; but a refusal for its pace is heeded.
func (d *Sink) ShowTyping(ctx context.Context, session string, l interface {
	Spare() bool
	HeedLimit(err error)
}) {
	t, err := d.thread(ctx, session)
	if err != nil || t.ID == "" || d.isClosed(session) || !l.Spare() {
		return
	}
	l.HeedLimit(d.platform.(bridge.Typer).ShowTyping(ctx, t.ID))
}
