package slack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
	"github.com/pocketping/bridge/internal/words"
)

const (
	// overlap is how far behind the last accepted update it is looked for others: Slack repeats an event that was not taken at
	// once, after a minute and after five, so that newer ones may have overtaken it.
	overlap = 10 * time.Minute
	// overlapAge is how old a position may be for that. What was accepted longer ago may not be known as accepted any more.
	overlapAge = bridge.ClaimTTL / 2
	// editReach is how old a message may be whose edit is found.
	editReach = 15 * time.Minute
	// threadReach is how old a thread's first message may be, before the position, whose replies are found.
	threadReach = 30 * 24 * time.Hour
	// briefly is overlap, and briefReach threadReach, where a connection was left in order: what was on its way by it comes again
	// in any case, but behind what is newer.
	briefly    = time.Minute
	briefReach = 2 * 24 * time.Hour
	// storeEvery is how far the position may move, over what is of no visitor, without the inbox being told.
	storeEvery = 5 * time.Minute
	// catchUpFor is how long it is looked for what was missed; a visitor's present conversation waits meanwhile.
	catchUpFor = 5 * time.Minute
	// waitsLive is from when on what is said now does not wait for what was missed, where Slack asks to wait.
	waitsLive = 5 * time.Second
	// reconcileEvery is how often it is looked for what the Events API may have missed.
	reconcileEvery = 15 * time.Minute
	// missedPause lies between a sign that something was missed and the look for it: repetitions go on meanwhile.
	missedPause = time.Minute
	// maxSeen is how many accepted updates are known here; the inbox knows all of the last day.
	maxSeen = 10000
	// maxMissed ends the list of what was missed.
	maxMissed = 20000
)

var errTooMany = errors.New("there are too many messages")

// position is how far updates were accepted, by Slack's clock, and when receiving began: what is older is not looked for.
type position struct {
	at    string
	began string
}

// parsePosition reads a cursor, “<ts> <ts>”. Anything else is no position.
func parsePosition(cursor string) (position, bool) {
	at, began, _ := strings.Cut(cursor, " ")
	if !isTS(at) || !isTS(began) {
		return position{}, false
	}
	return position{at: at, began: began}, true
}

func (p position) String() string {
	if p.at == "" {
		return ""
	}
	return p.at + " " + p.began
}

// to returns the position after an update of this time; it never goes back.
func (p position) to(ts string) position {
	if later(ts, p.at) {
		p.at = ts
	}
	return p
}

// from returns the ts after which everything is to be looked at; margin is how far before the position that lies.
func (p position) from(now time.Time, margin time.Duration) string {
	at := timeOf(p.at)
	if now.Sub(at) > overlapAge {
		return p.at
	}
	if back := tsOf(at.Add(-margin)); later(back, p.began) {
		return back
	}
	return p.began
}

// Listen implements bridge.Listener: it keeps a socket, or looks after what the Events API's requests may have missed. It ends
// with ctx.Err(), with what the inbox returned, or with a *bridge.DeliveryError.
func (s *Slack) Listen(ctx context.Context, inbox bridge.Inbox) error {
	if s.config.AppToken == "" && s.config.SigningSecret == "" {
		s.log.Warn("operators' replies on Slack will not arrive, since there is no way for them; set SLACK_APP_TOKEN for Socket Mode, " +
			"or SLACK_SIGNING_SECRET for the Events API at PUBLIC_URL/webhooks/slack")
		<-ctx.Done()
		return ctx.Err()
	}
	resume := s.pauseIngress()
	defer resume()
	if err := s.prepare(ctx); err != nil {
		return platform.Ended(ctx, err)
	}
	if err := s.begin(ctx, inbox); err != nil {
		return platform.Ended(ctx, err)
	}
	if s.config.AppToken != "" {
		return platform.Ended(ctx, s.keepSocket(ctx, inbox, resume))
	}
	return platform.Ended(ctx, s.keepUp(ctx, inbox, resume))
}

// prepare learns who the bot is, tells which rights it lacks, and goes into the channel: outside it hears nothing. Only a token
// that is not accepted ends it; everything else is worth a warning, and updates are received all the same.
func (s *Slack) prepare(ctx context.Context) error {
	scopes, err := s.learnIdentity(ctx)
	if err != nil {
		if platform.ReasonOf(err) == bridge.ReasonAuth || ctx.Err() != nil {
			return err
		}
		s.warn(opMe, err)
	}
	if missing := lacking(scopes, s.config); len(missing) > 0 {
		s.log.Warn("the Slack app lacks scopes; add them under OAuth & Permissions and install it again, or make it anew from "+
			"deploy/slack-manifest.yaml", "op", opMe, "missing", strings.Join(missing, ", "))
	}
	err = s.do(ctx, opJoin, nil, s.join)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if d, _ := errors.AsType[*bridge.DeliveryError](err); d != nil && !strings.HasPrefix(d.Detail, "method_not_supported") {
		s.warn(opJoin, err)
	}
	return nil
}

// lacking returns the scopes that the bot should have and does not. Where Slack tells none, nothing is known to lack.
func lacking(scopes []string, c Config) []string {
	if len(scopes) == 0 {
		return nil
	}
	wanted := []string{"chat:write", "users:read", "reactions:read", "reactions:write", "files:read", "files:write", "app_mentions:read"}
	switch c.ChannelID[0] {
	case 'G':
		wanted = append(wanted, "groups:history")
	case 'D':
		wanted = append(wanted, "im:history")
	default:
		// Private channels have ids with a C, too.
		if !slices.Contains(scopes, "groups:history") {
			wanted = append(wanted, "channels:history")
		}
	}
	if c.Username != "" || c.IconEmoji != "" {
		wanted = append(wanted, "chat:write.customize")
	}
	return slices.DeleteFunc(wanted, func(scope string) bool { return slices.Contains(scopes, scope) })
}

func (s *Slack) warn(op string, err error) {
	s.log.Warn("a call at the start of receiving failed", "op", op, "err", err)
}

// begin reads the position; without one, receiving begins now.
func (s *Slack) begin(ctx context.Context, inbox bridge.Inbox) error {
	cursor, err := inbox.Cursor(ctx, "")
	if err != nil {
		return err
	}
	at, ok := parsePosition(cursor)
	if !ok {
		// What operators write in the first threads may come before the first connection.
		begun, err := inbox.Begun(ctx)
		if err != nil {
			return err
		}
		now := tsOf(begun)
		at = position{at: now, began: now}
		if err := inbox.Accept(ctx, bridge.Update{Cursor: at.String()}); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.acked = at, at.at
	return nil
}

// keepUp is Listen where the Events API's requests bring the updates: it looks for what they did not bring, at the beginning, when
// there is a sign that something is missing, and now and then. The position moves with it alone: requests may come to several
// bridges, of which none knows what the others have. resume is called when requests need not wait any more.
func (s *Slack) keepUp(ctx context.Context, inbox bridge.Inbox, resume func()) error {
	for {
		look := s.catchUpApart(ctx, inbox, span{overlap, threadReach, true})
		var err error
		select {
		case <-look.limited:
			resume()
			err = <-look.ended
		case err = <-look.ended:
		}
		if err != nil {
			return err
		}
		resume()
		timer := time.NewTimer(s.reconcile)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.missed:
			_ = platform.Wait(ctx, s.missedPause)
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// pauseIngress makes requests wait until what was missed is accepted; the function that it returns lets them go on.
func (s *Slack) pauseIngress() (resume func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pauseIngressLocked()
}

func (s *Slack) pauseIngressLocked() (resume func()) {
	gate := make(chan struct{})
	s.gate = gate
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(gate)
		if s.gate == gate {
			s.gate = nil
		}
	})
}

// noteMissed notes that something may have been missed.
func (s *Slack) noteMissed() {
	select {
	case s.missed <- struct{}{}:
	default:
	}
}

// accept hands an update to the inbox, unless it was accepted already. Updates are accepted one after the other. The position
// moves to the given one; where that is empty, it stays.
func (s *Slack) accept(ctx context.Context, inbox bridge.Inbox, c converted, moves bool) error {
	return s.exclusively(ctx, func() error { return s.acceptExclusively(ctx, inbox, c, moves) })
}

// exclusively does something while nobody else accepts anything.
func (s *Slack) exclusively(ctx context.Context, do func() error) error {
	select {
	case s.acceptToken <- struct{}{}:
		defer func() { <-s.acceptToken }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return do()
}

// acceptExclusively is accept while nobody else accepts anything.
func (s *Slack) acceptExclusively(ctx context.Context, inbox bridge.Inbox, c converted, moves bool) error {
	s.mu.Lock()
	known, at := s.seen[c.ID], s.at
	s.mu.Unlock()
	if c.ID == "" || known {
		return nil
	}
	if moves && c.at != "" {
		at = at.to(c.at)
	}
	c.Cursor = at.String()
	if err := inbox.Accept(ctx, c.Update); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.acked = at, at.at
	s.seen[c.ID] = true
	s.seenList = append(s.seenList, c.ID)
	if len(s.seenList) > maxSeen {
		delete(s.seen, s.seenList[0])
		s.seenList = s.seenList[1:]
	}
	return nil
}

// position is how far updates were accepted.
func (s *Slack) position() position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// catching is a look for what was missed that goes on by itself once Slack has said that it is asked too often: what is said now
// does not wait for it, and the position stands still until it ends.
type catching struct {
	limited chan struct{} // has a value when Slack has said so
	ended   chan error    // has the result when it has ended
}

// catchUpApart begins catchUpFrom, from the position there is, in a goroutine of its own, which ends with ctx.
func (s *Slack) catchUpApart(ctx context.Context, inbox bridge.Inbox, of span) *catching {
	at, c := s.position(), &catching{limited: make(chan struct{}, 1), ended: make(chan error, 1)}
	go func() {
		c.ended <- bridge.Protect(s.log, opHistory, func() error {
			return s.catchUpFrom(ctx, inbox, at, of, func(wait time.Duration) {
				if wait < s.waitsLive {
					return
				}
				select {
				case c.limited <- struct{}{}:
					s.log.Warn("Slack lets the bridge read what was said before no faster; what is said now goes on, and what was said while "+
						"nobody listened comes later", "op", opHistory, "wait", wait)
				default:
				}
			})
		})
	}()
	return c
}

// span says how much is caught up with: how far before the position, how old a thread may be, and whether the position moves.
type span struct {
	margin, reach time.Duration
	moves         bool
}

// catchUpFrom accepts what was said since a position, in the order in which it was said. Slack's histories tell messages and edits of
// late messages; a deletion or a reaction that nobody heard cannot be found. limited is told, each time, that Slack asks to wait, and for
// how long; nil: nobody is.
func (s *Slack) catchUpFrom(ctx context.Context, inbox bridge.Inbox, at position, of span, limited func(time.Duration)) error {
	s.mu.Lock()
	refused := s.refused
	s.mu.Unlock()
	from := at.from(time.Now(), of.margin)
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	over := time.AfterFunc(catchUpFor, cancel)
	defer over.Stop()
	missed, newest, err := s.readMissed(reading, from, of.reach, func(wait time.Duration) {
		over.Reset(wait + catchUpFor) // the time that Slack asks for is not ours
		if limited != nil {
			limited(wait)
		}
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && (reading.Err() != nil || errors.Is(err, errTooMany)):
		s.log.Warn("more was said meanwhile than can be read, so that replies in old threads may be missing", "op", opHistory,
			"found", len(missed))
	case err != nil:
		return err
	}
	slices.SortStableFunc(missed, func(a, b converted) int { return timeOf(a.at).Compare(timeOf(b.at)) })
	return s.exclusively(ctx, func() error {
		for _, c := range missed {
			if err := s.acceptExclusively(ctx, inbox, c, of.moves); err != nil {
				return err
			}
		}
		if of.margin == overlap {
			s.mu.Lock()
			s.looked = refused
			s.mu.Unlock()
		}
		if err != nil || !of.moves {
			return nil
		}
		return s.advance(ctx, inbox, newest, 0)
	})
}

// advance moves the position over what needs no attention. The inbox is told where it has moved far since it was told last. It is
// called while nobody else accepts anything.
func (s *Slack) advance(ctx context.Context, inbox bridge.Inbox, ts string, far time.Duration) error {
	s.mu.Lock()
	at := s.at.to(ts)
	moved, acked := at != s.at, s.acked
	if moved && timeOf(at.at).Sub(timeOf(acked)) <= far {
		s.at, moved = at, false
	}
	s.mu.Unlock()
	if !moved {
		return nil
	}
	if err := inbox.Accept(ctx, bridge.Update{Cursor: at.String()}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.acked = at, at.at
	return nil
}

// readMissed reads what was said after from: in the channel, and in the threads that have replies since. newest is the time of
// the last message that there is, whosever.
func (s *Slack) readMissed(
	ctx context.Context, from string, reach time.Duration, limited func(time.Duration),
) (missed []converted, newest string, err error) {
	oldest := tsOf(timeOf(from).Add(-reach))
	edits := from
	if reach == threadReach {
		edits = tsOf(timeOf(from).Add(-editReach))
	}
	add := func(m *message) bool {
		if later(m.TS, newest) {
			newest = m.TS
		}
		v := s.view()
		for _, read := range []func(view) converted{
			func(v view) converted { return messageOf(m, v) },
			func(v view) converted { return editOf(m, nil, v) },
			func(v view) converted { return removalOf(m, nil, v, m.TS) },
		} {
			if c := read(v); later(c.at, from) && s.isNews(c) {
				if v.names == nil {
					v.names, v.files = s.lookUp(ctx, named(m)), s.complete(ctx, m)
				}
				missed = append(missed, read(v))
			}
		}
		return len(missed) < maxMissed
	}
	var threads []string
	err = s.patiently(ctx, query{Oldest: oldest}, limited, func(m *message) bool {
		if later(m.LatestReply, edits) {
			threads = append(threads, m.TS)
		}
		return !later(m.TS, edits) || add(m)
	})
	for _, parent := range threads {
		if err != nil {
			break
		}
		err = s.patiently(ctx, query{Timestamp: parent, Oldest: edits}, limited, func(m *message) bool {
			return m.TS == parent || add(m)
		})
		if platform.ReasonOf(err) == bridge.ReasonThreadGone {
			err = nil
		}
	}
	if err == nil && len(missed) >= maxMissed {
		err = errTooMany
	}
	return missed, newest, err
}

// patiently reads messages page by page and waits when Slack says that it is asked too often, which limited is told.
func (s *Slack) patiently(ctx context.Context, q query, limited func(time.Duration), each func(*message) bool) error {
	for {
		next, err := s.page(ctx, q, each)
		if platform.ReasonOf(err) == bridge.ReasonRateLimited {
			after := bridge.AsDelivery(err, opHistory, "").RetryAfter
			limited(after)
			if err := platform.Wait(ctx, after); err != nil {
				return err
			}
			continue
		}
		if err != nil || next == "" {
			return err
		}
		q.Cursor = next
	}
}

// handle takes an event. One that cannot be read counts as taken, so that it does not come for ever.
func (s *Slack) handle(ctx context.Context, inbox bridge.Inbox, body []byte, moves bool) error {
	var o outer
	if err := decode(body, &o); err != nil {
		s.log.Warn("an event cannot be read and is skipped", "op", opEvents)
		return nil
	}
	if o.Type == "app_rate_limited" {
		s.log.Warn("Slack sends fewer events for a minute, since there were too many; what is missing is read later", "op", opEvents)
		s.noteMissed()
		return nil
	}
	var e message
	if err := decode(o.Event, &e); err != nil || o.Type != "event_callback" {
		s.log.Warn("an event cannot be read and is skipped", "op", opEvents, "event", word(o.EventID))
		return nil
	}
	if (e.Type == "channel_left" || e.Type == "group_left") && e.Channel == s.channel {
		s.log.Error("the app was removed from the channel and hears nothing there any more; invite it again", "op", opEvents)
		return nil
	}
	s.ensureIdentity(ctx)
	v := s.view()
	if v.me.user == "" {
		for _, a := range o.Authorizations {
			if a.IsBot {
				v.me.user = a.UserID
			}
		}
	}
	if !s.isNews(convert(&e, v)) {
		if !moves || e.Channel != s.channel {
			return nil
		}
		return s.exclusively(ctx, func() error { return s.advance(ctx, inbox, cmp.Or(e.EventTS, e.TS), storeEvery) })
	}
	v.names, v.files = s.lookUp(ctx, named(&e)), s.complete(ctx, &e)
	return s.accept(ctx, inbox, convert(&e, v), moves)
}

// isNews says whether an update has to be accepted.
func (s *Slack) isNews(c converted) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.ID != "" && !s.seen[c.ID]
}

// command takes a slash command. What it returns is said to its author at once; it is empty for what is answered later.
func (s *Slack) command(ctx context.Context, inbox bridge.Inbox, c *slash) (reply string, err error) {
	if c.Channel != s.channel {
		return words.Get().WorksOnlyThere.With(cmp.Or(measure.OneLine(c.Command, platform.MaxLine), words.Get().ThisCommand)), nil
	}
	v := s.view()
	v.names = s.lookUp(ctx, named(&message{User: c.User, Text: c.Text}))
	return "", s.accept(ctx, inbox, slashOf(c, v, time.Now()), false)
}

// ephemeral is an answer for the eyes of a command's author.
func ephemeral(text string) json.RawMessage {
	return bridge.MustJSON(struct {
		Type string `json:"response_type"`
		Text string `json:"text"`
	}{"ephemeral", fallback(text)})
}
