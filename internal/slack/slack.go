// Package slack shows sessions in a Slack channel, a thread each, and hears what operators write there; or it posts to an
// incoming webhook and hears nothing. It knows Slack's Web API, its events over Socket Mode and HTTP, its refusals and its
// markup. It knows nothing of the log, of what is sent when or tried again, and of which session a thread is.
//
// It calls Slack through github.com/slack-go/slack, and writes that library's blocks and messages. What of the library it goes
// without, and why:
//
//	socketmode      it connects again and again without a pause where a server closes at once, leaves what it cannot read
//	                unacknowledged, and loses its connection to a slow reader
//	slackevents     and the types of messages: one part that they do not know loses a whole message, or a page of them
//	results         for the same reason they are read from the answers, which are kept below the library
//	errors          an answer that is not ok and names no error is none to it; scopes and some statuses it leaves out
//	UploadFile      it puts a form around the file; and as one call it does not tell which of its three steps failed
//	completeUpload  of a message with files it knows no name and no icon
//	GetFile         it writes the whole of a file, from its beginning, and knows no range
//	PostWebhook     its errors carry the URL, which is a secret; and it reads no refusal's word
package slack

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/platform"
)

// The calls of the Web API that the adapter makes, and others by names of our own.
const (
	opPost     = "chat.postMessage"
	opEdit     = "chat.update"
	opDelete   = "chat.delete"
	opReact    = "reactions.add"
	opUnreact  = "reactions.remove"
	opHistory  = "conversations.history"
	opReplies  = "conversations.replies"
	opJoin     = "conversations.join"
	opChannel  = "conversations.info"
	opUser     = "users.info"
	opMe       = "auth.test"
	opSocket   = "apps.connections.open"
	opFile     = "files.info"
	opFileGone = "files.delete"
	opTicket   = "files.getUploadURLExternal"
	opComplete = "files.completeUploadExternal"
	opUpload   = "upload"
	opDownload = "download"
	opAnswer   = "response_url"
	opEvents   = "events"
	opHook     = "webhook"
)

const (
	callTimeout = 30 * time.Second
	concurrency = 8
	// allowedRate is how many calls a minute Slack takes in one channel: a message a second
	// (https://docs.slack.dev/apis/web-api/rate-limits).
	allowedRate = 60
	// maxFile is the largest file that Slack takes, in bytes.
	maxFile = 1 << 30
	// clockSlack is how far Slack's clock may be behind ours when it is looked for what a lost call has made.
	clockSlack = 5 * time.Minute
	// pageSize is how many messages are read at once; Slack recommends no more than 200.
	pageSize = 200
	// maxPages ends a search that finds nothing.
	maxPages = 20
	// maxSigns is how many messages' signs are remembered.
	maxSigns = 1000
)

// The metadata that marks what was posted for which part and which opening, so that it can be found again.
const (
	markPart   = "pocketping_part"
	markThread = "pocketping_thread"
)

// lockEmoji on a card says that the thread is closed. Slack's threads cannot be closed; a reaction is seen in the channel without
// opening the thread, and a new card leaves it alone.
const lockEmoji = "lock"

// Slack is the adapter for one channel. All its methods may be called from several goroutines.
type Slack struct {
	log     *slog.Logger
	api     *slackapi.Client
	calls   *http.Client
	content *http.Client // of files, whose calls have no time-out of their own
	base    string       // the Web API's URL, with a slash at its end
	secrets []bridge.Secret
	channel string
	config  Config // checked

	shareWait   time.Duration // for files to be shown once they were uploaded
	sharePause  time.Duration // between two looks whether they are
	reconcile   time.Duration // between two looks for what the Events API has missed
	waitsLive   time.Duration // see the constant
	missedPause time.Duration // between a sign that something was missed and the look for it
	socketPause time.Duration // before the second connection of those that are lost at once; it doubles
	silentFor   time.Duration // how long a connection may say nothing
	helloWithin time.Duration // from the address of a connection to Slack's hello on it

	acceptToken chan struct{} // holds one token: updates are accepted one after the other

	mu       sync.Mutex
	me       identity
	home     string    // the workspace's address, once it is known
	askMe    time.Time // from when on a request asks who we are
	names    map[string]name
	seen     map[string]bool // ids of updates that were accepted
	seenList []string        // the same, oldest first
	at       position
	acked    string        // the position that the inbox has
	refused  int           // counts the requests that were not taken, and the time before the first one
	looked   int           // the count at the last look for what was missed: what was refused since is not accepted yet
	failed   int           // looks that failed, one after the other
	gate     chan struct{} // closed when what was missed is accepted; nil: nothing is being caught up with
	signs    map[bridge.MessageID]bridge.Sign
	uploads  map[string][]string         // ids of files by their part's key
	shares   map[string]bridge.MessageID // what a message is that shows files of ours, by its ts
	said     map[string]bool             // what was said once
	missed   chan struct{}               // has a value when there is reason to look for what was missed
}

var (
	_ bridge.Platform       = (*Slack)(nil)
	_ bridge.CardEditor     = (*Slack)(nil)
	_ bridge.Editor         = (*Slack)(nil)
	_ bridge.Deleter        = (*Slack)(nil)
	_ bridge.ThreadCloser   = (*Slack)(nil)
	_ bridge.ThreadReopener = (*Slack)(nil)
	_ bridge.Reactor        = (*Slack)(nil)
	_ bridge.Uploader       = (*Slack)(nil)
	_ bridge.FileSource     = (*Slack)(nil)
	_ bridge.MainPlace      = (*Slack)(nil)
	_ bridge.FlatPlace      = (*Slack)(nil)
	_ bridge.Listener       = (*Slack)(nil)
	_ bridge.Webhook        = (*Slack)(nil)
	_ bridge.Presser        = (*Slack)(nil)
)

// New returns the adapter for one channel. It calls nobody. Its errors show no secret.
func New(c Config, log *slog.Logger) (*Slack, error) {
	c, err := c.check()
	if err != nil {
		return nil, err
	}
	s := &Slack{
		log:     log.With("platform", "slack"),
		calls:   outbound.NewClient(outbound.Options{Timeout: c.Timeout}),
		content: outbound.NewClient(outbound.Options{}),
		base:    c.APIURL,
		channel: c.ChannelID,
		config:  c,

		shareWait:   shareWait,
		sharePause:  sharePause,
		reconcile:   reconcileEvery,
		waitsLive:   waitsLive,
		missedPause: missedPause,
		socketPause: socketPause,
		silentFor:   silentFor,
		helloWithin: helloWithin,

		acceptToken: make(chan struct{}, 1),
		names:       map[string]name{},
		seen:        map[string]bool{},
		signs:       map[bridge.MessageID]bridge.Sign{},
		uploads:     map[string][]string{},
		shares:      map[string]bridge.MessageID{},
		said:        map[string]bool{},
		missed:      make(chan struct{}, 1),
	}
	if c.SigningSecret != "" {
		s.refused = 1
	}
	s.secrets = slices.DeleteFunc([]bridge.Secret{c.BotToken, c.AppToken, c.SigningSecret}, func(secret bridge.Secret) bool {
		return secret == ""
	})
	s.api = slackapi.New(c.BotToken.Reveal(), slackapi.OptionAPIURL(c.APIURL), slackapi.OptionHTTPClient(answers{s.calls}),
		slackapi.OptionAppLevelToken(c.AppToken.Reveal()))
	return s, nil
}

func paceOf(c Config) []bridge.Pace {
	if c.Rate == 0 {
		return nil
	}
	return []bridge.Pace{{Calls: c.Rate, Per: time.Second}}
}

// Name implements bridge.Platform.
func (s *Slack) Name() string { return "slack" }

// Limits implements bridge.Platform. Slack has no replies other than threads, so a reply comes as a quotation.
func (s *Slack) Limits() bridge.Limits {
	return bridge.Limits{
		Concurrency: concurrency, Pace: paceOf(s.config), Allowed: allowedRate, Merge: maxMerged, MaxFile: maxFile, Quotes: true,
	}
}

// MainThread implements bridge.MainPlace: the channel itself.
func (s *Slack) MainThread() bridge.ThreadID { return mainThread(s.channel) }

// OpenThread implements bridge.Platform: one step, the card in the channel, which heads the thread.
func (s *Slack) OpenThread(ctx context.Context, session *bridge.Session, o bridge.Opening) (bridge.ThreadID, string, error) {
	if !o.Since.IsZero() && o.Key != "" {
		ts, err := s.find(ctx, "", markThread, o.Key, o.Since)
		if err != nil {
			return "", "", err
		}
		if ts != "" {
			return threadID(s.channel, ts), "", nil
		}
	}
	ts, _, err := s.post(ctx, "", cardPart(bridge.Card{Session: session}, o.Buttons), markThread, o.Key)
	if err != nil {
		return "", "", err
	}
	return threadID(s.channel, ts), "", nil
}

// EditCard implements bridge.CardEditor.
func (s *Slack) EditCard(ctx context.Context, thread bridge.ThreadID, c bridge.Card, buttons [][]bridge.Button) error {
	parent, fault := s.place(thread, opEdit)
	if fault != nil || parent == "" {
		return platform.OrNil(fault)
	}
	return ofParent(s.update(ctx, parent, markHere, cardPart(c, buttons)))
}

// Send implements bridge.Platform. A part without a plain form is plain itself and is sent without blocks. What answers a slash
// command goes where it was given, for its author's eyes alone.
func (s *Slack) Send(ctx context.Context, thread bridge.ThreadID, p bridge.Part) ([]bridge.MessageID, error) {
	parent, fault := s.place(thread, opPost)
	if fault != nil {
		return nil, fault
	}
	if to := s.responseURL(p.ReplyTo, time.Now()); to != nil {
		id, done, err := s.respond(ctx, to, parent, p)
		if done || err != nil {
			return id, err
		}
	}
	if !p.Since.IsZero() && p.Key != "" {
		ts, err := s.find(ctx, parent, markPart, p.Key, p.Since)
		if err != nil {
			return nil, err
		}
		if ts != "" {
			return []bridge.MessageID{bridge.MessageID(ts)}, nil
		}
	}
	ts, landed, err := s.post(ctx, parent, p, markPart, p.Key)
	if err != nil {
		return nil, err
	}
	if landed != parent {
		s.takeAway(ctx, ts)
		return nil, gone(opPost)
	}
	return []bridge.MessageID{bridge.MessageID(ts)}, nil
}

// gone is what it means that a message for a thread landed in the channel: the thread's head was deleted.
func gone(op string) *bridge.DeliveryError {
	return &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: op,
		Detail: "the thread's first message is gone: the message landed outside the thread"}
}

// Edit implements bridge.Editor. The share of a file has no text.
func (s *Slack) Edit(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID, p bridge.Part) error {
	parent, fault := s.place(thread, opEdit)
	if fault != nil {
		return fault
	}
	ts, err := s.besideOf(ctx, id, opEdit)
	if err != nil {
		return err
	}
	if !isTS(ts) {
		return &bridge.DeliveryError{Reason: bridge.ReasonTooLate, Op: opEdit, Detail: "it is no message with a text"}
	}
	return s.update(ctx, ts, buttonMark(parent, p.Buttons), p)
}

// Delete implements bridge.Deleter.
func (s *Slack) Delete(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID) error {
	if _, fault := s.place(thread, opDelete); fault != nil {
		return fault
	}
	if ref, ok := strings.CutPrefix(string(id), fileID); ok {
		return s.deleteFile(ctx, ref)
	}
	ts, err := s.besideOf(ctx, id, opDelete)
	if platform.ReasonOf(err) == bridge.ReasonMessageGone {
		return nil
	}
	if err != nil {
		return err
	}
	if !isTS(ts) {
		return nil // an answer for one person's eyes: it goes by itself
	}
	return s.makeSo(ctx, opDelete, func(ctx context.Context) error {
		_, _, err := s.api.DeleteMessageContext(ctx, s.channel, ts)
		return err
	}, "message_not_found")
}

// CloseThread implements bridge.ThreadCloser: a lock on the card.
func (s *Slack) CloseThread(ctx context.Context, thread bridge.ThreadID) error {
	parent, fault := s.place(thread, opReact)
	if fault != nil || parent == "" {
		return platform.OrNil(fault)
	}
	return ofParent(s.addReaction(ctx, parent, lockEmoji))
}

// ReopenThread implements bridge.ThreadReopener: it takes the lock away. A person's own lock stays, and so does one that the app may not
// take away: the thread takes words all the same.
func (s *Slack) ReopenThread(ctx context.Context, thread bridge.ThreadID) error {
	parent, fault := s.place(thread, opUnreact)
	if fault != nil || parent == "" {
		return platform.OrNil(fault)
	}
	err := ofParent(s.removeReaction(ctx, parent, lockEmoji))
	if d := bridge.AsDelivery(err, opUnreact, ""); d != nil && d.Reason == bridge.ReasonRejected {
		s.log.Info("a thread keeps its lock", "op", opUnreact, "cause", d.Detail)
		return nil
	}
	return err
}

// once warns of something once.
func (s *Slack) once(what, message string, args ...any) {
	s.mu.Lock()
	said := s.said[what]
	s.said[what] = true
	s.mu.Unlock()
	if !said {
		s.log.Warn(message, args...) //nolint:sloglint // the messages are constants where it is called
	}
}

// FlatThread implements bridge.FlatPlace: the channel itself.
func (s *Slack) FlatThread(session string) bridge.ThreadID {
	return bridge.ThreadID(s.channel + "/" + flatMark + session)
}

// FlatReply implements bridge.FlatPlace: who answers a message of the channel does so in a thread under it.
func (s *Slack) FlatReply(u bridge.Update) bridge.MessageID {
	_, parent, _ := strings.Cut(string(u.Thread), "/")
	if !isTS(parent) {
		return ""
	}
	return bridge.MessageID(parent)
}

// A thread is <channel>/<ts of its first message>, <channel>/flat/<session> for a session that goes without, or <channel>/ for the
// channel itself.

const flatMark = "flat/"

func isFlat(thread bridge.ThreadID) bool { return strings.Contains(string(thread), "/"+flatMark) }

func threadID(channel, ts string) bridge.ThreadID { return bridge.ThreadID(channel + "/" + ts) }

func mainThread(channel string) bridge.ThreadID { return bridge.ThreadID(channel + "/") }

// place returns the ts of a thread's first message, nothing for the channel itself. A thread of another channel is gone.
func (s *Slack) place(thread bridge.ThreadID, op string) (string, *bridge.DeliveryError) {
	channel, parent, ok := strings.Cut(string(thread), "/")
	if isFlat(thread) {
		parent = ""
	}
	if !ok || channel != s.channel || parent != "" && !isTS(parent) {
		return "", &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: op, Detail: "the thread is of another channel"}
	}
	return parent, nil
}

// A message is its ts, file:<id> for an uploaded file, beside:<id> for the text beside one that was not shown yet, or an answer to a slash
// command.

const (
	fileID     = "file:"
	besideFile = "beside:"
)

func isTS(text string) bool {
	seconds, micros, ok := strings.Cut(text, ".")
	digits := func(s string) bool {
		return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	}
	return ok && digits(seconds) && digits(micros)
}
