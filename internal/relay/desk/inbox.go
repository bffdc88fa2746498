package desk

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// The tables of the receivers: key platform, or where Update.Bot names a bot, platform, slash, bot.
const (
	tableCursors = "cursors" // their positions
	tableBegun   = "begun"   // when the platform came to be served
)

// keyBots stands behind a platform in a key of tableBegun: since when updates are known by their bots, too.
const keyBots = "/bots"

// inbox takes one platform's updates into the log.
type inbox struct {
	desk     *Desk
	lane     Lane // of the same platform
	platform string
	chat     bridge.Platform
	messages msgmap.Map

	// until is until when an update may have been taken by a version that did not know the bots apart.
	until time.Time

	mu            sync.Mutex
	negativeCache map[string]bool // places that were looked for long enough, and are of no session
}

// register notes when the platform came to be served, the first time. It is called before anything is accepted.
func (in *inbox) register(ctx context.Context) error {
	began, err := in.Begun(ctx)
	if err != nil {
		return err
	}
	keys := []string{in.platform + keyBots}
	if began.IsZero() {
		keys = append(keys, in.platform)
	}
	apart, err := in.since(ctx, keys)
	if err == nil && !began.IsZero() && apart.After(began) { // another version came to serve it
		in.until = apart.Add(bridge.ClaimTTL)
	}
	return err
}

// since returns the moment that is kept under the first of some keys. Where there is none, the present one is kept under all.
func (in *inbox) since(ctx context.Context, keys []string) (time.Time, error) {
	t, err := in.noted(ctx, keys[0])
	if err != nil || !t.IsZero() {
		return t, err
	}
	if t, err = in.desk.store.Now(ctx); err != nil {
		return t, err
	}
	var b bridge.Batch
	for _, key := range keys {
		b.If = append(b.If, bridge.Row{Table: tableBegun, Key: key})
		b.Rows = append(b.Rows, bridge.Row{Table: tableBegun, Key: key, Value: []byte(t.UTC().Format(time.RFC3339Nano))})
	}
	if _, err = in.desk.store.Commit(ctx, b); errors.Is(err, bridge.ErrChanged) {
		return in.noted(ctx, keys[0]) // another bridge was faster
	}
	return t, err
}

func (in *inbox) noted(ctx context.Context, key string) (time.Time, error) {
	value, err := in.desk.store.Get(ctx, tableBegun, key)
	if err != nil || value == nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, string(value))
}

// Begun implements bridge.Inbox.
func (in *inbox) Begun(ctx context.Context) (time.Time, error) { return in.noted(ctx, in.platform) }

// receiver is what the updates of a bot are known by.
func (in *inbox) receiver(bot string) string {
	if bot == "" {
		return in.platform
	}
	return in.platform + "/" + bot
}

// admittedEarlier says whether an update was taken by a version that did not know the bots apart. It kept the ids of the platform's
// updates: one of them is this update unless it was taken before this one happened. The position that it kept may be another bot's
// and is not gone by: Telegram itself knows up to where each bot has confirmed its updates.
func (in *inbox) admittedEarlier(ctx context.Context, u bridge.Update) (bool, error) {
	if u.Bot == "" || in.until.IsZero() {
		return false, nil
	}
	now, err := in.desk.store.Now(ctx)
	if err != nil || now.After(in.until) {
		return false, err
	}
	seqs, err := in.desk.store.Claimed(ctx, "", "update\n"+in.platform+"\n"+u.ID)
	if err != nil || seqs[0] != 0 && !u.At.After(seqs[0].Time()) {
		return err == nil, err
	}
	if u.Act == "" || u.Kind != bridge.UpdateMessage {
		return false, nil
	}
	o, err := in.messages.Origin(ctx, u.Message) // another bot may have told of it
	return err == nil && o.Message == in.platform+":"+string(u.Message), err
}

// Cursor implements bridge.Inbox.
func (in *inbox) Cursor(ctx context.Context, bot string) (string, error) {
	value, err := in.desk.store.Get(ctx, tableCursors, in.receiver(bot))
	return string(value), err
}

// withoutCards returns an update with the card numbers masked in what was written.
func withoutCards(u bridge.Update) bridge.Update {
	u.Text = bridge.MaskCards(u.Text)
	if u.Command != nil {
		u.Command = &bridge.Command{Name: u.Command.Name, Args: bridge.MaskCards(u.Command.Args)}
	}
	u.Files = slices.Clone(u.Files)
	for i := range u.Files {
		u.Files[i].Filename = bridge.MaskCards(u.Files[i].Filename)
	}
	return u
}

// Accept implements bridge.Inbox: one atomic write holds the update's claim, what it brings about, and the receiver's new
// position.
func (in *inbox) Accept(ctx context.Context, u bridge.Update) error {
	if in.desk.maskCards {
		u = withoutCards(u)
	}
	b := bridge.Batch{}
	if u.ID != "" {
		b.Claims = []bridge.Claim{{Key: "update\n" + in.receiver(u.Bot) + "\n" + u.ID}}
	}
	if u.Act != "" {
		b.Claims = append(b.Claims, bridge.Claim{Key: "act\n" + in.platform + "\n" + bridge.Digest([]byte(u.Act))})
	}
	if u.Cursor != "" {
		b.Rows = []bridge.Row{{Table: tableCursors, Key: in.receiver(u.Bot), Value: []byte(u.Cursor)}}
	}
	known, err := in.admittedEarlier(ctx, u)
	if err != nil {
		return err
	}
	if known {
		_, err = in.commit(ctx, b)
		return err
	}
	ctx, answered := in.answersPress(ctx, u)
	res, err := in.admit(ctx, u, b)
	answered(err)
	if err == nil && !res.Duplicate && in.desk.meter != nil {
		in.desk.meter.Updated(in.platform, u.Kind)
	}
	if err == nil && res.Duplicate && len(b.Rows) > 0 {
		_, err = in.commit(ctx, bridge.Batch{Rows: b.Rows}) // known already; the position moves on all the same
	}
	return err
}

func (in *inbox) admit(ctx context.Context, u bridge.Update, b bridge.Batch) (bridge.Result, error) {
	switch u.Kind {
	case bridge.UpdateMessage:
	case bridge.UpdateEdit, bridge.UpdateDelete, bridge.UpdateReaction:
		if in.notAllowed(u) {
			return in.commit(ctx, b)
		}
		return tried(errBusyMessage, func() (bridge.Result, error) { return in.revise(ctx, u, b) })
	case bridge.UpdateRename:
		return in.renamed(ctx, u, b)
	case bridge.UpdatePress:
		return in.press(ctx, u, b)
	case bridge.UpdateTyping:
		if in.notAllowed(u) {
			return bridge.Result{}, nil
		}
		session, err := in.lookUp(ctx, u)
		if err != nil || session == "" {
			return bridge.Result{}, err
		}
		if !in.desk.internal { // what is typed is talk, most likely
			in.desk.typing.begins(in.typist(u), in.platform, session)
		}
		return bridge.Result{}, nil
	default:
		return in.commit(ctx, b)
	}
	m := marksOf(u)
	if cmd := m.asked(); cmd != nil {
		in.desk.typing.ends(in.typist(u), false)
		return in.command(ctx, u, cmd, b)
	}
	session, err := in.sessionOf(ctx, u)
	if err != nil {
		return bridge.Result{}, err
	}
	if session == "" || u.Slash {
		if in.notAllowed(u) {
			return in.deny(ctx, u, session, b)
		}
		if u.Command != nil || isMistyped(m) {
			return in.unknown(ctx, commandContext{u: u, who: in.account(u), b: b}, m)
		}
		if answer, listed, err := in.answerToList(ctx, u); err != nil || listed {
			b.Events = []bridge.Event{answer}
			if err != nil {
				return bridge.Result{}, err
			}
			return in.commitWithPresence(ctx, u, b)
		}
		if u.Flat {
			b.Events = []bridge.Event{in.answer(u, in.say().NoTopics)}
		}
		return in.commitWithPresence(ctx, u, b)
	}
	return in.handleOperatorMessage(ctx, u, m, session, b)
}

// answerToList is what is said to who replies to a list of visitors who wait: where their threads are. listed says that it is one.
func (in *inbox) answerToList(ctx context.Context, u bridge.Update) (answer bridge.Event, listed bool, err error) {
	if u.ReplyTo == "" {
		return answer, false, nil
	}
	sessions, err := in.messages.Listed(ctx, u.ReplyTo)
	if err != nil || len(sessions) == 0 {
		return answer, false, err
	}
	linker, links := in.chat.(bridge.ThreadLinker)
	var open []string
	for _, session := range sessions {
		t, err := in.messages.Thread(ctx, session)
		if err != nil {
			return answer, true, err
		}
		if t.ID == "" || !links || linker.ThreadLink(t.ID) == "" {
			continue
		}
		s, err := in.desk.session(ctx, session)
		if err != nil {
			return answer, true, err
		}
		open = append(open, s.DisplayName()+" · "+linker.ThreadLink(t.ID))
	}
	say := in.say()
	text := say.ListIsNoThread
	switch {
	case len(open) > 0:
		text = say.ListThreadsAt.With(strings.Join(open, "; "))
	case links:
		text = say.ListThreadSoon
	}
	return in.answer(u, text), true, nil
}

// attachments are the files of an update, with the links by which the visitor's app gets them.
func (in *inbox) attachments(u bridge.Update) []bridge.Attachment {
	var out []bridge.Attachment
	for _, a := range u.Files {
		a.UploadedFrom, a.Status = in.platform, "ready"
		if a.ID == "" {
			a.ID = in.platform + ":" + string(u.Message) + ":" + bridge.Digest([]byte(a.BridgeFileID))
		}
		if in.desk.links != nil {
			a.URL = in.desk.links.Link(in.platform, a)
		}
		out = append(out, a)
	}
	return out
}

// How long, and how often, an update's session is looked for in a process that does not own the lane.
const (
	unknownWait      = 3 * time.Second
	unknownPause     = 100 * time.Millisecond
	maxNegativeCache = 1000
)

// sessionOf finds the session that an update is for. Calls of this lane that are under way may be about to make the thread
// or the message that it names; it is looked up again when they are recorded.
func (in *inbox) sessionOf(ctx context.Context, u bridge.Update) (string, error) {
	session, err := in.lookUp(ctx, u)
	if err != nil || session != "" || u.Flat && u.ReplyTo == "" {
		return session, err
	}
	if !in.lane.Owns() {
		return in.sessionOfOthers(ctx, u)
	}
	in.lane.Settled(ctx)
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return in.lookUp(ctx, u)
}

// sessionOfOthers is sessionOf where another process owns the lane: whose calls are under way cannot be seen from here, so it
// is looked up for a while. A place that was nobody's for that long is not waited for again, or the operators' talk among
// themselves would hold up what is for visitors.
func (in *inbox) sessionOfOthers(ctx context.Context, u bridge.Update) (string, error) {
	place := string(u.Thread)
	if u.Flat {
		place += "\n" + string(u.ReplyTo)
	}
	in.mu.Lock()
	known := in.negativeCache[place]
	in.mu.Unlock()
	if known {
		return "", nil
	}
	tick := time.NewTicker(unknownPause)
	defer tick.Stop()
	for end := time.Now().Add(unknownWait); time.Now().Before(end); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if session, err := in.lookUp(ctx, u); err != nil || session != "" {
			return session, err
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.negativeCache == nil || len(in.negativeCache) >= maxNegativeCache {
		in.negativeCache = map[string]bool{}
	}
	in.negativeCache[place] = true
	return "", nil
}

func (in *inbox) lookUp(ctx context.Context, u bridge.Update) (string, error) {
	if !u.Flat {
		session, err := in.messages.SessionAt(ctx, u.Thread)
		if f, ok := in.chat.(bridge.FlatPlace); ok && err == nil && session == "" {
			if id := f.FlatReply(u); id != "" { // of a session that goes without a thread, it may be
				o, err := in.messages.Origin(ctx, id)
				return o.Session, err
			}
		}
		return session, err
	}
	if u.ReplyTo == "" {
		return "", nil
	}
	o, err := in.messages.Origin(ctx, u.ReplyTo)
	if err != nil || o.Session != "" {
		return o.Session, err
	}
	return in.sessionAskedAbout(ctx, u.ReplyTo)
}

// originAwaitingSends is origin for a message that a person names: it may have been sent just now, and not be recorded yet.
func (in *inbox) originAwaitingSends(ctx context.Context, id bridge.MessageID) (msgmap.Origin, error) {
	if _, err := in.sessionOf(ctx, bridge.Update{Flat: true, ReplyTo: id}); err != nil {
		return msgmap.Origin{}, err
	}
	return in.messages.Origin(ctx, id)
}

// answer is the event by which the bridge answers where an operator wrote.
func (in *inbox) answer(u bridge.Update, text string) bridge.Event {
	return in.answerEvent(in.answerOf(u, text))
}

func (in *inbox) answerOf(u bridge.Update, text string) bridge.Answer {
	return bridge.Answer{Platform: in.platform, Thread: u.Thread, ReplyTo: u.Message, Text: text}
}

func (in *inbox) answerEvent(a bridge.Answer) bridge.Event {
	return bridge.Event{Type: bridge.TypeAnswer, Origin: in.platform, Body: bridge.MustJSON(a)}
}
