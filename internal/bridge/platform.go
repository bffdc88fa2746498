package bridge

import (
	"context"
	"errors"
	"io"
	"time"
)

// ThreadID is a session's place on a platform. Only the platform's adapter makes or reads one.
type ThreadID string

// MessageID is a message's id on a platform. Only the platform's adapter makes or reads one.
type MessageID string

// Platform is a chat platform, as the relay uses it. An adapter makes one attempt, one platform call, and says with a
// *DeliveryError why it failed; it never retries, sleeps or logs an error that it returns. All methods may be called from
// several goroutines.
type Platform interface {
	// Name returns the platform's name on the wire: telegram, discord or slack.
	Name() string
	// Limits returns what the platform bears.
	Limits() Limits
	// Render turns an outgoing message into the parts that are sent one after the other. It is pure, and splits what is too
	// long.
	Render(m Outgoing) []Part
	// OpenThread takes the next step of opening a session's thread; the relay records the result of each. A step that is not
	// the last returns its result in step and no thread.
	OpenThread(ctx context.Context, s *Session, o Opening) (thread ThreadID, step string, err error)
	// Send sends one part without files and returns the ids of the messages that it became.
	Send(ctx context.Context, thread ThreadID, p Part) ([]MessageID, error)
}

// Limits is what a platform bears. Zero means no limit that we know of, but for MaxFile.
type Limits struct {
	Concurrency int    // calls at the same time
	Pace        []Pace // all hold
	// Allowed is how many calls a minute the platform says to take in any case: where there is no Pace, a refusal teaches none
	// below it. 0: 20.
	Allowed    int
	FilesCount bool // each file of an Upload counts as a call
	// ShowsClosing says that a thread which is closed says so itself, in a message.
	ShowsClosing bool
	// Rings says that every message that is not silent rings for everybody in the place, so that a word calls nobody by name.
	Rings   bool
	MaxFile int64 // of a file that is uploaded, in bytes; 0: files cannot be uploaded
	// Merge is how long a message may be, in UTF-16 units, that shows several which have waited for the pace; 0: each is shown by itself.
	Merge int
	// Quotes says that the platform has no replies: an Outgoing comes with a Quote instead of a ReplyTo.
	Quotes bool
}

// Pace is a limit of Calls in any window of Per.
type Pace struct {
	Calls int
	Per   time.Duration
}

// Opening is how far the opening of a thread is.
type Opening struct {
	Done []string // the results of the steps before, oldest first
	// Key names this opening of this session: every attempt of it has the same, and the opening of the thread that replaces a
	// lost one has another.
	Key string
	// Since is when a call for the next step may have been made whose answer was lost, at the earliest; zero: there was none.
	// Where the platform can tell, what it made is found instead of made again.
	Since time.Time
	// Buttons stand under the card, of a CardEditor.
	Buttons [][]Button
}

// Outgoing is a message to be shown in a thread.
type Outgoing struct {
	Thread  ThreadID
	Author  string // who wrote it, for messages that are not the visitor's; else empty
	Visitor string // who the visitor is, for places that have no threads
	Text    string
	Face    Face         // who speaks, for platforms where messages can have faces; zero: the bridge
	Foreign bool         // the text is a visitor's, a site's or an operator's, and not the bridge's own
	Files   []Attachment // to be uploaded: with the text, where the platform shows both as one message, else in parts behind it
	// Apart has the files go by themselves: together with the text they were refused.
	Apart bool
	// Caption says that the text stands beside files that are shown already: one part is to take its place, or it does not fit there.
	Caption bool
	Links   []Attachment // shown as lines with name, size and link
	ReplyTo MessageID    // empty: no reply
	Excerpt *Excerpt     // with ReplyTo: the part of that message that is meant; nil: all of it
	Quote   *Quote       // what it replies to, for a platform that quotes; nil: no reply
	Mention []string     // platform user ids of the operators who are called by name in front of the text
	Card    *Session     // the thread's card goes before it; nil: no card. Never set for a CardEditor
	// Buttons stand, row by row, under the card, or without one under the end of the text. Only a Presser shows them.
	Buttons [][]Button
	Kind    Kind // a notice is silent
	Silent  bool // it rings for nobody, though it is a word: a colleague's copy, an answer to a command
	// Notify calls those whom the platform's own setting names: nobody is known to be there who could be called by name.
	Notify bool
	// Broadcast shows it to those, too, who do not follow the thread, where the platform makes that difference.
	Broadcast bool
}

// Face is whom a message is shown under.
type Face struct {
	Name string
	Seed string // of one person it is the same, so that the picture is
}

// IsSilent says that a message rings for nobody.
func (m Outgoing) IsSilent() bool { return m.Silent || m.Kind == KindNotice }

// Excerpt is a part of a message on the platform that a reply means.
type Excerpt struct {
	Text string // as it is shown there
	From int    // where it stands, in UTF-16 units
}

// Quote is a message that another one replies to.
type Quote struct {
	Author string // empty: the visitor
	Text   string // as long as it came; the adapter shortens it
}

// Part is one call's worth of a message, in the platform's markup. Plain is the same without markup, for a platform that
// refuses the markup; empty when there is no other form, and then Text is sent as it is.
type Part struct {
	Text    string
	Plain   string
	Markup  any // the text in a form that is no text, of the adapter's own: for its Send and Edit, where Plain is not empty; mostly nil
	Silent  bool
	ReplyTo MessageID
	Face    Face // whom it is shown under; zero: the bridge
	// Faced is Text without the name of who speaks, for what is shown under it; nil: as Text.
	Faced   *string
	Excerpt *Excerpt // with ReplyTo; nil: all of that message is meant
	Mention []string // those whom the text may ping, as the adapter's Render names them; all else pings nobody
	// Broadcast has it shown in the channel, too.
	Broadcast bool
	// Buttons stand under it. An Edit without any leaves those that there are or takes them away, as the platform does; an empty list
	// takes them away.
	Buttons [][]Button
	Files   []Attachment // of one Upload; as they are in the Outgoing
	// Caption says that the text stands beside files: of the part, or of the message that an Edit changes.
	Caption bool

	// Key names the part: every attempt to send it to any thread has the same, and no other part has it. Set by the relay.
	Key string
	// Since is when a call for it may have been made whose answer was lost, at the earliest; zero: there was none. Where the
	// platform can tell, the message that it made is found and returned instead of made again. Set by the relay.
	Since time.Time
}

// The interfaces below are optional: what a platform can do is found by asserting them.

// CardEditor is a platform whose OpenThread shows the session's card, and that can show it anew.
type CardEditor interface {
	EditCard(ctx context.Context, thread ThreadID, c Card, buttons [][]Button) error
}

// Card is what a thread's card shows once its conversation goes on.
type Card struct {
	Session *Session
	Words   string // how the visitor's last ones begin, in a line; empty: nothing of them
	Answers string // who answers, in a line; empty: nothing of that
}

// Editor is a platform on which a sent message can get another text.
type Editor interface {
	// Edit shows the part in place of the message. A text that is there already is success. ReasonMessageGone and
	// ReasonTooLate say that it has to be shown in another way.
	Edit(ctx context.Context, thread ThreadID, id MessageID, p Part) error
}

// Deleter is a platform on which a sent message can be deleted.
type Deleter interface {
	// Delete takes a message away. One that is gone already is success.
	Delete(ctx context.Context, thread ThreadID, id MessageID) error
}

// Uploader is a platform that takes files.
type Uploader interface {
	// Upload sends a part's files, with their contents in the part's order; some of the part's may be missing. Contents are
	// streamed and never held in memory whole. Of a part with a text, the first id is that of the message which says it.
	Upload(ctx context.Context, thread ThreadID, p Part, files []File) ([]MessageID, error)
}

// File is a file's content on its way to a platform, or here. To an Uploader, Size is always known and Body, which it does not
// close, is an io.Seeker as well.
type File struct {
	Name string
	Type string // a media type, or empty
	Size int64  // bytes
	Body io.Reader
}

// FileRequest says which file is wanted, and how it is had.
type FileRequest struct {
	Key   string // names the file for ever: of one key there is one content
	User  string // who wants it
	Site  string // whose files are fetched a few at a time; empty: it comes from nowhere
	Limit int64  // bytes
	// Ahead says that the file is needed later: it may be left for then.
	Ahead bool
	// Open opens the file. It may be called several times, and its error is fit to be shown to operators. Size is -1 where it is not
	// known. The context ends when the file has to be here.
	Open func(ctx context.Context) (File, io.Closer, error)
}

// ErrFileNotHere means that a file was not wanted, was dropped, or is still on its way.
var ErrFileNotHere = errors.New("the file is not here")

// FileSource is a platform whose operators send files.
type FileSource interface {
	// OpenFile opens a file by the BridgeFileID of an update's attachment. A platform that serves ranges begins at the byte
	// from. ReasonRejected says that there is no such file (any more).
	OpenFile(ctx context.Context, ref string, from int64) (*Content, error)
}

// Content is a file as a platform serves it. Whoever gets it closes Body.
type Content struct {
	Body io.ReadCloser
	From int64  // the byte that Body begins with
	Size int64  // of the whole file; -1: unknown
	Type string // a media type, or empty
}

// Reactor is a platform on which a message can carry a sign of ours.
type Reactor interface {
	// React puts the sign on a message, in place of another sign of ours. One that is there already is success.
	React(ctx context.Context, thread ThreadID, id MessageID, s Sign) error
}

// Sign is what a reaction of ours says of an operator's message.
type Sign string

const (
	SignDelivered Sign = "delivered" // the visitor's app has it
	SignRead      Sign = "read"      // the visitor has read it
)

// Typer is a platform that can show that somebody is typing.
type Typer interface {
	ShowTyping(ctx context.Context, thread ThreadID) error
}

// ThreadRenamer is a platform whose threads can get another name.
type ThreadRenamer interface {
	// ThreadName returns the name that the thread of a session has or should have.
	ThreadName(s *Session) string
	RenameThread(ctx context.Context, thread ThreadID, name string) error
}

// ThreadNamer is a platform that can be asked what a thread is called now.
type ThreadNamer interface {
	NameOf(ctx context.Context, thread ThreadID) (string, error)
}

// ThreadReopener is a platform whose threads can be closed by hand and opened again.
type ThreadReopener interface {
	// ReopenThread opens a closed thread. One that is open is success.
	ReopenThread(ctx context.Context, thread ThreadID) error
}

// ThreadCloser is a platform whose threads can be closed, or marked as closed where there is no other way.
type ThreadCloser interface {
	// CloseThread closes a thread. One that is closed is success.
	CloseThread(ctx context.Context, thread ThreadID) error
}

// ThreadEraser is a platform on which a thread can be taken away with what was said in it.
type ThreadEraser interface {
	// EraseThread takes away all that can be of a thread, and returns how many messages it must leave, which are others'. A thread that is
	// gone is success. ReasonRejected says that it cannot be done with the thread as a whole.
	EraseThread(ctx context.Context, thread ThreadID) (left int, err error)
}

// MainPlace is a platform with a place outside the sessions' threads where operators are told what is of no session.
type MainPlace interface {
	// MainThread returns the place, or nothing when there is none.
	MainThread() ThreadID
}

// Home is a platform whose place the configuration names.
type Home interface {
	// HomeSetting returns the setting's name and its value.
	HomeSetting() (name, value string)
}

// ThreadLinker is a platform whose threads can be opened by a link in a message there.
type ThreadLinker interface {
	// ThreadLink returns what leads to a thread, as a text of the bridge's own has it, or nothing where it cannot be told. It makes no
	// call.
	ThreadLink(thread ThreadID) string
}

// FlatPlace is a platform whose main place can show a session that has no thread of its own: each message there says whose it is,
// and operators answer by replying to one.
type FlatPlace interface {
	// FlatThread names the place of such a session, or nothing where there is none. It makes no call.
	FlatThread(session string) ThreadID
	// FlatReply returns the message of the main place that an update answers, or nothing.
	FlatReply(u Update) MessageID
}

// Mover is a platform whose chats can get another id.
type Mover interface {
	// Move makes the adapter use the new place, as a DeliveryError named it, from now on.
	Move(to string) error
}

// Listener is a platform that tells us what operators do.
type Listener interface {
	// Listen receives updates and hands each to the inbox, in order, until ctx ends or something fails. It acknowledges an
	// update to the platform only after Accept returned nil. The relay decides when it is called again.
	Listen(ctx context.Context, inbox Inbox) error
}

// Inbox takes updates.
type Inbox interface {
	// Accept returns nil once the update is durable, or needs no attention.
	Accept(ctx context.Context, u Update) error
	// Cursor returns the Cursor of the last accepted update of a bot, as Update.Bot names it, or nothing.
	Cursor(ctx context.Context, bot string) (string, error)
	// Begun returns when the platform came to be served, by the store's clock: what was written before is nobody's. It is asked
	// where there is no cursor yet.
	Begun(ctx context.Context) (time.Time, error)
}

// UpdateKind says what an update tells.
type UpdateKind string

const (
	// UpdateNothing moves the cursor only.
	UpdateNothing UpdateKind = ""
	// UpdateMessage is a message of a person.
	UpdateMessage UpdateKind = "message"
	// UpdateEdit is another text for an earlier message of a person.
	UpdateEdit UpdateKind = "edit"
	// UpdateDelete says that an earlier message is gone. Its author may be unknown.
	UpdateDelete UpdateKind = "delete"
	// UpdateReaction is a person's new reaction to a message, of whatever kind.
	UpdateReaction UpdateKind = "reaction"
	// UpdateRename says that a person gave a thread another name, Text.
	UpdateRename UpdateKind = "rename"
	// UpdateTyping says that a person is typing in a thread. It is never stored.
	UpdateTyping UpdateKind = "typing"
	// UpdatePress says that a person pressed a button of the bridge's: Press is its data, ReplyTo the message that it stands under. It is a
	// Slash, whose Message stands for where it is answered.
	UpdatePress UpdateKind = "press"
)

// Update is what a platform tells us, converted by its adapter.
type Update struct {
	ID     string // the platform's id of the update: the same update, seen again, is recognised by it
	Cursor string // the receiver's position once the update is accepted
	// Bot is whose update it is, where ids and positions are each bot's own, as on Telegram; empty where they are the platform's, and
	// another bot goes on where the one before it stopped.
	Bot string
	// Act names what was done in the same way for every bot that is told of it, so that a new bot does not tell it again; empty where
	// ids and positions do so already, or nothing does.
	Act     string
	At      time.Time // of an update with a Bot: when it happened, by the platform's clock, to the second; zero: unknown
	Kind    UpdateKind
	Thread  ThreadID // where it was written
	Flat    bool     // the place has no threads: who is meant is told by ReplyTo
	Message MessageID
	ReplyTo MessageID
	// ReplyAt is where what it quotes stands in the message that it replies to, in UTF-16 units; 0 where nothing is quoted.
	ReplyAt int
	// Quotes says that it quotes a part of that message.
	Quotes bool
	// ReplyToNumber is ReplyTo as the number that the wire's replyToBridgeMessageId wants; 0 where there is none.
	ReplyToNumber int64
	Author        Author
	Text          string       // plain, as a person reads it
	Files         []Attachment // with a BridgeFileID that OpenFile takes, and no URL
	Edited        time.Time    // of an edit: when, by the platform's clock
	Hint          string       // what its author is told where the visitor does not see what was sent; empty: they do
	Album         string       // of several messages that are one to people: the same in each of them
	Command       *Command     // the text is a command in the platform's own form
	ToBot         bool         // the text began with the bot's name, which was left out
	Slash         bool         // the command is no message: Message only stands for where it is answered
	Press         string       // of a press: the button's data
}

// Author is the person behind an update.
type Author struct {
	ID     string // the platform's user id
	Name   string
	Handle string // see Account
}

// Command is what an operator asks of the bridge. Name is in lower case, without its mark.
type Command struct {
	Name string
	Args string
}
