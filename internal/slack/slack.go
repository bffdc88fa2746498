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
//	GetFile         it writes the whole of a file, from its beginning, and knows no range
//	PostWebhook     its errors carry the URL, which is a secret; and it reads no refusal's word
package slack

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
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
	token   bridge.Secret
	secrets []bridge.Secret
	pace    []bridge.Pace
	channel string
	config  Config // checked

	shareWait   time.Duration // for files to be shown once they were uploaded
	sharePause  time.Duration // between two looks whether they are
	reconcile   time.Duration // between two looks for what the Events API has missed
	missedPause time.Duration // between a sign that something was missed and the look for it
	socketPause time.Duration // before the second connection of those that are lost at once; it doubles
	silentFor   time.Duration // how long a connection may say nothing
	helloWithin time.Duration // from the address of a connection to Slack's hello on it

	taking chan struct{} // holds one token: updates are accepted one after the other

	mu       sync.Mutex
	me       identity
	askMe    time.Time // from when on a request asks who we are
	names    map[string]name
	seen     map[string]bool // ids of updates that were accepted
	seenList []string        // the same, oldest first
	at       position
	told     string        // the position that the inbox has
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
		token:   c.BotToken,
		pace:    paceOf(c),
		channel: c.ChannelID,
		config:  c,

		shareWait:   shareWait,
		sharePause:  sharePause,
		reconcile:   reconcileEvery,
		missedPause: missedPause,
		socketPause: socketPause,
		silentFor:   silentFor,
		helloWithin: helloWithin,

		taking:  make(chan struct{}, 1),
		names:   map[string]name{},
		seen:    map[string]bool{},
		signs:   map[bridge.MessageID]bridge.Sign{},
		uploads: map[string][]string{},
		shares:  map[string]bridge.MessageID{},
		said:    map[string]bool{},
		missed:  make(chan struct{}, 1),
	}
	if c.SigningSecret != "" {
		s.refused = 1
	}
	for _, secret := range []bridge.Secret{c.BotToken, c.AppToken, c.SigningSecret} {
		if secret != "" {
			s.secrets = append(s.secrets, secret)
		}
	}
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
	return bridge.Limits{Concurrency: concurrency, Pace: s.pace, Allowed: allowedRate, MaxFile: maxFile, Quotes: true}
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
	ts, _, err := s.post(ctx, "", partOf(quotation{}, nil, cardOf(session)), markThread, o.Key)
	if err != nil {
		return "", "", err
	}
	return threadID(s.channel, ts), "", nil
}

// EditCard implements bridge.CardEditor.
func (s *Slack) EditCard(ctx context.Context, thread bridge.ThreadID, session *bridge.Session) error {
	parent, fault := s.place(thread, opEdit)
	if fault != nil || parent == "" {
		return platform.OrNil(fault)
	}
	return ofParent(s.update(ctx, parent, partOf(quotation{}, nil, cardOf(session))))
}

// Send implements bridge.Platform. A part without a plain form is plain itself and is sent without blocks. What answers a slash
// command goes where it was given, for its author's eyes alone.
func (s *Slack) Send(ctx context.Context, thread bridge.ThreadID, p bridge.Part) ([]bridge.MessageID, error) {
	parent, fault := s.place(thread, opPost)
	if fault != nil {
		return nil, fault
	}
	if to := s.responseURL(p.ReplyTo, time.Now()); to != nil {
		id, done, err := s.respond(ctx, to, p)
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

// takeAway deletes a message that landed where it does not belong.
func (s *Slack) takeAway(ctx context.Context, ts string) {
	err := s.do(ctx, opDelete, nil, func(ctx context.Context) error {
		_, _, err := s.api.DeleteMessageContext(ctx, s.channel, ts)
		return err
	})
	if err != nil {
		s.log.Warn("a message that landed outside its thread stays in the channel", "op", opDelete, "message", ts, "err", err)
	}
}

// post posts a part, in a thread or in the channel, and returns its ts and the thread that it landed in.
func (s *Slack) post(ctx context.Context, parent string, p bridge.Part, kind, key string) (ts, landed string, err error) {
	options := append(s.body(p), slackapi.MsgOptionDisableLinkUnfurl(), slackapi.MsgOptionDisableMediaUnfurl())
	if parent != "" {
		options = append(options, slackapi.MsgOptionTS(parent))
	}
	if key != "" {
		options = append(options, slackapi.MsgOptionMetadata(slackapi.SlackMetadata{EventType: kind, EventPayload: map[string]any{"key": key}}))
	}
	if s.config.Username != "" {
		options = append(options, slackapi.MsgOptionUsername(s.config.Username))
	}
	if s.config.IconEmoji != "" {
		options = append(options, slackapi.MsgOptionIconEmoji(s.config.IconEmoji))
	}
	var sent struct {
		TS      string  `json:"ts"`
		Message message `json:"message"`
	}
	err = s.do(ctx, opPost, &sent, s.joining(func(ctx context.Context) error {
		_, _, err := s.api.PostMessageContext(ctx, s.channel, options...)
		return err
	}))
	ts, landed = sent.TS, sent.Message.ThreadTS
	if err == nil && ts == "" {
		err = &bridge.DeliveryError{Reason: bridge.ReasonUnconfirmed, Op: opPost, Detail: "the answer names no message"}
	}
	if landed == ts {
		landed = "" // it heads a thread of its own
	}
	return ts, landed, err
}

// body is what a part says.
func (s *Slack) body(p bridge.Part) []slackapi.MsgOption {
	blocks, plain := blocksOf(p)
	options := []slackapi.MsgOption{slackapi.MsgOptionText(fallback(plain), false), slackapi.MsgOptionParse(false)}
	if blocks == nil {
		return append(options, slackapi.MsgOptionDisableMarkdown())
	}
	return append(options, slackapi.MsgOptionBlocks(blocks...))
}

// blocksOf returns a part's blocks and its plain text; there are no blocks in a part that is plain itself.
func blocksOf(p bridge.Part) ([]slackapi.Block, string) {
	if p.Plain == "" {
		return nil, p.Text
	}
	blocks, _ := p.Markup.([]slackapi.Block)
	return blocks, p.Plain
}

// join makes the bot a member of the channel, which it may do by itself in a public one.
func (s *Slack) join(ctx context.Context) error {
	_, _, _, err := s.api.JoinConversationContext(ctx, s.channel)
	return err
}

// find looks for what a call has posted whose answer was lost, by its mark, and returns its ts or nothing.
func (s *Slack) find(ctx context.Context, parent, kind, key string, since time.Time) (string, error) {
	oldest := tsOf(since.Add(-clockSlack))
	var found string
	look := func(m *message) bool {
		if m.Metadata != nil && m.Metadata.EventType == kind && m.Metadata.Payload.Key == key && s.own(m) {
			found = m.TS
		}
		return found == ""
	}
	err := s.messages(ctx, query{Timestamp: parent, Oldest: oldest, IncludeAllMetadata: true}, maxPages, look)
	switch d, _ := errors.AsType[*bridge.DeliveryError](err); {
	case err == nil:
		return found, nil
	case d.Reason == bridge.ReasonThreadGone:
		// The message may have landed in the channel.
		if ts, err := s.find(ctx, "", kind, key, since); err == nil && ts != "" {
			s.takeAway(ctx, ts)
		}
		return "", err
	case d.Reason == bridge.ReasonRejected, d.Reason == bridge.ReasonAuth && strings.HasPrefix(d.Detail, "missing_scope"):
		s.once("lookup", "it cannot be looked whether a message is shown already, so that it may be shown twice", "op", d.Op, "err", err)
		return "", nil
	}
	return "", err
}

// own says whether we have posted a message. Who we are may not be known: others have no reason to use our marks.
func (s *Slack) own(m *message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.BotID != "" && (s.me.bot == "" || m.BotID == s.me.bot)
}

// query asks for messages: of a thread, by the Timestamp of its first one, or of the channel without.
type query = slackapi.GetConversationRepliesParameters

// messages reads a thread, oldest first, or the channel, newest first, until each returns false or so many pages are read. Of a
// thread the first message comes with every page.
func (s *Slack) messages(ctx context.Context, q query, pages int, each func(*message) bool) error {
	goOn := true
	for range pages {
		next, err := s.page(ctx, q, func(m *message) { goOn = goOn && each(m) })
		if err != nil || next == "" || !goOn {
			return err
		}
		q.Cursor = next
	}
	return nil
}

// page reads a page of messages, and returns where the next one begins; nothing for the last. A message that cannot be read is left out.
func (s *Slack) page(ctx context.Context, q query, each func(*message)) (next string, err error) {
	q.ChannelID, q.Limit = s.channel, pageSize
	op, call := opReplies, func(ctx context.Context) error {
		_, _, _, err := s.api.GetConversationRepliesContext(ctx, &q)
		return err
	}
	if q.Timestamp == "" {
		op, call = opHistory, func(ctx context.Context) error {
			return only(s.api.GetConversationHistoryContext(ctx, &slackapi.GetConversationHistoryParameters{
				ChannelID: q.ChannelID, Cursor: q.Cursor, Limit: q.Limit, Oldest: q.Oldest, IncludeAllMetadata: q.IncludeAllMetadata,
			}))
		}
	}
	var page struct {
		Messages []json.RawMessage `json:"messages"`
		Meta     struct {
			Next string `json:"next_cursor"`
		} `json:"response_metadata"`
	}
	if err := s.read(ctx, op, &page, call); err != nil {
		return "", err
	}
	for _, raw := range page.Messages {
		var m message
		if decode(raw, &m) == nil && m.TS != "" {
			each(&m)
		}
	}
	return page.Meta.Next, nil
}

// Edit implements bridge.Editor. The share of a file has no text.
func (s *Slack) Edit(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID, p bridge.Part) error {
	if _, fault := s.place(thread, opEdit); fault != nil {
		return fault
	}
	if !isTS(string(id)) {
		return &bridge.DeliveryError{Reason: bridge.ReasonTooLate, Op: opEdit, Detail: "it is no message with a text"}
	}
	return s.update(ctx, string(id), p)
}

func (s *Slack) update(ctx context.Context, ts string, p bridge.Part) error {
	err := s.do(ctx, opEdit, nil, func(ctx context.Context) error {
		blocks, plain := blocksOf(p)
		if blocks == nil {
			// chat.update takes no mrkdwn, and without blocks keeps those of before.
			_, _, _, err := s.api.UpdateMessageContext(ctx, s.channel, ts,
				slackapi.MsgOptionText(fallback(plain), false), slackapi.MsgOptionParse(false), slackapi.MsgOptionBlocks())
			return err
		}
		_, _, _, err := s.api.UpdateMessageContext(ctx, s.channel, ts, s.body(p)...)
		return err
	})
	return repeatable(err)
}

// repeatable is the failure of a change that comes to the same when it is made again.
func repeatable(err error) error {
	if d, ok := errors.AsType[*bridge.DeliveryError](err); ok {
		return platform.Repeatable(d)
	}
	return err
}

// ofParent is the failure of a change of the message that heads a thread.
func ofParent(err error) error {
	if d, ok := errors.AsType[*bridge.DeliveryError](err); ok && d.Reason == bridge.ReasonMessageGone {
		d.Reason = bridge.ReasonThreadGone
	}
	return err
}

// Delete implements bridge.Deleter.
func (s *Slack) Delete(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID) error {
	if _, fault := s.place(thread, opDelete); fault != nil {
		return fault
	}
	if ref, ok := strings.CutPrefix(string(id), fileID); ok {
		return s.deleteFile(ctx, ref)
	}
	if !isTS(string(id)) {
		return nil // an answer for one person's eyes: it goes by itself
	}
	return repeatable(s.do(ctx, opDelete, nil, func(ctx context.Context) error {
		_, _, err := s.api.DeleteMessageContext(ctx, s.channel, string(id))
		if says(err, "message_not_found") {
			return nil
		}
		return err
	}))
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

// signEmoji returns the emoji of a sign, and that of the other one.
func signEmoji(sign bridge.Sign) (name, other string) {
	if sign == bridge.SignRead {
		return "eyes", "white_check_mark"
	}
	return "white_check_mark", "eyes"
}

// React implements bridge.Reactor. Taking a reaction away is the scarcer call, 20 a minute: it is not made for the first sign of
// a message, as long as this process has not put another one there.
func (s *Slack) React(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID, sign bridge.Sign) error {
	if _, fault := s.place(thread, opReact); fault != nil {
		return fault
	}
	if !isTS(string(id)) {
		return nil
	}
	s.mu.Lock()
	before := s.signs[id]
	s.mu.Unlock()
	name, other := signEmoji(sign)
	if err := s.addReaction(ctx, string(id), name); err != nil {
		return err
	}
	if before != sign && (before != "" || sign == bridge.SignRead) {
		if err := s.removeReaction(ctx, string(id), other); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.signs) >= maxSigns {
		clear(s.signs)
	}
	s.signs[id] = sign
	return nil
}

func (s *Slack) addReaction(ctx context.Context, ts, name string) error {
	return repeatable(s.do(ctx, opReact, nil, func(ctx context.Context) error {
		err := s.api.AddReactionContext(ctx, name, slackapi.NewRefToMessage(s.channel, ts))
		if says(err, "already_reacted") {
			return nil
		}
		return err
	}))
}

func (s *Slack) removeReaction(ctx context.Context, ts, name string) error {
	return repeatable(s.do(ctx, opUnreact, nil, func(ctx context.Context) error {
		err := s.api.RemoveReactionContext(ctx, name, slackapi.NewRefToMessage(s.channel, ts))
		if says(err, "no_reaction") {
			return nil
		}
		return err
	}))
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

// A message is its ts, file:<id> for an uploaded file, or an answer to a slash command.

const fileID = "file:"

func isTS(text string) bool {
	seconds, micros, ok := strings.Cut(text, ".")
	digits := func(s string) bool {
		return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	}
	return ok && digits(seconds) && digits(micros)
}
