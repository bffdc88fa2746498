// Package discord shows sessions in a Discord channel, a thread each, and hears what operators write there. It knows Discord's
// HTTP API, its gateway, its refusals and its Markdown. It knows nothing of the log, of what is sent when or tried again, and of
// which session a thread is.
//
// There are two adapters: Discord is a bot, Hook an incoming webhook that only sends.
//
// It calls Discord through github.com/bwmarrin/discordgo, a request for each call, and sends that library's structs. What of the
// library it goes without, and why:
//
//	typed methods      they lock the session's buckets, which sleep with the lock held, whatever the context; and they have no nonce
//	rate limits        limits.go refuses a call that Discord would refuse, instead of sleeping; the relay decides when it is made
//	repetitions        they repeat what may have been done
//	errors             they carry URLs, and so tokens, and not always the status; answers are recorded below the library
//	files              it holds them in memory whole; here they are read while the library's request is sent
//	MessageEdit        it writes its own fields ID and Channel into the request; WebhookEdit has the same form without them
//	what is read       see wire.go: one part that it does not know loses a whole message, a large permission a whole channel
//	VerifyInteraction  it takes a request of any age, and reads one of any length
//	gateway            it waits for the first packets with the session locked and without a deadline; a request to reconnect in that
//	                   time locks it for ever; it notices a dead connection after five lost acknowledgements; and it resumes
//	                   elsewhere than it is told to
package discord

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
)

// The calls that the adapters make, by their names in Discord's definition of its API.
const (
	opSend     = "create_message"
	opThread   = "create_thread_from_message"
	opPost     = "create_thread"
	opEdit     = "update_message"
	opDelete   = "delete_message"
	opUpload   = "create_message_with_files"
	opReact    = "add_my_message_reaction"
	opUnreact  = "delete_my_message_reaction"
	opType     = "trigger_typing_indicator"
	opRename   = "update_channel_name"
	opArchive  = "update_channel"
	opChannel  = "get_channel"
	opMessage  = "get_message"
	opMessages = "list_messages"
	opActive   = "get_active_guild_threads"
	opArchived = "list_public_archived_threads"
	opMember   = "get_guild_member"
	opGuild    = "get_guild"

	opEraseThread = "delete_channel"
	opMe          = "get_my_user"
	opApp         = "get_my_application"
	opMenu        = "list_guild_application_commands"
	opSetMenu     = "bulk_set_guild_application_commands"
	opCallback    = "create_interaction_response"
	opAnswer      = "update_original_webhook_message"
	opFollow      = "create_followup_message"
	opFile        = "attachment"
	opGateway     = "gateway"
	opFind        = "get_bot_gateway"
	opExecute     = "execute_webhook"
	opHookEdit    = "update_webhook_message"
	opHookDelete  = "delete_webhook_message"
)

const (
	concurrency = 16
	// allowedRate is how many calls a minute Discord takes of a bot in all: 50 a second. What it allows each channel is kept apart
	// (https://discord.com/developers/docs/topics/rate-limits).
	allowedRate = 50 * 60
	// nonceFor is for how long Discord is trusted to know a nonce again: it says "the past few minutes".
	nonceFor = 2 * time.Minute
	// clockSlack is how far a message may lie before the time at which it was sent, with both by Discord's clock as far as it is
	// known.
	clockSlack = 3 * time.Second

	weekInMinutes = 10080 // the longest auto_archive_duration
)

// Discord is the bot's adapter. All its methods may be called from several goroutines.
type Discord struct {
	log      *slog.Logger
	rest     *rest
	token    bridge.Secret
	channel  string // the operators' channel
	apiHost  string // of the server whose API is called
	gateway  bool
	notify   string            // whom a word calls while nobody is known to be there, as a part's Mention names them; empty: nobody
	key      ed25519.PublicKey // of interactions by HTTP; nil: none are expected
	pace     []bridge.Pace
	testBots map[string]bool
	clock    clock
	budget   *budget
	times    timings
	waiting  int            // events between the gateway and the inbox, at most
	session  gatewaySession // of Listen

	mu      sync.Mutex
	home    homeChannel
	self    string               // the bot's user id; empty until it was asked for
	pending map[string]chan bool // interactions that are not answered yet; closed when they are
	known   directory
	faces   faceWebhook

	// These have locks of their own.
	sent     recent[string]    // message → the nonce that it was sent with
	looked   recent[snowflake] // nonce → up to which message it was looked for
	signs    recent[string]    // thread and message → the sign of ours on it
	named    recent[time.Time] // thread → until when it keeps its name
	accepted recent[struct{}]  // ids of updates that were accepted
	nicks    recent[string]    // user → the name in the server
	faced    recent[struct{}]  // messages that the webhook for faces wrote
	silent   silence
}

var (
	_ bridge.Platform       = (*Discord)(nil)
	_ bridge.CardEditor     = (*Discord)(nil)
	_ bridge.Editor         = (*Discord)(nil)
	_ bridge.Deleter        = (*Discord)(nil)
	_ bridge.Uploader       = (*Discord)(nil)
	_ bridge.FileSource     = (*Discord)(nil)
	_ bridge.Reactor        = (*Discord)(nil)
	_ bridge.Typer          = (*Discord)(nil)
	_ bridge.ThreadRenamer  = (*Discord)(nil)
	_ bridge.ThreadReopener = (*Discord)(nil)
	_ bridge.ThreadCloser   = (*Discord)(nil)
	_ bridge.MainPlace      = (*Discord)(nil)
	_ bridge.FlatPlace      = (*Discord)(nil)
	_ bridge.Listener       = (*Discord)(nil)
	_ bridge.Webhook        = (*Discord)(nil)
	_ bridge.Presser        = (*Discord)(nil)
)

// New returns the bot's adapter for one channel. It calls nobody. Its errors do not show the token.
func New(c Config, log *slog.Logger) (*Discord, error) {
	c, err := c.check()
	if err != nil {
		return nil, err
	}
	rest, err := newRest(c, c.APIURL, c.Token, c.Token)
	if err != nil {
		return nil, err
	}
	d := &Discord{
		log:      log.With("platform", "discord"),
		rest:     rest,
		token:    c.Token,
		channel:  c.ChannelID,
		gateway:  c.EnableGateway,
		notify:   c.Notify,
		pace:     paceOf(c),
		testBots: platform.IDs(c.TestBotIDs),
		clock:    clock{now: time.Now, wait: platform.Wait},
		budget:   newBudget(),
		times:    defaultTimings(),
		waiting:  maxWaiting,
		pending:  map[string]chan bool{},
	}
	if u, err := url.Parse(c.APIURL); err == nil {
		d.apiHost = strings.ToLower(u.Hostname())
	}
	if c.PublicKey != "" {
		d.key, _ = ParsePublicKey(c.PublicKey) // checked
	}
	return d, nil
}

func paceOf(c Config) []bridge.Pace {
	if c.Rate <= 0 {
		return nil
	}
	return []bridge.Pace{{Calls: c.Rate, Per: time.Second}}
}

// Name implements bridge.Platform.
func (d *Discord) Name() string { return "discord" }

// Limits implements bridge.Platform. What Discord allows each channel it tells with its answers, and is kept to as they say.
func (d *Discord) Limits() bridge.Limits {
	return bridge.Limits{Concurrency: concurrency, Pace: d.pace, Allowed: allowedRate, Merge: maxMerged, MaxFile: maxUpload}
}

// MainThread implements bridge.MainPlace. A forum has no place outside its posts; what the channel is, is known once anything was
// sent or received.
func (d *Discord) MainThread() bridge.ThreadID {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.home.known || d.home.forum {
		return ""
	}
	return d.threadID("")
}

// FlatThread implements bridge.FlatPlace: the channel itself. A forum is no such place.
func (d *Discord) FlatThread(session string) bridge.ThreadID {
	if d.MainThread() == "" {
		return ""
	}
	return d.threadID(flatMark + session)
}

// FlatReply implements bridge.FlatPlace.
func (d *Discord) FlatReply(u bridge.Update) bridge.MessageID {
	if u.Thread != d.threadID("") {
		return ""
	}
	return u.ReplyTo
}

// post is a message as it is sent: discordgo's, with what that lacks.
type post struct {
	discordgo.MessageSend
	Attachments []attached `json:"attachments,omitempty"`
	Nonce       string     `json:"nonce,omitempty"`
	Enforce     bool       `json:"enforce_nonce,omitempty"`
}

// attached is a file of a message that is sent.
type attached struct {
	ID       int    `json:"id"`
	Filename string `json:"filename"`
}

// allowed lets a message ping the given people, the given role or those who are there, and nobody else, whatever its text says.
//
// What rings: in a thread only its members hear of a message that mentions nobody, and a mention makes its users members
// (https://support.discord.com/hc/en-us/articles/4403205878423-Threads-FAQ). A message with SUPPRESS_NOTIFICATIONS rings for nobody, and
// allowed_mentions bounds whom a mention reaches (https://discord.com/developers/docs/resources/message#allowed-mentions-object); @here
// and a role that not everybody may mention take the permission MENTION_EVERYONE.
func allowed(ids []string) *discordgo.MessageAllowedMentions {
	m := &discordgo.MessageAllowedMentions{Parse: []discordgo.AllowedMentionType{}}
	for _, id := range ids {
		role, isRole := strings.CutPrefix(id, roleMark)
		f, ok := parseSnowflake(role)
		switch {
		case id == notifyHere:
			m.Parse = append(m.Parse, discordgo.AllowedMentionTypeEveryone)
		case ok && isRole:
			m.Roles = append(m.Roles, f.String())
		case ok && !slices.Contains(m.Users, f.String()):
			m.Users = append(m.Users, f.String())
		}
	}
	return m
}

// postOf returns a part as a message. Links show no previews: a visitor's link is not opened before an operator does it.
func postOf(p bridge.Part) post {
	m := post{MessageSend: discordgo.MessageSend{
		Content: p.Text, AllowedMentions: allowed(p.Mention), Flags: discordgo.MessageFlagsSuppressEmbeds,
	}}
	if p.Silent {
		m.Flags |= discordgo.MessageFlagsSuppressNotifications
	}
	if id, ok := parseSnowflake(string(p.ReplyTo)); ok {
		// What it replies to may be gone; it is shown all the same.
		m.Reference = &discordgo.MessageReference{MessageID: id.String(), FailIfNotExists: new(false)}
	}
	return m
}

// cardPost is a session's card as a message. It is silent: the first message rings.
func cardPost(s *bridge.Session, buttons [][]bridge.Button) post {
	return post{MessageSend: discordgo.MessageSend{
		Components: components(buttons, ""),
		Embeds:     []*discordgo.MessageEmbed{cardOf(bridge.Card{Session: s})}, AllowedMentions: allowed(nil), Flags: discordgo.MessageFlagsSuppressNotifications,
	}}
}

// textEdit and cardEdit are changes of messages, be they a bot's or a webhook's: discordgo's MessageEdit would write more. mark is what
// buttons tell of the thread.
func textEdit(p bridge.Part, mark string) discordgo.WebhookEdit {
	e := discordgo.WebhookEdit{Content: &p.Text, AllowedMentions: allowed(p.Mention)}
	if p.Buttons != nil {
		e.Components = new(components(p.Buttons, mark))
	}
	return e
}

func cardEdit(c bridge.Card, buttons [][]bridge.Button) discordgo.WebhookEdit {
	e := discordgo.WebhookEdit{Embeds: &[]*discordgo.MessageEmbed{cardOf(c)}, AllowedMentions: allowed(nil)}
	if buttons != nil {
		e.Components = new(components(buttons, ""))
	}
	return e
}

// withNonce gives a message the nonce by which Discord, for some minutes, recognises it when it is sent again.
func (m post) withNonce(nonce string) post {
	m.Nonce, m.Enforce = nonce, nonce != ""
	return m
}

// nonceOf names what is sent to a place. It is the same at every attempt, and at most 25 characters long.
func nonceOf(key, place string) string {
	if key == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(key + "\x00" + place))
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

// Send implements bridge.Platform.
func (d *Discord) Send(ctx context.Context, thread bridge.ThreadID, p bridge.Part) ([]bridge.MessageID, error) {
	if isInteraction(p.ReplyTo) {
		id, late, err := d.answer(ctx, thread, p)
		if !late {
			return messageIDs(id), err
		}
		p.ReplyTo = ""
	}
	return d.say(ctx, opSend, thread, p, nil)
}

// say sends a message, with files or without.
func (d *Discord) say(ctx context.Context, op string, thread bridge.ThreadID, p bridge.Part, files []bridge.File) ([]bridge.MessageID, error) {
	place, isHome, fault := d.find(thread, op)
	if fault != nil {
		return nil, fault
	}
	m := postOf(p).withNonce(nonceOf(p.Key, place))
	if len(files) == 0 {
		m.Components = components(p.Buttons, buttonMark(thread))
	}
	if found, err := d.sentBefore(ctx, place, isHome, m, files, p); found != "" || err != nil {
		return messageIDs(found), err
	}
	if id, said, err := d.sayAs(ctx, place, isHome, p, m, files); said {
		return messageIDs(id), err
	}
	if err := rewind(files); err != nil {
		return nil, &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: op, Detail: "the files cannot be read again"}
	}
	m.Attachments = attachedAll(files)
	c := call{op: op, isHomeChannel: isHome}
	c.setMessage(m, files)
	id, err := d.create(ctx, c, place, m.Nonce)
	return messageIDs(id), err
}

func messageIDs(id string) []bridge.MessageID {
	if id == "" {
		return nil
	}
	return []bridge.MessageID{bridge.MessageID(id)}
}

// create sends a message and returns its id.
func (d *Discord) create(ctx context.Context, c call, place, nonce string) (string, error) {
	c.method, c.path = http.MethodPost, "/channels/"+place+"/messages"
	var sent executed
	if err := d.rest.do(ctx, c, &sent); err != nil {
		return "", d.orRoom(ctx, err) // a message to an archived thread makes it active
	}
	if sent.ID == "" {
		return "", unreadable(c)
	}
	d.remember(sent.ID, nonce)
	return sent.ID, nil
}

// remember keeps what a message was sent with: Discord does not tell it for long.
func (d *Discord) remember(id, nonce string) {
	if nonce != "" {
		d.sent.put(id, nonce)
	}
}

// EditCard implements bridge.CardEditor. The card is the message that the thread began at: it stands in the channel above, or is
// the first of a forum's post.
func (d *Discord) EditCard(ctx context.Context, thread bridge.ThreadID, c bridge.Card, buttons [][]bridge.Button) error {
	id, isHome, fault := d.find(thread, opEdit)
	if fault != nil || isHome {
		return platform.OrNil(fault)
	}
	h, err := d.where(ctx)
	if err != nil {
		return err
	}
	place := d.channel
	if h.forum {
		place = id
	}
	return d.rest.do(ctx, call{
		op: opEdit, method: http.MethodPatch, path: "/channels/" + place + "/messages/" + id, idempotent: true,
		body: cardEdit(c, buttons),
	}, nil)
}

// Edit implements bridge.Editor.
func (d *Discord) Edit(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID, p bridge.Part) error {
	path, fault := d.messagePath(thread, id, opEdit)
	if fault != nil {
		return fault
	}
	if d.hookWrote(id) {
		return d.editFaced(ctx, thread, id, p)
	}
	err := d.rest.do(ctx, call{
		op: opEdit, method: http.MethodPatch, path: path, idempotent: true, body: textEdit(p, buttonMark(thread)),
	}, nil)
	if codeOf(err) == discordgo.ErrCodeCannotEditFromAnotherUser {
		return d.editFaced(ctx, thread, id, p)
	}
	return err
}

// Delete implements bridge.Deleter.
func (d *Discord) Delete(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID) error {
	path, fault := d.messagePath(thread, id, opDelete)
	if fault != nil {
		return goneIsDone(fault)
	}
	if d.hookWrote(id) {
		if done, err := d.byHook(ctx, opHookDelete, http.MethodDelete, thread, id, nil); done {
			return goneIsDone(err)
		}
	}
	err := d.rest.do(ctx, call{op: opDelete, method: http.MethodDelete, path: path, idempotent: true}, nil)
	if codeOf(err) == discordgo.ErrCodeMissingPermissions { // to delete what the webhook wrote takes its token, or Manage Messages
		if done, err := d.byHook(ctx, opHookDelete, http.MethodDelete, thread, id, nil); done {
			return goneIsDone(err)
		}
	}
	return goneIsDone(err)
}

// goneIsDone takes the error of a deletion for success when it says that there is nothing to delete.
func goneIsDone(err error) error {
	switch platform.ReasonOf(err) {
	case bridge.ReasonMessageGone, bridge.ReasonThreadGone:
		return nil
	}
	return err
}

// messagePath returns the path of a message. What is no message's id is of no message.
func (d *Discord) messagePath(thread bridge.ThreadID, id bridge.MessageID, op string) (string, *bridge.DeliveryError) {
	place, _, fault := d.find(thread, op)
	if fault != nil {
		return "", fault
	}
	f, ok := parseSnowflake(string(id))
	if !ok {
		return "", &bridge.DeliveryError{Reason: bridge.ReasonMessageGone, Op: op, Detail: "it is no message of Discord's"}
	}
	return "/channels/" + place + "/messages/" + f.String(), nil
}

// The signs as Discord shows them.
const (
	emojiDelivered = "✅"
	emojiRead      = "👀"
)

// React implements bridge.Reactor. The new sign is put on before the other is taken off, so that there is always one.
func (d *Discord) React(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID, s bridge.Sign) error {
	path, fault := d.messagePath(thread, id, opReact)
	if fault != nil {
		return fault
	}
	emoji, other := emojiDelivered, emojiRead
	if s == bridge.SignRead {
		emoji, other = other, emoji
	}
	before, known := d.signs.get(path)
	if before == emoji {
		return nil
	}
	if err := d.react(ctx, opReact, http.MethodPut, path, emoji); err != nil {
		return err
	}
	// What was delivered and no more has no other sign; what is read may carry one from before the bridge's start.
	if before == other || !known && s == bridge.SignRead {
		if err := d.react(ctx, opUnreact, http.MethodDelete, path, other); err != nil && codeOf(err) != discordgo.ErrCodeUnknownEmoji {
			return err
		}
	}
	d.signs.put(path, emoji)
	return nil
}

func (d *Discord) react(ctx context.Context, op, method, path, emoji string) error {
	return d.rest.do(ctx, call{op: op, method: method, path: path + "/reactions/" + url.PathEscape(emoji) + "/@me", idempotent: true}, nil)
}

// ShowTyping implements bridge.Typer.
func (d *Discord) ShowTyping(ctx context.Context, thread bridge.ThreadID) error {
	place, isHome, fault := d.find(thread, opType)
	if fault != nil {
		return fault
	}
	return d.rest.do(ctx, call{op: opType, method: http.MethodPost, path: "/channels/" + place + "/typing", isHomeChannel: isHome, idempotent: true}, nil)
}

// A thread is <channel>/<thread>, <channel>/flat/<session> for a session that goes without, or <channel>/ for the channel itself.

func (d *Discord) threadID(thread string) bridge.ThreadID {
	return bridge.ThreadID(d.channel + "/" + thread)
}

// find returns what a thread is on Discord, and whether it is the operators' channel itself. A thread of another channel than the
// present one is gone: nobody hears what is written there.
func (d *Discord) find(thread bridge.ThreadID, op string) (place string, isHome bool, fault *bridge.DeliveryError) {
	rest, ok := strings.CutPrefix(string(thread), d.channel+"/")
	if ok && (rest == "" || strings.HasPrefix(rest, flatMark)) {
		return d.channel, true, nil
	}
	id, isID := parseSnowflake(rest)
	if !ok || !isID {
		return "", false, &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: op, Detail: "the thread is of another channel"}
	}
	d.silent.heard(id.String()) // or soon will be
	return id.String(), false, nil
}

// me returns the bot's user id, and asks when it is not known yet.
func (d *Discord) me(ctx context.Context) (string, error) {
	d.mu.Lock()
	id := d.self
	d.mu.Unlock()
	if id != "" {
		return id, nil
	}
	var u user
	if err := d.get(ctx, opMe, "/users/@me", false, &u); err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.self = u.ID
	return u.ID, nil
}
