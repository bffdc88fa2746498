// Package desk is what operators do: it takes the platforms' updates into the log, tells operators' words from commands and talk among
// themselves, does the commands, keeps the canned replies, and follows the conversations to call operators to visitors who wait. It
// knows sessions, operators and presence; it knows no lane's queue and no platform's API.
package desk

import (
	"context"
	"log/slog"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// Store is what the desk needs of the store; package store says what each method promises.
type Store interface {
	msgmap.Store
	Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error)
	Read(ctx context.Context, after bridge.Seq, max int, wait time.Duration) ([]bridge.Entry, error)
	List(ctx context.Context, table, after string, max int) ([]bridge.Row, error)
	Scan(ctx context.Context, table, place string, max int) (rows []bridge.Row, next string, err error)
	Count(ctx context.Context, table string) (int, error)
	Lane(ctx context.Context, name string) (bridge.LaneState, error)
}

// Statuses changes who is online. A change is written as the PresenceWrite says; its result and error are the commit's.
type Statuses interface {
	// Set gives the person behind an account a status, until some time or, with a zero one, for good.
	Set(ctx context.Context, who bridge.Account, s bridge.Status, until time.Time, w bridge.PresenceWrite) (bridge.Result, error)
	// Seen notes a sign of life; answers: by answering a visitor.
	Seen(ctx context.Context, who bridge.Account, answers bool, w bridge.PresenceWrite) (bridge.Result, error)
	// MarkAway makes a person away who is online and did not answer; key is their id, or an account's.
	MarkAway(ctx context.Context, key string, w bridge.PresenceWrite) (bridge.Result, error)
	// Rename gives a person the name that visitors see.
	Rename(ctx context.Context, who bridge.Account, name string, w bridge.PresenceWrite) (bridge.Result, error)
}

// Linker makes several accounts one person's, written as the PresenceWrite says.
type Linker interface {
	// Begin begins to join a person's accounts, Join asks for it by the code that Begin has made, Confirm does it when who has begun
	// says so, Leave takes an account out.
	Begin(ctx context.Context, first bridge.LinkEnd, w bridge.PresenceWrite) (bridge.Result, error)
	Join(ctx context.Context, second bridge.LinkEnd, code string, w bridge.PresenceWrite) (bridge.Result, error)
	Confirm(ctx context.Context, who bridge.Account, w bridge.PresenceWrite) (bridge.Result, error)
	Leave(ctx context.Context, who bridge.Account, w bridge.PresenceWrite) (bridge.Result, error)
}

// People says who the operators are.
type People interface {
	// People returns all operators.
	People(ctx context.Context) ([]bridge.Person, error)
	// Moment reads a duration or a time of day; ok is false for what is neither.
	Moment(ctx context.Context, text string) (until time.Time, ok bool, err error)
	// Clock shows a moment as operators read it.
	Clock(t, now time.Time) string
	// Summary says in a few lines who is online, since when and why.
	Summary(ctx context.Context) (string, error)
}

// Presence is who is online.
type Presence interface {
	Statuses
	Linker
	People
}

// Log is the log as it grows.
type Log interface {
	// Commit writes a batch, and shows what it appended to those who follow the log.
	Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error)
	// Newest returns the last event that this process has seen.
	Newest() bridge.Seq
	// Next returns up to max events behind a place. It waits for the first.
	Next(ctx context.Context, after bridge.Seq, max int) ([]bridge.Entry, error)
}

// Lane is what the desk asks the lane of a platform, or of the app servers.
type Lane interface {
	// Owns says whether this process works the lane.
	Owns() bool
	// Lease is the lane's lease, as this process holds it.
	Lease() bridge.Lease
	// Settled waits until every attempt that runs now has ended and is recorded, or until ctx ends.
	Settled(ctx context.Context)
}

// Links is where the files of operators are got from.
type Links interface {
	// Link returns the URL by which a visitor's app gets an operator's file.
	Link(platform string, a bridge.Attachment) string
}

// UpdateMeter counts what platforms tell.
type UpdateMeter interface {
	// Updated counts an update that was taken from a platform, and was not known before.
	Updated(platform string, kind bridge.UpdateKind)
}

// Options is what a desk is made of.
type Options struct {
	Store    Store
	Presence Presence
	Log      Log
	Health   func() []bridge.LaneHealth
	Links    Links       // nil: operators' files do not reach visitors
	Meter    UpdateMeter // nil: nothing is counted
	// OperatorTypes tells a session's app that an operator types, or, with is false, that they do not any more.
	OperatorTypes func(platform, session string, is bool)
	// Soon does something beside, soon, unless the process ends; nil: it is done at once.
	Soon func(do func(ctx context.Context))
	// Operators are the accounts of those who may answer and command, as bridge.Account.Key names them; none: everybody in the
	// chats.
	Operators []string
	// Internal makes what operators write talk among themselves, unless it is /r text or a reply to the visitor's message.
	Internal bool
	// Transcripts have what was said; nil: it is not kept.
	Transcripts bridge.Transcripts
	Hide        *bridge.Hidden // fields of visitors that operators are not shown; nil: none
	MaskCards   bool           // of card numbers that operators write, the last four digits are kept
	Filtered    func() int64   // requests that filters have refused since the start; nil: there are no filters
	Logger      *slog.Logger
}

// Desk is where operators work. It is made by NewDesk, and given its inboxes before anything is accepted.
type Desk struct {
	store     Store
	presence  Presence
	events    Log
	health    func() []bridge.LaneHealth
	links     Links
	meter     UpdateMeter
	log       *slog.Logger
	typing    *typing
	soon      func(do func(ctx context.Context))
	operators []string
	internal  bool
	hide      *bridge.Hidden
	maskCards bool
	filtered  func() int64 // nil: there are no filters
	inboxes   []*inbox
	blocks    blocklist
	searching searchMost

	transcripts bridge.Transcripts
}

// rowsMost is more rows than a table has of which there are a few for each operator or reply.
const rowsMost = 100_000

// readPage is how many entries of the log are read at once.
const readPage = 512

// New returns a desk without inboxes.
func New(o Options) *Desk {
	return &Desk{
		store: o.Store, presence: o.Presence, events: o.Log, health: o.Health, links: o.Links, meter: o.Meter, log: o.Logger,
		typing: newTyping(o.OperatorTypes), soon: o.Soon, operators: o.Operators, internal: o.Internal, filtered: o.Filtered, hide: o.Hide, maskCards: o.MaskCards,
		searching: searchLimits(), transcripts: o.Transcripts,
	}
}

// session returns a session as it was last told, without what operators are not shown. Of one that was not told only the id is known.
func (r *Desk) session(ctx context.Context, id string) (*bridge.Session, error) {
	s, _, err := msgmap.Session(ctx, r.store, id)
	return r.hide.Session(s), err
}

// AddInbox gives the desk what takes a platform's updates. lane is the platform's.
func (r *Desk) AddInbox(p bridge.Platform, lane Lane) bridge.Inbox {
	in := &inbox{desk: r, lane: lane, platform: p.Name(), chat: p, messages: msgmap.Of(p.Name(), r.store)}
	r.inboxes = append(r.inboxes, in)
	return in
}

// Inbox returns what takes a platform's updates, and whether the platform has any. Updates may be accepted from Start on, in
// every process that works on the store.
func (r *Desk) Inbox(platform string) (bridge.Inbox, bool) {
	for _, in := range r.inboxes {
		if in.platform == platform {
			return in, true
		}
	}
	return nil, false
}

// Start notes which platforms are served. It is called before anything is accepted.
func (r *Desk) Start(ctx context.Context) error {
	for _, in := range r.inboxes {
		if err := in.register(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *Desk) commit(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
	return r.events.Commit(ctx, b)
}

// TrackerOptions says what conversations are followed for.
type TrackerOptions struct {
	// Unanswered is how long a visitor waits for an answer until operators are called, and again after twice that time; 0: they
	// are not. AnswerTimeout is how long until who should have answered is away; 0: they are not.
	Unanswered    time.Duration
	AnswerTimeout time.Duration
	AutoClose     time.Duration // of silence, until a thread is closed; 0: it never is
}

// FollowConversations returns what follows the conversations. It runs while this process owns the lane of the app servers, which lane returns.
func (r *Desk) FollowConversations(o TrackerOptions, lane func() Lane) func(ctx context.Context) {
	return func(ctx context.Context) {
		w := &conversationTracker{desk: r, lane: lane(), unanswered: o.Unanswered, timeout: o.AnswerTimeout, autoClose: o.AutoClose}
		w.run(ctx)
	}
}
