// Package telegram shows sessions in a Telegram chat, a topic each, and hears what operators write there. It knows the Bot
// API: its calls, its refusals, its updates and its markup. It knows nothing of the log, of what is sent when or tried again,
// and of which session a topic is.
//
// It calls the Bot API through github.com/go-telegram/bot. What of the library it goes without, and why:
//
//	getUpdates, its webhook    they acknowledge updates before they are handled, and stop for ever at one that they cannot read
//	sendMediaGroup             the library names an album's files after their places in the form: documents would lose their names
//	results                    one tag that it does not know loses a whole message, one that was sent: they are read from the answer
//	errors                     most are bare texts, and some carry what a proxy said, or the token
//	download links             they carry the token
//	inline keyboards           each button is sent with a copy_text, which excludes the callback_data
package telegram

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-telegram/bot"
	"github.com/go-telegram/bot/models"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/platform"
)

// The calls of the Bot API that the adapter makes.
const (
	opSend   = "sendMessage"
	opPhoto  = "sendPhoto"
	opFile   = "sendDocument"
	opAlbum  = "sendMediaGroup"
	opEdit   = "editMessageText"
	opBeside = "editMessageCaption"
	opDelete = "deleteMessage"
	opReact  = "setMessageReaction"
	opOpen   = "createForumTopic"
	opRename = "editForumTopic"
	opClose  = "closeForumTopic"
	opReopen = "reopenForumTopic"
	opErase  = "deleteForumTopic"
	opGet    = "getFile"
	opFetch  = "file" // no method: the download of what getFile names
	opMe     = "getMe"
	opChat   = "getChat"
	opMember = "getChatMember"
	opAction = "sendChatAction"
	opMenu   = "setMyCommands"
	opPoll   = "getUpdates"
	opHook   = "setWebhook"
	opHooked = "getWebhookInfo"
	opUnhook = "deleteWebhook"
	opToast  = "answerCallbackQuery"
)

const (
	sendTimeout = 30 * time.Second
	// askAgain is how long a chat counts as one without topics before the next new thread tries again.
	askAgain    = 10 * time.Minute
	concurrency = 8
)

// Telegram is the adapter. All its methods may be called from several goroutines.
type Telegram struct {
	log      *slog.Logger
	api      *bot.Bot
	sends    *http.Client
	polls    *http.Client
	files    *http.Client  // up and down; they take as long as they take
	base     string        // the URL before a method's name; carries the token
	fileBase string        // the URL before a file's path; likewise
	stall    time.Duration // without a byte of a file, or an answer, until a transfer is given up
	maxFile  int64
	secrets  []bridge.Secret
	pace     []bridge.Pace
	testBots map[string]bool
	home     int64  // the chat as it is configured
	bot      string // its user id, which stands before the colon of its token; empty: the token tells none

	hookURL    string // where updates come to; empty: they are polled
	hookSecret bridge.Secret

	pollFor      time.Duration // how long the server holds a poll
	hookCheck    time.Duration // between two looks at the webhook
	conflictWait time.Duration // after the first poll of a spell that another program's ended
	conflictCalm time.Duration // without such a poll until the spell is over

	mu      sync.Mutex
	paths   map[string]filePath // of files that were asked for, by their references
	chat    int64               // where messages go
	chats   map[int64]bool      // every id that the chat has had, or is about to have
	strange map[int64]bool      // supergroups that are known not to be what our group has become
	me      user
	askMe   time.Time // from when on a webhook's request asks who we are
	// flatUntil is until when new threads are flat without asking; flatAlways when the chat can have no topics at all.
	flatUntil  time.Time
	flatAlways bool
	warned     bool // that the chat has no topics
}

var (
	_ bridge.Platform       = (*Telegram)(nil)
	_ bridge.ThreadRenamer  = (*Telegram)(nil)
	_ bridge.ThreadReopener = (*Telegram)(nil)
	_ bridge.ThreadCloser   = (*Telegram)(nil)
	_ bridge.Editor         = (*Telegram)(nil)
	_ bridge.Deleter        = (*Telegram)(nil)
	_ bridge.Reactor        = (*Telegram)(nil)
	_ bridge.Typer          = (*Telegram)(nil)
	_ bridge.Uploader       = (*Telegram)(nil)
	_ bridge.ThreadEraser   = (*Telegram)(nil)
	_ bridge.FileSource     = (*Telegram)(nil)
	_ bridge.MainPlace      = (*Telegram)(nil)
	_ bridge.FlatPlace      = (*Telegram)(nil)
	_ bridge.Home           = (*Telegram)(nil)
	_ bridge.ThreadLinker   = (*Telegram)(nil)
	_ bridge.Mover          = (*Telegram)(nil)
	_ bridge.Presser        = (*Telegram)(nil)
	_ bridge.PressAnswerer  = (*Telegram)(nil)
	_ bridge.Listener       = (*Telegram)(nil)
	_ bridge.Webhook        = (*Telegram)(nil)
)

// New returns the adapter for one chat. It calls nobody. Its errors do not show the token.
func New(c Config, log *slog.Logger) (*Telegram, error) {
	c, err := c.check()
	if err != nil {
		return nil, err
	}
	log = log.With("platform", "telegram")
	// In a URL, so that a stand-in's token may hold any character; Telegram's own need no escaping.
	escaped := url.PathEscape(c.Token.Reveal())
	t := &Telegram{
		log:      log,
		sends:    outbound.NewClient(outbound.Options{Timeout: c.Timeout, Dial: c.Dial}),
		polls:    outbound.NewClient(outbound.Options{Timeout: pollTimeout + pollGrace, Dial: c.Dial}),
		files:    outbound.NewClient(outbound.Options{Dial: c.Dial}),
		base:     c.APIURL + "/bot" + escaped + "/",
		fileBase: c.APIURL + "/file/bot" + escaped + "/",
		stall:    2 * c.Timeout,
		maxFile:  maxUpload,
		secrets:  []bridge.Secret{c.Token, bridge.Secret(escaped)},
		testBots: platform.IDs(c.TestBotIDs),
		home:     c.ChatID,

		hookURL:    c.WebhookURL,
		hookSecret: c.WebhookSecret,

		pollFor:      pollTimeout,
		hookCheck:    hookCheck,
		conflictWait: conflictWait,
		conflictCalm: conflictCalm,

		chat:    c.ChatID,
		chats:   map[int64]bool{c.ChatID: true},
		strange: map[int64]bool{},
	}
	if c.APIURL != DefaultAPIURL {
		t.maxFile = maxUploadElsewhere
	}
	if c.WebhookSecret != "" {
		t.secrets = append(t.secrets, c.WebhookSecret)
	}
	if c.Rate > 0 {
		t.pace = append(t.pace, bridge.Pace{Calls: c.Rate, Per: time.Minute})
	}
	if c.GlobalRate > 0 {
		t.pace = append(t.pace, bridge.Pace{Calls: c.GlobalRate, Per: time.Second})
	}
	t.api, err = bot.New(escaped,
		bot.WithSkipGetMe(),
		bot.WithServerURL(c.APIURL),
		bot.WithHTTPClient(c.Timeout, answers{t.sends, t.files}),
		bot.WithErrorsHandler(func(error) {}), // it would print; every error that matters is returned too
	)
	if err != nil {
		return nil, fmt.Errorf("the bot token %s", bridge.Redact(err.Error(), t.secrets...))
	}
	if id, _, ok := strings.Cut(c.Token.Reveal(), ":"); ok {
		t.bot = id
		t.me.ID, _ = strconv.ParseInt(id, 10, 64)
	}
	return t, nil
}

// Name implements bridge.Platform.
func (t *Telegram) Name() string { return "telegram" }

// Limits implements bridge.Platform. Topics share the group's limit, and edits and new topics count as messages. An album is as
// many messages as it has files.
func (t *Telegram) Limits() bridge.Limits {
	// A message of a group rings for all of its members but those who have silenced it, unless it is sent with disable_notification
	// (https://core.telegram.org/bots/api#sendmessage).
	// A topic that is closed has a message of its own that says so (forum_topic_closed).
	return bridge.Limits{
		Concurrency: concurrency, Pace: t.pace, Merge: maxMerged, FilesCount: true, Rings: true, ShowsClosing: true, MaxFile: t.maxFile,
	}
}

// OpenThread implements bridge.Platform: one step, a topic, or no call at all where the chat has no topics.
func (t *Telegram) OpenThread(ctx context.Context, s *bridge.Session, _ bridge.Opening) (bridge.ThreadID, string, error) {
	chatID, flat := t.place()
	if flat {
		return flatThread(chatID, s.ID), "", nil
	}
	ctx, x := outbound.Trace(ctx)
	var topic sentMessage
	err := through(ctx, &topic, func(ctx context.Context) error {
		return only(t.api.CreateForumTopic(ctx, &bot.CreateForumTopicParams{ChatID: chatID, Name: platform.ThreadName(s, maxTopic)}))
	})
	if err != nil {
		if withoutTopics(err) {
			t.setFlat(false)
			return flatThread(chatID, s.ID), "", nil
		}
		return "", "", t.classify(opOpen, err, x)
	}
	if topic.Topic == 0 {
		return "", "", &bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: bridge.ScopeDestination, Op: opOpen,
			Detail: "the answer names no topic"}
	}
	t.setForum()
	return topicThread(chatID, topic.Topic), "", nil
}

// Send implements bridge.Platform. A part without a plain form is plain itself and is sent without a parse mode.
func (t *Telegram) Send(ctx context.Context, thread bridge.ThreadID, p bridge.Part) ([]bridge.MessageID, error) {
	chatID, topic, fault := t.find(thread, opSend)
	if fault != nil {
		return nil, fault
	}
	params := &bot.SendMessageParams{
		ChatID:              chatID,
		MessageThreadID:     int(topic),
		Text:                p.Text,
		ParseMode:           parseMode(p),
		LinkPreviewOptions:  &models.LinkPreviewOptions{IsDisabled: new(true)},
		DisableNotification: p.Silent,
		ReplyParameters:     replyTo(p, chatID),
	}
	if len(p.Buttons) > 0 {
		params.ReplyMarkup = keyboard(p.Buttons)
	}
	var sent sentMessage
	if err := t.do(ctx, opSend, &sent, func(ctx context.Context) error { return only(t.api.SendMessage(ctx, params)) }); err != nil {
		return nil, err
	}
	return landed(opSend, chatID, topic, []sentMessage{sent})
}

// parseMode is how a part's text is read: as HTML, unless it is plain itself.
func parseMode(p bridge.Part) models.ParseMode {
	if p.Plain == "" {
		return ""
	}
	return models.ParseModeHTML
}

// replyTo is what a part replies to; nil: nothing.
func replyTo(p bridge.Part, chatID int64) *models.ReplyParameters {
	id, ok := parseMessage(p.ReplyTo, chatID)
	if !ok {
		return nil
	}
	to := &models.ReplyParameters{MessageID: id, AllowSendingWithoutReply: true}
	if p.Excerpt != nil {
		to.Quote, to.QuotePosition = p.Excerpt.Text, p.Excerpt.From
	}
	return to
}

// sentMessage is what is read of a message that we sent, and of a topic that we made.
type sentMessage struct {
	ID    int64 `json:"message_id"`
	Topic int64 `json:"message_thread_id"`
}

// landed returns the ids of messages that were sent to a topic, 0 for none, if that is where they are.
func landed(op string, chatID, topic int64, sent []sentMessage) ([]bridge.MessageID, error) {
	ids := make([]bridge.MessageID, 0, len(sent))
	for _, m := range sent {
		if m.ID == 0 {
			// A message that is scheduled has no id yet; one that was sent has.
			return nil, &bridge.DeliveryError{Reason: bridge.ReasonUnconfirmed, Op: op, Detail: "the answer names no message"}
		}
		if topic != 0 && m.Topic != topic {
			// In private chats Telegram may put a message for a deleted topic into the chat itself.
			return nil, &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: op,
				Detail: "the topic is gone: the message landed outside it"}
		}
		ids = append(ids, messageID(chatID, m.ID))
	}
	if len(ids) == 0 {
		return nil, &bridge.DeliveryError{Reason: bridge.ReasonUnconfirmed, Op: op, Detail: "the answer names no message"}
	}
	return ids, nil
}

// Edit implements bridge.Editor. A part without a plain form is plain itself, as with Send.
func (t *Telegram) Edit(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID, p bridge.Part) error {
	op := opEdit
	if p.Caption {
		op = opBeside
	}
	chatID, n, fault := t.findMessage(thread, id, op)
	if fault != nil {
		return fault
	}
	edit := func(ctx context.Context) error {
		if p.Caption {
			return only(t.api.EditMessageCaption(ctx, &bot.EditMessageCaptionParams{
				ChatID: chatID, MessageID: n, Caption: p.Text, ParseMode: parseMode(p),
			}))
		}
		params := &bot.EditMessageTextParams{
			ChatID: chatID, MessageID: n, Text: p.Text, ParseMode: parseMode(p),
			LinkPreviewOptions: &models.LinkPreviewOptions{IsDisabled: new(true)},
		}
		if len(p.Buttons) > 0 {
			params.ReplyMarkup = keyboard(p.Buttons)
		}
		return only(t.api.EditMessageText(ctx, params))
	}
	return t.do(ctx, op, nil, edit, "not modified", "not_modified")
}

// Delete implements bridge.Deleter. Telegram deletes what is less than 48 hours old.
func (t *Telegram) Delete(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID) error {
	chatID, n, fault := t.findMessage(thread, id, opDelete)
	if fault != nil {
		if fault.Reason == bridge.ReasonMessageGone {
			fault.Reason = bridge.ReasonTooLate // it may well be there, where no call reaches it any more
		}
		return fault
	}
	return t.do(ctx, opDelete, nil, func(ctx context.Context) error {
		return only(t.api.DeleteMessage(ctx, &bot.DeleteMessageParams{ChatID: chatID, MessageID: n}))
	}, "message to delete not found", "message_id_invalid")
}

// React implements bridge.Reactor.
func (t *Telegram) React(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID, s bridge.Sign) error {
	chatID, n, fault := t.findMessage(thread, id, opReact)
	if fault != nil {
		return fault
	}
	emoji := "👌" // both are of the few that Telegram lets anybody react with
	if s == bridge.SignRead {
		emoji = "👀"
	}
	params := &bot.SetMessageReactionParams{ChatID: chatID, MessageID: n, Reaction: []models.ReactionType{
		{Type: models.ReactionTypeTypeEmoji, ReactionTypeEmoji: &models.ReactionTypeEmoji{Type: models.ReactionTypeTypeEmoji, Emoji: emoji}},
	}}
	return t.do(ctx, opReact, nil, func(ctx context.Context) error { return only(t.api.SetMessageReaction(ctx, params)) }, "not_modified")
}

// ShowTyping implements bridge.Typer. Telegram shows it for five seconds, or until the next message.
func (t *Telegram) ShowTyping(ctx context.Context, thread bridge.ThreadID) error {
	chatID, topic, fault := t.find(thread, opAction)
	if fault != nil {
		return fault
	}
	return t.do(ctx, opAction, nil, t.typing(chatID, topic))
}

// typing is the call that shows somebody typing; topic 0 is the chat itself.
func (t *Telegram) typing(chatID, topic int64) func(context.Context) error {
	return func(ctx context.Context) error {
		return only(t.api.SendChatAction(ctx, &bot.SendChatActionParams{
			ChatID: chatID, MessageThreadID: int(topic), Action: models.ChatActionTyping,
		}))
	}
}

// MainThread implements bridge.MainPlace: the chat itself, which in a forum is its General topic.
func (t *Telegram) MainThread() bridge.ThreadID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return generalThread(t.chat)
}

// FlatThread implements bridge.FlatPlace: the chat itself.
func (t *Telegram) FlatThread(session string) bridge.ThreadID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return flatThread(t.chat, session)
}

// FlatReply implements bridge.FlatPlace.
func (t *Telegram) FlatReply(u bridge.Update) bridge.MessageID {
	if u.Thread != t.MainThread() {
		return ""
	}
	return u.ReplyTo
}

// ThreadName implements bridge.ThreadRenamer.
func (t *Telegram) ThreadName(s *bridge.Session) string { return platform.ThreadName(s, maxTopic) }

// RenameThread implements bridge.ThreadRenamer. A flat thread has no name; a topic that has the name already is success.
func (t *Telegram) RenameThread(ctx context.Context, thread bridge.ThreadID, name string) error {
	return t.edit(ctx, opRename, thread, func(ctx context.Context, chatID int64, topic int) error {
		params := &bot.EditForumTopicParams{ChatID: chatID, MessageThreadID: topic, Name: measure.OneLine(name, maxTopic)}
		return only(t.api.EditForumTopic(ctx, params))
	})
}

// CloseThread implements bridge.ThreadCloser. A topic that is closed already is success, and so is one of a private chat, where
// there is no closing.
func (t *Telegram) CloseThread(ctx context.Context, thread bridge.ThreadID) error {
	return t.edit(ctx, opClose, thread, func(ctx context.Context, chatID int64, topic int) error {
		return only(t.api.CloseForumTopic(ctx, &bot.CloseForumTopicParams{ChatID: chatID, MessageThreadID: topic}))
	})
}

// ReopenThread implements bridge.ThreadReopener. A topic that is open already is success.
func (t *Telegram) ReopenThread(ctx context.Context, thread bridge.ThreadID) error {
	return t.edit(ctx, opReopen, thread, func(ctx context.Context, chatID int64, topic int) error {
		return only(t.api.ReopenForumTopic(ctx, &bot.ReopenForumTopicParams{ChatID: chatID, MessageThreadID: topic}))
	})
}

// EraseThread implements bridge.ThreadEraser: the topic is deleted. That needs the right Delete messages.
func (t *Telegram) EraseThread(ctx context.Context, thread bridge.ThreadID) (left int, err error) {
	chatID, topic, fault := t.find(thread, opErase)
	if fault != nil || topic == 0 || chatID > 0 {
		return 0, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: opErase, Detail: "it is no topic of the present group"}
	}
	err = t.do(ctx, opErase, nil, func(ctx context.Context) error {
		return only(t.api.DeleteForumTopic(ctx, &bot.DeleteForumTopicParams{ChatID: chatID, MessageThreadID: int(topic)}))
	}, "topic_id_invalid", "topic_deleted")
	if platform.ReasonOf(err) == bridge.ReasonThreadGone {
		err = nil
	}
	return 0, err
}

func (t *Telegram) edit(ctx context.Context, op string, thread bridge.ThreadID, do func(context.Context, int64, int) error) error {
	chatID, topic, fault := t.find(thread, op)
	switch {
	case fault != nil:
		return fault
	case topic == 0, chatID > 0 && op != opRename:
		return nil
	}
	return t.do(ctx, op, nil, func(ctx context.Context) error { return do(ctx, chatID, int(topic)) }, "topic_not_modified", "not modified")
}

// Move implements bridge.Mover. The old id stays known: updates and flat threads of it are the same chat's. A move of another
// chat than the configured one is of the past and nothing to follow, but for one that led to it.
func (t *Telegram) Move(to string) error {
	first, second, _ := strings.Cut(to, movedTo)
	from, err := ParseChatID(first)
	if err != nil {
		return fmt.Errorf("the old chat id %w", err)
	}
	id, err := ParseChatID(second)
	if err != nil {
		return fmt.Errorf("the new chat id %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case id == t.home:
		t.chats[from] = true
	case from == t.home && t.chat != id:
		t.chat = id
		t.chats[id] = true
		t.flatAlways, t.flatUntil = false, time.Time{}
		t.log.Warn("the Telegram group has a new id and is followed there; set TELEGRAM_CHAT_ID to it", "chat", id)
	}
	return nil
}

// movedTo stands between the old and the new id in a DeliveryError's MovedTo, so that a move that was kept is known as another
// chat's when TELEGRAM_CHAT_ID has changed.
const movedTo = ">"

// place returns the chat, and whether a new thread there is flat without asking.
func (t *Telegram) place() (chatID int64, flat bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.chat, t.flatAlways || time.Now().Before(t.flatUntil)
}

// setFlat records that the chat has no topics, and says once how to get them. always is for a chat that cannot have any.
func (t *Telegram) setFlat(always bool) {
	t.mu.Lock()
	t.flatAlways = t.flatAlways || always
	t.flatUntil = time.Now().Add(askAgain)
	warn := !t.warned
	t.warned = true
	t.mu.Unlock()
	if warn {
		const how = "the Telegram chat has no topics, so all sessions share it and operators must reply to a visitor's message; " +
			"to give each session a topic, turn on Topics in the group's settings and make the bot an administrator with " +
			"the right Manage Topics (in a private chat: turn on topics for the bot at @BotFather)"
		t.log.Warn(how)
	}
}

func (t *Telegram) setForum() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flatAlways, t.flatUntil, t.warned = false, time.Time{}, false
}

// find returns where a thread is now; topic 0 is the chat itself. A thread of another chat than the present one is gone.
func (t *Telegram) find(thread bridge.ThreadID, op string) (chatID, topic int64, fault *bridge.DeliveryError) {
	chatID, topic, ok := parseThread(thread)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !ok || !t.chats[chatID] {
		return 0, 0, &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: op, Detail: "the thread is of another chat"}
	}
	return t.chat, topic, nil
}

// findMessage returns where a message is now. One of another chat, or of the basic group that this one was, is gone.
func (t *Telegram) findMessage(thread bridge.ThreadID, id bridge.MessageID, op string) (chatID int64, n int, fault *bridge.DeliveryError) {
	chatID, _, fault = t.find(thread, op)
	if fault != nil {
		return 0, 0, fault
	}
	n, ok := parseMessage(id, chatID)
	if !ok {
		return 0, 0, &bridge.DeliveryError{Reason: bridge.ReasonMessageGone, Op: op, Detail: "the message is of another chat"}
	}
	return chatID, n, nil
}

// withoutTopics recognises the answers of a chat that has no topics.
func withoutTopics(err error) bool {
	return says(err, "not a forum", "channel_forum_missing", "not a supergroup")
}
