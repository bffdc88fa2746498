package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
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
	relay    *Relay
	lane     *lane // of the same platform
	platform string
	chat     bridge.Platform

	// until is until when an update may have been taken by a version that did not know the bots apart.
	until time.Time

	mu      sync.Mutex
	nobodys map[string]bool // places that were looked for long enough, and are of no session
}

// Inbox returns what takes a platform's updates, and whether the platform has any. Updates may be accepted from Start on, in
// every process that works on the store.
func (r *Relay) Inbox(platform string) (bridge.Inbox, bool) {
	for _, in := range r.inboxes {
		if in.platform == platform {
			return in, true
		}
	}
	return nil, false
}

// run receives until ctx ends. When the adapter gives up, the verdict on its error says when it is called again.
func (in *inbox) run(ctx context.Context, listener bridge.Listener) {
	failures := 0
	for ctx.Err() == nil {
		began := time.Now()
		err := bridge.Protect(in.lane.log, opListen, func() error { return listener.Listen(ctx, in) })
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > maxBackoff {
			failures = 0
		}
		failures++
		cause := bridge.AsDelivery(err, opListen, "the receiver ended without a cause")
		if cause == nil || errors.Is(err, bridge.ErrUnavailable) {
			cause = &bridge.DeliveryError{
				Reason: bridge.ReasonTransient, Scope: bridge.ScopeDestination, Op: opListen, Detail: "the store is unavailable",
			}
		}
		in.relay.meter.Called(in.platform, opListen, cause.Reason)
		o := decide(cause, circumstance{failures: failures, jitter: jitter})
		wait := min(max(o.wait, o.pause, backoff(failures, maxProbe, func() float64 { return (1 + jitter()) / 2 })), maxBackoff)
		if cause.Reason == bridge.ReasonRateLimited {
			wait = max(cause.RetryAfter, firstBackoff)
		}
		in.lane.log.Warn("receiving failed", "reason", cause.Reason, "op", cause.Op, "detail", cause.Detail,
			"attempt", failures, "wait", wait.Round(time.Millisecond))
		sleep(ctx, wait)
	}
}

// introduce notes when the platform came to be served, the first time. It is called before anything is accepted.
func (in *inbox) introduce(ctx context.Context) error {
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
	if t, err = in.relay.store.Now(ctx); err != nil {
		return t, err
	}
	var b bridge.Batch
	for _, key := range keys {
		b.If = append(b.If, bridge.Row{Table: tableBegun, Key: key})
		b.Rows = append(b.Rows, bridge.Row{Table: tableBegun, Key: key, Value: []byte(t.UTC().Format(time.RFC3339Nano))})
	}
	if _, err = in.relay.store.Commit(ctx, b); errors.Is(err, bridge.ErrChanged) {
		return in.noted(ctx, keys[0]) // another bridge was faster
	}
	return t, err
}

func (in *inbox) noted(ctx context.Context, key string) (time.Time, error) {
	value, err := in.relay.store.Get(ctx, tableBegun, key)
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

// takenEarlier says whether an update was taken by a version that did not know the bots apart. It kept the ids of the platform's
// updates: one of them is this update unless it was taken before this one happened. The position that it kept may be another bot's
// and is not gone by: Telegram itself knows up to where each bot has confirmed its updates.
func (in *inbox) takenEarlier(ctx context.Context, u bridge.Update) (bool, error) {
	if u.Bot == "" || in.until.IsZero() {
		return false, nil
	}
	now, err := in.relay.store.Now(ctx)
	if err != nil || now.After(in.until) {
		return false, err
	}
	seqs, err := in.relay.store.Claimed(ctx, "", "update\n"+in.platform+"\n"+u.ID)
	if err != nil || seqs[0] != 0 && !u.At.After(seqs[0].Time()) {
		return err == nil, err
	}
	if u.Act == "" || u.Kind != bridge.UpdateMessage {
		return false, nil
	}
	o, err := in.origin(ctx, u.Message) // another bot may have told of it
	return err == nil && o.Message == in.platform+":"+string(u.Message), err
}

// Cursor implements bridge.Inbox.
func (in *inbox) Cursor(ctx context.Context, bot string) (string, error) {
	value, err := in.relay.store.Get(ctx, tableCursors, in.receiver(bot))
	return string(value), err
}

// Accept implements bridge.Inbox: one atomic write holds the update's claim, what it brings about, and the receiver's new
// position.
func (in *inbox) Accept(ctx context.Context, u bridge.Update) error {
	b := bridge.Batch{}
	if u.ID != "" {
		b.Claims = []bridge.Claim{{Key: "update\n" + in.receiver(u.Bot) + "\n" + u.ID}}
	}
	if u.Act != "" {
		b.Claims = append(b.Claims, bridge.Claim{Key: "act\n" + in.platform + "\n" + digest([]byte(u.Act))})
	}
	if u.Cursor != "" {
		b.Rows = []bridge.Row{{Table: tableCursors, Key: in.receiver(u.Bot), Value: []byte(u.Cursor)}}
	}
	known, err := in.takenEarlier(ctx, u)
	if err != nil {
		return err
	}
	if known {
		_, err = in.relay.commit(ctx, b)
		return err
	}
	res, err := in.take(ctx, u, b)
	if err == nil && !res.Duplicate {
		in.relay.meter.Updated(in.platform, u.Kind)
	}
	if err == nil && res.Duplicate && len(b.Rows) > 0 {
		_, err = in.relay.commit(ctx, bridge.Batch{Rows: b.Rows}) // known already; the position moves on all the same
	}
	return err
}

func (in *inbox) take(ctx context.Context, u bridge.Update, b bridge.Batch) (bridge.Result, error) {
	switch u.Kind {
	case bridge.UpdateMessage:
	case bridge.UpdateEdit, bridge.UpdateDelete, bridge.UpdateReaction:
		if in.stranger(u) {
			return in.relay.commit(ctx, b)
		}
		for range commandTries {
			res, err := in.revise(ctx, u, b)
			if !errors.Is(err, bridge.ErrChanged) {
				return res, err
			}
		}
		return bridge.Result{}, fmt.Errorf("%w: others change the same message", bridge.ErrUnavailable)
	case bridge.UpdateTyping:
		if in.stranger(u) {
			return bridge.Result{}, nil
		}
		return bridge.Result{}, in.operatorTypes(ctx, u)
	default:
		return in.relay.commit(ctx, b)
	}
	m := marksOf(u)
	if cmd := m.asked(); cmd != nil {
		return in.command(ctx, u, cmd, b)
	}
	session, err := in.sessionOf(ctx, u)
	if err != nil {
		return bridge.Result{}, err
	}
	if session == "" || u.Slash {
		if in.stranger(u) {
			return in.refuse(ctx, u, session, b)
		}
		if u.Command != nil {
			return in.unknown(ctx, order{u: u, who: in.account(u), b: b}, m.name)
		}
		if u.Flat {
			b.Events = []bridge.Event{in.answer(u, "This chat has no topics: reply to a visitor's message, so that I know who it is for.")}
		}
		return in.alive(ctx, u, b)
	}
	return in.word(ctx, u, m, session, b)
}

// attachments are the files of an update, with the links by which the visitor's app gets them.
func (in *inbox) attachments(u bridge.Update) []bridge.Attachment {
	var out []bridge.Attachment
	for _, a := range u.Files {
		a.UploadedFrom, a.Status = in.platform, "ready"
		if a.ID == "" {
			a.ID = in.platform + ":" + string(u.Message) + ":" + digest([]byte(a.BridgeFileID))
		}
		if in.relay.files != nil {
			a.URL = in.relay.files.Link(in.platform, a)
		}
		out = append(out, a)
	}
	return out
}

// How long, and how often, an update's session is looked for in a process that does not own the lane.
const (
	strangerWait  = 3 * time.Second
	strangerPause = 100 * time.Millisecond
	maxNobodys    = 1000
)

// sessionOf finds the session that an update is for. Calls of this lane that are under way may be about to make the thread
// or the message that it names; it is looked up again when they are recorded.
func (in *inbox) sessionOf(ctx context.Context, u bridge.Update) (string, error) {
	session, err := in.lookUp(ctx, u)
	if err != nil || session != "" || u.Flat && u.ReplyTo == "" {
		return session, err
	}
	if !in.lane.owns() {
		return in.sessionOfOthers(ctx, u)
	}
	in.lane.settled(ctx)
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
	known := in.nobodys[place]
	in.mu.Unlock()
	if known {
		return "", nil
	}
	tick := time.NewTicker(strangerPause)
	defer tick.Stop()
	for end := time.Now().Add(strangerWait); time.Now().Before(end); {
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
	if in.nobodys == nil || len(in.nobodys) >= maxNobodys {
		in.nobodys = map[string]bool{}
	}
	in.nobodys[place] = true
	return "", nil
}

func (in *inbox) lookUp(ctx context.Context, u bridge.Update) (string, error) {
	if !u.Flat {
		value, err := in.relay.store.Get(ctx, tablePlaces+in.platform, string(u.Thread))
		if f, ok := in.chat.(bridge.FlatPlace); ok && err == nil && value == nil {
			if id := f.FlatReply(u); id != "" { // of a session that goes without a thread, it may be
				o, err := in.origin(ctx, id)
				return o.Session, err
			}
		}
		return string(value), err
	}
	if u.ReplyTo == "" {
		return "", nil
	}
	o, err := in.origin(ctx, u.ReplyTo)
	if err != nil || o.Session != "" {
		return o.Session, err
	}
	return in.sessionAskedAbout(ctx, u.ReplyTo)
}

// origin returns what a message on the platform is; nothing for one that is not of a session.
func (in *inbox) origin(ctx context.Context, id bridge.MessageID) (origin, error) {
	var o origin
	value, err := in.relay.store.Get(ctx, tableOrigins+in.platform, string(id))
	if err == nil && value != nil {
		err = json.Unmarshal(value, &o)
	}
	if err == nil && o.Message != "" && o.Side == "" {
		o.Side, err = earlierSide(ctx, in.relay.store, o.Session, o.Message)
	}
	return o, err
}

// named is origin for a message that a person names: it may have been sent just now, and not be recorded yet.
func (in *inbox) named(ctx context.Context, id bridge.MessageID) (origin, error) {
	if _, err := in.sessionOf(ctx, bridge.Update{Flat: true, ReplyTo: id}); err != nil {
		return origin{}, err
	}
	return in.origin(ctx, id)
}

// answer is the event by which the bridge answers where an operator wrote.
func (in *inbox) answer(u bridge.Update, text string) bridge.Event {
	return bridge.Event{
		Type: bridge.TypeAnswer, Origin: in.platform,
		Body: mustJSON(bridge.Answer{Platform: in.platform, Thread: u.Thread, ReplyTo: u.Message, Text: text}),
	}
}
