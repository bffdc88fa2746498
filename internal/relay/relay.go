// Package relay is the bridge's only logic: it takes app servers' events and platforms' updates into the log, and carries
// every event along the lanes to where it is to be seen. It puts together the rooms below it: the engine, which carries; the threads,
// the sinks and the desk, which say what; and msgmap, which they share. It knows no HTTP, no platform's API and no store's keys.
package relay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/desk"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/erase"
	"github.com/pocketping/bridge/internal/relay/incident"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/relay/sinks"
	"github.com/pocketping/bridge/internal/relay/stats"
	"github.com/pocketping/bridge/internal/relay/threads"
	"github.com/pocketping/bridge/internal/relay/transcript"
)

// Store is what the relay needs of the store; package store says what each method promises.
type Store interface {
	engine.Store
	desk.Store
	erase.Store
}

// Presence is who is online.
type Presence interface {
	desk.Presence
	// SetApp sets the status of the app's own operator; see desk.Statuses.
	SetApp(ctx context.Context, online bool, w bridge.PresenceWrite) (bridge.Result, error)
	// Online says whether anyone is. It does not wait.
	Online() bool
	// Status is the team as app servers are told of it. It does not wait.
	Status() bridge.OperatorStatus
	// Observe is called with every event of the log, in order.
	Observe(e bridge.Entry)
}

// Receivers are the app servers' callbacks.
type Receivers interface {
	sinks.Receivers
	// Touch refreshes the callback that a request named, and says whether it is registered.
	Touch(ctx context.Context, id string) (bool, error)
}

// Files is where the files of messages come from and go to.
type Files interface {
	threads.Files
	desk.Links
}

// Others are the other bridges on the same store, as far as they are told what is never stored.
type Others interface {
	// Tell tells all of them, as many as hear it now.
	Tell(ctx context.Context, text []byte) error
	// Run calls heard with what they tell, until ctx ends. heard must not wait.
	Run(ctx context.Context, heard func(text []byte))
}

// OpenThread says when an announced session gets its thread.
type OpenThread = threads.OpenThread

// When an announced session gets its thread.
const (
	OpenOnMessage = threads.OpenOnMessage // with its first message
	OpenOnSession = threads.OpenOnSession // at once
	OpenAuto      = threads.OpenAuto      // at once for visitors who say who they are, while the platform has room, else with the first message
)

// Meter counts what the relay does; see engine.Meter.
type Meter interface {
	engine.Meter
	desk.UpdateMeter
}

// Options is what a relay is made of.
type Options struct {
	Store      Store
	Presence   Presence
	Receivers  Receivers
	Webhook    sinks.Webhook // nil: no other program is told
	Platforms  []bridge.Platform
	OpenThread OpenThread
	// Retention is how long a session is kept after its last word, and a dead letter; a day at least. 0: everything is kept for
	// ever, the log too.
	Retention time.Duration
	ReadAhead int           // see engine.Options.ReadAhead; 0: as it is best
	Files     Files         // nil: visitors' files are shown as links, and operators' do not reach them
	Depot     threads.Depot // nil: all files are shown as links on the platforms
	FilesIn   time.Duration // how long a text waits for its files; 0: 3 s
	// Operators are the accounts of those who may answer and command, as bridge.Account.Key names them; none: everybody in the
	// chats.
	Operators []string
	// Internal makes what operators write talk among themselves, unless it is /r text or a reply to the visitor's message.
	Internal bool
	// Unanswered is how long a visitor waits for an answer until operators are called, and again after twice that time; 0: they
	// are not. AnswerTimeout is how long until who should have answered is away; 0: they are not.
	Unanswered    time.Duration
	AnswerTimeout time.Duration
	// Transcripts has what is said in sessions kept with them.
	Transcripts bool
	AutoClose   time.Duration // of silence, until a thread is closed; 0: it never is
	// Suspects says whether an announced session is likely a program's: its thread is opened by its first message. nil: none is.
	Suspects  func(bridge.Event) bool
	Hide      *bridge.Hidden // fields of visitors that operators and the events webhook are not shown; nil: none
	MaskCards bool           // of card numbers that operators write, the last four digits are kept
	// Others are the bridges that share the store; nil: there are none.
	Others   Others
	Filtered func() int64 // requests that filters have refused since the start, for /status; nil: there are no filters
	Meter    Meter        // nil: nothing is counted
	Log      *slog.Logger
}

// Relay carries events. It is made by New, set up by Start and works during Run; its other methods may be called from
// several goroutines in between.
type Relay struct {
	*engine.Engine
	bridge.Transcripts
	bridge.Eraser      // erasures
	bridge.StatsSource // stats

	desk      *desk.Desk
	store     Store
	presence  Presence
	recv      Receivers
	stats     *stats.Counts
	erasures  *erase.Erasures
	platforms []platform
	ephemeral *ephemeral
	others    Others
}

// platform is a platform's sink and its lane.
type platform struct {
	name string
	sink *threads.Sink
	lane *engine.Lane
}

// New returns a relay that does nothing yet.
func New(o Options) *Relay {
	r := &Relay{store: o.Store, presence: o.Presence, recv: o.Receivers, ephemeral: newEphemeral(o.Log), others: o.Others}
	revisions := msgmap.Revisions{Store: o.Store}
	r.Engine = engine.New(engine.Options{
		Store: o.Store, Companions: []engine.Companion{revisions}, Presenter: revisions, Former: former, Observe: r.observe,
		Retention: o.Retention, ReadAhead: o.ReadAhead, Meter: o.Meter, Log: o.Log,
	})
	names := make([]string, len(o.Platforms))
	for i, p := range o.Platforms {
		names[i] = p.Name()
	}
	transcripts := transcript.New(o.Store, o.Transcripts, names, r.Newest)
	r.AddCompanion(transcripts)
	r.stats = stats.New(o.Store, names, o.Log)
	r.erasures = erase.New(o.Store, r.Commit, o.Platforms, o.Log)
	r.Transcripts, r.Eraser, r.StatsSource = transcripts, r.erasures, r.stats
	r.AddClaimer(msgmap.LastWords{Store: o.Store})
	deskOptions := desk.Options{
		Store: o.Store, Presence: o.Presence, Log: r.Engine, Health: r.Health, OperatorTypes: r.operatorTypes, Operators: o.Operators,
		Soon: r.ephemeral.soon, Internal: o.Internal, Filtered: o.Filtered, Hide: o.Hide, MaskCards: o.MaskCards, Logger: o.Log,
		Links: o.Files, Meter: o.Meter,
	}
	if o.Transcripts {
		deskOptions.Transcripts = transcripts
	}
	r.desk = desk.New(deskOptions)
	places := func() []incident.Place { return mainPlaces(o.Platforms) }
	for _, p := range o.Platforms {
		r.addPlatform(p, places, o)
	}
	r.addCallbacks(places, o)
	if o.Webhook != nil {
		r.AddLane(engine.LaneOptions{
			Name: sinks.WebhookLane, Sink: sinks.NewWebhook(o.Webhook, o.Store, sinks.View{Suspects: o.Suspects, Hide: o.Hide}, places, r.LaneLog(sinks.WebhookLane)), Programs: true, ExpiresWhileLimited: true,
			Dedupes: true,
		})
	}
	return r
}

// observe is called with every event of the log, in order.
func (r *Relay) observe(e bridge.Entry) {
	r.presence.Observe(e)
	r.desk.Observe(e)
}

// former stands for the sink of a lane that is no longer configured.
func former(lane string) engine.Former {
	if lane == sinks.WebhookLane {
		return sinks.FormerWebhook{}
	}
	return threads.FormerOf(lane)
}

// addPlatform adds a platform's lane, and what takes its updates.
func (r *Relay) addPlatform(p bridge.Platform, places func() []incident.Place, o Options) {
	shows := threads.Options{
		Platform: p, Platforms: o.Platforms, Store: o.Store, Entries: r.Engine, Open: o.OpenThread, Depot: o.Depot, FilesIn: o.FilesIn, Places: places,
		Suspects: o.Suspects, Hide: o.Hide, Callees: r.desk, Buttons: r.desk.CardButtons, State: r.desk.Stands, Clock: o.Presence.Clock, Log: r.LaneLog(p.Name()),
		Files: o.Files,
	}
	sink := threads.New(shows)
	lane := engine.LaneOptions{Name: p.Name(), Sink: sink, LastOnly: []bridge.Type{bridge.TypeNewSession, bridge.TypeIdentityUpdate}}
	var inbox bridge.Inbox
	listener, receives := p.(bridge.Listener)
	if receives {
		lane.Receive = func(ctx context.Context) error { return listener.Listen(ctx, inbox) }
	}
	added := r.AddLane(lane)
	if receives {
		inbox = r.desk.AddInbox(p, added)
	}
	r.platforms = append(r.platforms, platform{name: p.Name(), sink: sink, lane: added})
}

// addCallbacks adds the app servers' lane, whose owner follows the conversations and counts, too.
func (r *Relay) addCallbacks(places func() []incident.Place, o Options) {
	var added *engine.Lane
	follow := r.desk.FollowConversations(desk.TrackerOptions{Unanswered: o.Unanswered, AnswerTimeout: o.AnswerTimeout, AutoClose: o.AutoClose},
		func() desk.Lane { return added })
	beside := func(ctx context.Context) {
		var work sync.WaitGroup
		work.Go(func() { r.stats.Follow(ctx, r.Engine, added.Lease) })
		follow(ctx)
		work.Wait()
	}
	added = r.AddLane(engine.LaneOptions{
		Name: sinks.CallbacksLane, Sink: sinks.NewCallbacks(o.Receivers, o.Store, o.Retention, o.Presence.Status, places, r.LaneLog(sinks.CallbacksLane)),
		Programs: true, Apps: true, FromBeginning: true, ExpiresWhileLimited: true, Dedupes: true,
		LastOnly: []bridge.Type{bridge.TypeOperatorStatus}, Beside: beside,
	})
}

// mainPlaces returns where operators are told what is of no session. A platform's may change.
func mainPlaces(platforms []bridge.Platform) []incident.Place {
	var out []incident.Place
	for _, p := range platforms {
		if m, ok := p.(bridge.MainPlace); ok && m.MainThread() != "" {
			out = append(out, incident.Place{Platform: p.Name(), Thread: m.MainThread()})
		}
	}
	return out
}

// Start prepares what must be there before the first event is accepted.
func (r *Relay) Start(ctx context.Context) error {
	if err := r.Engine.Start(ctx); err != nil {
		return err
	}
	return r.desk.Start(ctx)
}

// Inbox returns what takes a platform's updates, and whether the platform has any. Updates may be accepted from Start on, in
// every process that works on the store.
func (r *Relay) Inbox(platform string) (bridge.Inbox, bool) { return r.desk.Inbox(platform) }

// Run works until ctx ends: then receivers stop, running calls end and are recorded within 8 seconds, and leases are given
// back.
func (r *Relay) Run(ctx context.Context) {
	var work sync.WaitGroup
	work.Go(func() { r.erasures.Run(ctx) })
	if r.others != nil {
		work.Go(func() { r.others.Run(ctx, r.heardFromOthers) })
	}
	r.Engine.Run(ctx)
	work.Wait()
	r.ephemeral.end()
}

// Propose implements bridge.Proposer.
func (r *Relay) Propose(ctx context.Context, session string, d bridge.Draft, key, sum string) (bridge.Accepted, error) {
	out, err := r.desk.Propose(ctx, session, d, key, sum)
	out.OperatorOnline = r.presence.Online()
	return out, err
}

// Session returns a session as it was last told; ok is false for one that was not, or where no platform shows any.
func (r *Relay) Session(ctx context.Context, id string) (s *bridge.Session, ok bool, err error) {
	return msgmap.Session(ctx, r.store, id)
}

// AnswerWaiting tells that no page of a session has taken operators' messages; see desk.Desk.
func (r *Relay) AnswerWaiting(ctx context.Context, session string, messages []string, email string) error {
	return r.desk.AnswerWaiting(ctx, session, messages, email)
}
