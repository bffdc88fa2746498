package engine

import (
	"context"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// The times that one attempt has.
const (
	CallTimeout = 30 * time.Second // of one call
	FileTimeout = 5 * time.Minute  // of one that uploads files
)

// Sink is where a lane delivers to. Its methods may be called from several goroutines. What else a sink can do is found by type
// assertion when its lane is made: see Targeter, Monitor, Recoverer, Disposer, Reporter, RowWriter, Observer, Loader, Preparer,
// Prefetcher and Tidier.
type Sink interface {
	// Limits says what the destination allows. It does not change.
	Limits() bridge.Limits
	// Kind says of what use an event is.
	Kind(e bridge.Entry) bridge.Kind
	// Attempt makes at most one call towards an event's delivery. An error that is no *bridge.DeliveryError is a defect.
	Attempt(ctx context.Context, d Delivery, peek Peek) (Result, error)
}

// Delivery is an event on its way to one target.
type Delivery struct {
	Entry  bridge.Entry
	Target string // empty where the sink is no Targeter
	Kind   bridge.Kind
	// Ordered says that it stands behind what it refers to.
	Ordered bool
	// Places is how many places the attempt has in the destination's pace; 0 is one.
	Places int
	// PossiblySent is since when a call for its next step may have been made whose answer is not known, at the earliest; zero: none was.
	PossiblySent time.Time
	// Edited is, of a dead letter that is delivered again, when its message was edited last; zero: it was not.
	Edited time.Time
	// Memory is what the sink remembers of the event between attempts, as long as the process lives. It is the sink's own. Where a sink
	// has several targets, they share it.
	Memory *any
}

// Result is what an attempt without a fault came to. With a fault, Op alone counts.
type Result struct {
	Batch  bridge.Batch // what it produced, recorded before anything else happens
	Done   bool         // the target has the event; else the next step follows
	Op     string       // the step that was taken, or failed; empty: no call was made
	Idle   bool         // no call was made
	Free   bool         // the call was one that the destination's pace does not count
	Note   string       // why nothing was sent, for the log
	Shed   string       // it is left out, since it had to wait: what it is, in one of a few words
	Orphan bool         // what it refers to was not accepted in time
	// Also are events behind it in its session that the target has now, too: they are recorded and finished with it. With Done alone.
	Also  []bridge.Seq
	Next  bool      // the next step follows before anything else is done
	Seen  bool      // something of the session is shown now
	Defer *Deferral // it waits, out of its session's way
	Wait  *Wait     // it waits, and its session with it
	Needs int       // no call was made, since it takes so many places in the pace
	// Blocked is the kind of call that it needs and that the destination refuses: it waits until then.
	Blocked string
	Until   time.Time
}

// Deferral says what an event waits for that is out of its session's way meanwhile.
type Deferral struct {
	Key    string            // the session's dedupe key of what it refers to
	Seq    bridge.Seq        // where that is in the log; 0: not accepted yet
	AtMost time.Duration     // then it is looked at again
	Ready  []<-chan struct{} // it is looked at, too, when all of these are closed; none: it waits for the key
}

// Wait says what an event waits for that keeps its place, until a person's text without files waits behind it.
type Wait struct {
	Ready []<-chan struct{} // all of these are closed
	Until time.Time
	// PastTexts has it wait on when a text waits behind it.
	PastTexts bool
}

// Peek answers what an attempt has to know of its lane. Its methods may be called during the attempt alone, and do not wait.
type Peek interface {
	PeekPace
	PeekQueue
}

// PeekPace is what may be asked of the destination's limits.
type PeekPace interface {
	// Room says whether the destination could well take more: under half of its pace, and no person's message waiting.
	Room() bool
	// Quiet says whether signs are not worth a call now.
	Quiet() bool
	// Held says whether the event has waited for the destination's pace, and not only for a moment.
	Held() bool
	// MayCall says whether a call of a kind may be made for the event now. If not, the event waits until the time that is returned, or
	// until such a call worked.
	MayCall(op string) (ok bool, until time.Time)
	// HeedLimit heeds that a call which does not matter was refused for its pace; any other error is none of its business.
	HeedLimit(err error)
}

// PeekQueue is what may be asked of what waits beside the event.
type PeekQueue interface {
	// TextBehind says whether a person's text without files waits behind the event in its session.
	TextBehind() bool
	// LeftUnheard says whether the visitor of an announcement has left without a message.
	LeftUnheard() bool
	// Behind returns what waits behind the event in its session, in order, as far as anybody looks.
	Behind(ctx context.Context) ([]bridge.Entry, error)
	// ChangesBehind returns the waiting events of the session that edit or delete a message.
	ChangesBehind(ctx context.Context) ([]bridge.Entry, error)
	// Deleted says whether a message is known to be deleted by an event that waits in the log and is not among those.
	Deleted(ctx context.Context, e bridge.Entry) (bool, error)
}

// Queued is what a Targeter has to know of a waiting event.
type Queued struct {
	Seq         bridge.Seq
	Session     string
	Type        bridge.Type
	Only        string // the one target, for an event that is for one alone
	Redelivered bool   // it is a dead letter that is delivered again
}

// Age is how long ago the event was accepted.
func (q Queued) Age(now time.Time) time.Duration { return now.Sub(q.Seq.Time()) }

// Targeter is a sink with several targets, or with none for a while. Without it, an event has one target, the empty one.
type Targeter interface {
	// Targets returns who is to get an event now.
	Targets(q Queued) []string
	// Awaits says whether an event that has no target waits for one.
	Awaits(q Queued) bool
	// TargetsKept is Targets, or for an event that waits for the first target what stands in its place, from what the store knows: it is
	// asked in processes that do not own the lane.
	TargetsKept(ctx context.Context, q Queued) ([]string, error)
	// Changed returns a channel that is closed when targets have changed.
	Changed() <-chan struct{}
	// EverHadTarget says whether there ever was anybody to deliver to: only then is what nobody got a loss.
	EverHadTarget() bool
	// Unwanted returns the place in the log up to which nobody will ever want the events; ok is false once somebody is or was there.
	Unwanted(ctx context.Context, now time.Time) (before bridge.Seq, ok bool)
}

// TargetHealth is a sink that knows how each of its targets does.
type TargetHealth interface {
	// AtOnce is how many attempts for one target may be under way at the same time.
	AtOnce(target string) int
	// TookSince says whether a target has taken an event since then.
	TookSince(target string, since time.Time) bool
}

// Recoverer is a sink that can do more about a failed attempt than wait.
type Recoverer interface {
	// Circumstance fills in what the sink knows about an attempt that failed.
	Circumstance(ctx context.Context, d Delivery, c *Circumstance)
	// React does what a verdict asks for besides waiting, or says that it cannot. drop says that the event is finished thereby.
	React(ctx context.Context, a Act, cause *bridge.DeliveryError, d Delivery) (b bridge.Batch, drop bool, err error)
}

// Disposer is a sink whose dead letters are told of.
type Disposer interface {
	// GivenUp returns the events that tell of a dead letter.
	GivenUp(e bridge.Entry, cause *bridge.DeliveryError) []bridge.Event
}

// Former stands for the sink of a lane that is no longer configured.
type Former interface {
	Kind(e bridge.Entry) bridge.Kind
	Disposer
}

// Reporter is a sink of which operators are told how it does.
type Reporter interface {
	// Report returns what operators have to be told now.
	Report(now time.Time, r Refusals) Notice
}

// Refusals is what a destination refuses now.
type Refusals struct {
	Kinds map[string]*bridge.DeliveryError // kinds of calls, while others work
	Auth  *bridge.DeliveryError            // everything, until a person does something
	Limit *bridge.DeliveryError            // everything, for its pace
}

// Notice is what operators have to be told.
type Notice struct {
	Batch    bridge.Batch
	Acked    func()   // to be called when the batch is written; nil: there is none
	RetryNow []string // targets that may have been back for a while: no attempt has been made that would show it
}

// RowWriter is a sink with rows of its own that are written with the lane's next cursor.
type RowWriter interface {
	// PendingRows returns the rows that are to be written, RowsWritten tells of some that are.
	PendingRows() []bridge.Row
	RowsWritten(rows []bridge.Row)
}

// Observer is a sink that follows the log.
type Observer interface {
	// OnEvent is called for every event of the log, in order, before anything is done about it. It says whether the events that wait in
	// its session have other targets from now on.
	OnEvent(e bridge.Entry) (moved bool)
}

// Loader is a sink that has to read something when this process comes to own the lane.
type Loader interface {
	Load(ctx context.Context) error
}

// Preparer is a sink that has to read something before it is given entries. waiting says whether anything of a session waits.
type Preparer interface {
	Prepare(ctx context.Context, entries []bridge.Entry, waiting func(session string) bool) error
}

// Urgency says before what else an event is done where not everything can be done at once.
type Urgency uint8

// From the most urgent on. Words overtake what is a notice or a sign in their own session, too.
const (
	UrgentWord    Urgency = iota // people's words, answers to commands, and what a word needs
	UrgentChange                 // edits and deletions of words; after changeDue they are as urgent as words
	UrgentRequest                // what rings without being a word
	UrgentNotice                 // what is told silently, names and cards
	UrgentSign                   // what shows no more than a sign
)

// Ranker is a sink whose events are not all of one urgency. Without it, people's words go before all else.
type Ranker interface {
	// Urgency says how urgent an event is by itself.
	Urgency(e bridge.Entry) Urgency
	// Yields says whether words of its own session may overtake an event.
	Yields(e bridge.Entry) bool
	// Unseen says whether nothing of a session is shown yet, as far as is known. It does not wait.
	Unseen(session string) bool
}

// Prefetcher is a sink that has the files of an event fetched as soon as it is in the log.
type Prefetcher interface {
	// Prefetch returns at once.
	Prefetch(e bridge.Entry)
	// IsText says whether a person's message is a text without files.
	IsText(e bridge.Event) bool
}

// Tidier is a sink that remembers sessions.
type Tidier interface {
	// Tidy drops what is remembered of sessions that have been silent for long. waiting, which may be called until Tidy returns, says
	// whether anything of a session waits.
	Tidy(now time.Time, waiting func(session string) bool)
}

// LaneOptions says how a lane treats its sink.
type LaneOptions struct {
	Name string
	Sink Sink
	// Programs says that it leads to programs, app servers or the events webhook: what programs.go says holds.
	Programs bool
	// Apps says that the programs are app servers: how soon they are told what operators do is counted, and operators are told of what
	// they do not take.
	Apps bool
	// FromBeginning has the lane begin at the log's beginning, and not at its end, when it is new.
	FromBeginning bool
	// LastOnly are the types of which only the last of several waiting events matters.
	LastOnly []bridge.Type
	// ExpiresWhileLimited says that the time of an event runs while the destination asks for time, too.
	ExpiresWhileLimited bool
	// Dedupes says that whoever gets an event knows it when it comes again. Then the next one of its session goes out while the record
	// of the one before it is still being written.
	Dedupes bool
	// Receive receives from the platform while this process owns the lane. When it returns, the verdict on its error says when it is
	// called again.
	Receive func(ctx context.Context) error
	// Beside runs while this process owns the lane.
	Beside func(ctx context.Context)
}
