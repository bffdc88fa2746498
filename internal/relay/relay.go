// Package relay is the bridge's only logic: it takes app servers' events and platforms' updates into the log, and carries
// every event along the lanes to where it is to be seen. It knows sessions, threads, order and verdicts; it knows no HTTP,
// no platform's API and no store's keys beyond the tables that it names itself.
package relay

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Store is what the relay needs of the store; package store says what each method promises.
type Store interface {
	Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error)
	Read(ctx context.Context, after bridge.Seq, max int, wait time.Duration) ([]bridge.Entry, error)
	Entry(ctx context.Context, seq bridge.Seq) (bridge.Entry, bool, error)
	Last(ctx context.Context) (bridge.Seq, error)
	Claimed(ctx context.Context, session string, keys ...string) ([]bridge.Seq, error)
	Get(ctx context.Context, table, key string) ([]byte, error)
	GetAll(ctx context.Context, table string, keys ...string) ([][]byte, error)
	List(ctx context.Context, table, after string, max int) ([]bridge.Row, error)
	Scan(ctx context.Context, table, place string, max int) (rows []bridge.Row, next string, err error)
	Count(ctx context.Context, table string) (int, error)
	Lane(ctx context.Context, name string) (bridge.LaneState, error)
	Lanes(ctx context.Context) ([]string, error)
	ForgetLane(ctx context.Context, name string, l bridge.Lease) error
	Trim(ctx context.Context, before bridge.Seq) error
	Forget(ctx context.Context, lastWordBefore bridge.Seq) (int, error)
	Acquire(ctx context.Context, l bridge.Lease, ttl time.Duration) (bool, error)
	Release(ctx context.Context, l bridge.Lease) error
	Now(ctx context.Context) (time.Time, error)
}

// Exclusive is implemented by a store that one process alone has open. What others append, and who holds a lease, need not be asked
// for all the time.
type Exclusive interface {
	Exclusive() bool
}

func exclusive(s Store) bool {
	e, ok := s.(Exclusive)
	return ok && e.Exclusive()
}

// smallTable is more rows than a table has of which there are a few for each operator or callback.
const smallTable = 100_000

// Presence is who is online. A change of it is written as the PresenceWrite says; its result and error are the commit's.
type Presence interface {
	// Set gives the person behind an account a status, until some time or, with a zero one, for good.
	Set(ctx context.Context, who bridge.Account, s bridge.Status, until time.Time, w bridge.PresenceWrite) (bridge.Result, error)
	// SetApp sets the status of the app's own operator.
	SetApp(ctx context.Context, online bool, w bridge.PresenceWrite) (bridge.Result, error)
	// Seen notes a sign of life; answers: by answering a visitor.
	Seen(ctx context.Context, who bridge.Account, answers bool, w bridge.PresenceWrite) (bridge.Result, error)
	// Retire makes a person away who is online and did not answer; key is their id, or an account's.
	Retire(ctx context.Context, key string, w bridge.PresenceWrite) (bridge.Result, error)
	// Rename gives a person the name that visitors see.
	Rename(ctx context.Context, who bridge.Account, name string, w bridge.PresenceWrite) (bridge.Result, error)
	// Begin begins to join a person's accounts, Join asks for it by the code that Begin has made, Confirm does it when who has begun
	// says so, Leave takes an account out.
	Begin(ctx context.Context, first bridge.LinkEnd, w bridge.PresenceWrite) (bridge.Result, error)
	Join(ctx context.Context, second bridge.LinkEnd, code string, w bridge.PresenceWrite) (bridge.Result, error)
	Confirm(ctx context.Context, who bridge.Account, w bridge.PresenceWrite) (bridge.Result, error)
	Leave(ctx context.Context, who bridge.Account, w bridge.PresenceWrite) (bridge.Result, error)

	// People returns all operators.
	People(ctx context.Context) ([]bridge.Person, error)
	// Online says whether anyone is. It does not wait.
	Online() bool
	// Status is the team as app servers are told of it. It does not wait.
	Status() bridge.OperatorStatus
	// Moment reads a duration or a time of day; ok is false for what is neither.
	Moment(ctx context.Context, text string) (until time.Time, ok bool, err error)
	// Clock shows a moment as operators read it.
	Clock(t, now time.Time) string
	// Summary says in a few lines who is online, since when and why.
	Summary(ctx context.Context) (string, error)
	// Observe is called with every event of the log, in order.
	Observe(e bridge.Entry)
}

// Receivers are the app servers' callbacks.
type Receivers interface {
	// Targets returns the ids of the callbacks that are to get the event now, of a session that is bound to one or to none.
	Targets(e bridge.Entry, bound string) []string
	// Registered says whether there is any callback.
	Registered() bool
	// Has says whether there is this one.
	Has(id string) bool
	// Post makes one attempt to deliver the event to one of them, within a time of its own.
	Post(ctx context.Context, target string, e bridge.Entry) error
	// Touch refreshes the callback that a request named, and says whether it is registered.
	Touch(ctx context.Context, id string) (bool, error)
	// Changed returns a channel that is closed when registrations have changed.
	Changed() <-chan struct{}
}

// OpenThread says when an announced session gets its thread.
type OpenThread string

const (
	OpenOnMessage OpenThread = "message" // with its first message
	OpenOnSession OpenThread = "session" // at once
	OpenAuto      OpenThread = "auto"    // at once while the platform has room, else with the first message
)

// Options is what a relay is made of.
type Options struct {
	Store      Store
	Presence   Presence
	Receivers  Receivers
	Webhook    Webhook // nil: no other program is told
	Platforms  []bridge.Platform
	OpenThread OpenThread
	// Retention is how long a session is kept after its last word, and a dead letter; a day at least. 0: everything is kept for
	// ever, the log too.
	Retention time.Duration
	Files     Files // nil: visitors' files are shown as links, and operators' do not reach them
	Depot     Depot // nil: all files are shown as links on the platforms
	// Operators are the accounts of those who may answer and command, as bridge.Account.Key names them; none: everybody in the
	// chats.
	Operators []string
	// Internal makes what operators write talk among themselves, unless it is /r text or a reply to the visitor's message.
	Internal bool
	// Unanswered is how long a visitor waits for an answer until operators are called, and again after twice that time; 0: they
	// are not. AnswerTimeout is how long until who should have answered is away; 0: they are not.
	Unanswered    time.Duration
	AnswerTimeout time.Duration
	// Transcripts has what is said in sessions kept with them; see transcript.go.
	Transcripts bool
	AutoClose   time.Duration // of silence, until a thread is closed; 0: it never is
	Meter       Meter         // nil: nothing is counted
	Log         *slog.Logger
}

// Relay carries events. It is made by New, set up by Start and works during Run; its other methods may be called from
// several goroutines in between.
type Relay struct {
	store    Store
	presence Presence
	recv     Receivers
	open     OpenThread
	kept     time.Duration // see Options.Retention
	files    Files
	meter    Meter
	log      *slog.Logger
	tail     *tail
	lanes    []*lane
	inboxes  []*inbox
	passing  *passing
	// operators are who may answer and command, nil: everybody; internal says that what they write is talk among themselves.
	operators []string
	internal  bool
	places    *places // nil: no transcripts are written
}

// The lanes that are not a platform's.
const (
	laneCallbacks = "callbacks"
	laneWebhook   = "webhook"
)

// New returns a relay that does nothing yet.
func New(o Options) *Relay {
	if o.Files != nil {
		o.Files = wholes{o.Files}
	}
	r := &Relay{
		store: o.Store, presence: o.Presence, recv: o.Receivers, open: o.OpenThread, kept: o.Retention, files: o.Files, meter: o.Meter,
		log:  o.Log,
		tail: newTail(o.Store, o.Log),
	}
	r.passing = newPassing(o.Log)
	r.operators, r.internal = o.Operators, o.Internal
	if o.Transcripts {
		r.places = &places{}
	}
	if r.open == "" {
		r.open = OpenAuto
	}
	if r.meter == nil {
		r.meter = unmetered{}
	}
	for _, p := range o.Platforms {
		l := newLane(p.Name(), r)
		l.use(newThreads(p, l, o))
		r.lanes = append(r.lanes, l)
		if listener, ok := p.(bridge.Listener); ok {
			in := &inbox{relay: r, lane: l, platform: p.Name(), chat: p}
			l.listen = func(ctx context.Context) { in.run(ctx, listener) }
			r.inboxes = append(r.inboxes, in)
		}
	}
	places := func() []place { return mainPlaces(o.Platforms) }
	callbacks := newLane(laneCallbacks, r)
	callbacks.toPrograms = true
	instances := newInstances(o.Receivers, o.Store, o.Retention, callbacks, newTroubles(laneCallbacks, places, callbacks.log))
	instances.team = o.Presence.Status
	callbacks.use(instances)
	follower := &watch{relay: r, lane: callbacks, unanswered: o.Unanswered, timeout: o.AnswerTimeout, autoClose: o.AutoClose}
	callbacks.listen = follower.run
	r.lanes = append(r.lanes, callbacks)
	if o.Webhook != nil {
		webhook := newLane(laneWebhook, r)
		webhook.toPrograms = true
		webhook.use(&hook{to: o.Webhook, store: o.Store, troubles: newTroubles(laneWebhook, places, webhook.log)})
		r.lanes = append(r.lanes, webhook)
	}
	r.tail.observer = r.presence.Observe
	r.tail.onLoss = func() {
		for _, l := range r.lanes {
			l.restate()
		}
	}
	return r
}

// mainPlaces returns where operators are told what is of no session. A platform's may change.
func mainPlaces(platforms []bridge.Platform) []place {
	var out []place
	for _, p := range platforms {
		if m, ok := p.(bridge.MainPlace); ok && m.MainThread() != "" {
			out = append(out, place{platform: p.Name(), thread: m.MainThread()})
		}
	}
	return out
}

// Start prepares what must be there before the first event is accepted: where the log ends, and every lane's place in it.
func (r *Relay) Start(ctx context.Context) error {
	if err := r.tail.start(ctx); err != nil {
		return err
	}
	for _, l := range r.lanes {
		if err := l.introduce(ctx); err != nil {
			return err
		}
	}
	for _, in := range r.inboxes {
		if err := in.introduce(ctx); err != nil {
			return err
		}
	}
	return nil
}

// commit writes a batch, and shows what it appended to those who follow the log.
func (r *Relay) commit(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
	res, err := r.write(ctx, b)
	if len(b.Events) > 0 && errors.Is(err, bridge.ErrUnavailable) {
		r.tail.doubt()
	}
	if err == nil && len(res.Seqs) > 0 {
		entries := make([]bridge.Entry, len(res.Seqs))
		for i, seq := range res.Seqs {
			entries[i] = bridge.Entry{Seq: seq, Event: b.Events[i]}
		}
		r.tail.offer(res.After, entries)
	}
	return res, err
}

// Feed returns the log as it grows, for as long as Run runs. It is for streams: that there are any is noted.
func (r *Relay) Feed() bridge.Feed { return &streamed{tail: r.tail, store: r.store} }

// streamed is the tail as streams see it.
type streamed struct {
	*tail
	store Store
	noted atomic.Bool
}

// Next implements bridge.Feed.
func (f *streamed) Next(ctx context.Context, after bridge.Seq, max int) ([]bridge.Entry, error) {
	if !f.noted.Load() {
		_, err := f.store.Commit(ctx, bridge.Batch{Rows: []bridge.Row{{Table: tableLanes, Key: noteStreams, Value: []byte("1")}}})
		f.noted.Store(err == nil) // else the next call tries again
	}
	return f.tail.Next(ctx, after, max)
}

// Run works until ctx ends: then receivers stop, running calls end and are recorded within 8 seconds, and leases are given
// back.
func (r *Relay) Run(ctx context.Context) {
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work, tail sync.WaitGroup
	tail.Go(func() { r.tail.run(following) })
	for _, l := range r.lanes {
		work.Go(func() { l.run(ctx) })
	}
	if r.kept > 0 {
		work.Go(func() { r.retain(ctx) })
	}
	work.Wait()
	r.passing.end()
	stop()
	tail.Wait()
}

// Health tells how each lane does.
func (r *Relay) Health() []bridge.LaneHealth {
	out := make([]bridge.LaneHealth, 0, len(r.lanes))
	for _, l := range r.lanes {
		out = append(out, l.health())
	}
	return out
}
