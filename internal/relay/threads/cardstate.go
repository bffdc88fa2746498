package threads

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// A card that heads its thread shows how the conversation stands: the visitor's last words and who answers. It is brought up to date last of
// all, while nobody's words wait, and so that cards take little of the platform's pace.
const (
	cardEvery = 10 * time.Second // at most so often a session's card is edited
	cardsPart = 10               // of the platform's pace is theirs: a tenth
	cardDue   = time.Minute      // after which a card that quotes what was deleted does not come last any more
	cardsMost = 10_000           // are behind at once; what is told beyond that is told with the next word
	cardTries = 5                // then the next word tries again
)

// The tables of a platform; the platform's name follows the slash.
const (
	tableCards  = "cards/"       // session → cardShown
	tableBehind = "cardsbehind/" // session whose card is behind → how urgently
)

// State is how a session stands: how the visitor's last words begin, as they are now, and who answers, in a line. Of one where nothing is to
// be told both are empty.
type State func(ctx context.Context, session string) (words, answers string, err error)

// cardShown is what a card shows.
type cardShown struct {
	At  time.Time `json:"at,omitzero"`   // when it was edited last
	Of  string    `json:"of,omitempty"`  // cardSum of the session that it shows
	Sum string    `json:"sum,omitempty"` // of how the session stands
	// Refused says that the platform takes no such card.
	Refused bool `json:"refused,omitempty"`
}

// cardStates is which cards are behind. What is in memory is in the store once the lane's cursor has passed what made it so.
type cardStates struct {
	mu      sync.Mutex
	behind  map[string]*behindCard
	unsaved map[string]bool      // sessions whose row is to be written
	edited  map[string]time.Time // cards that were edited a moment ago
	last    time.Time            // when any was edited last
	quiet   time.Time            // until then none is edited: the platform asked for time
}

// behindCard is a card that does not show how its session stands.
type behindCard struct {
	since     time.Time
	urgent    bool // it may quote what was changed or deleted
	gen       int  // how often it was marked
	failures  int
	notBefore time.Time
}

const (
	behindSoon   = "soon"
	behindUrgent = "urgent"
)

// value is the row's; nil: there is none.
func (b *behindCard) value() []byte {
	switch {
	case b == nil:
		return nil
	case b.urgent:
		return []byte(behindUrgent)
	default:
		return []byte(behindSoon)
	}
}

// stateSum is of how a session stands.
func stateSum(words, answers string) string {
	if words == "" && answers == "" {
		return ""
	}
	return bridge.Digest([]byte(words + "\n" + answers))
}

// OnEvent implements engine.Observer: it notes whose card is behind.
func (d *Sink) OnEvent(e bridge.Entry) (moved bool) {
	if e.Event.Type == bridge.TypeErased {
		var erased struct {
			Digest string `json:"digest"`
		}
		if json.Unmarshal(e.Event.Body, &erased) == nil {
			d.listErased(erased.Digest)
		}
		return false
	}
	urgent := false
	switch e.Event.Type {
	case bridge.TypeVisitorMessage, bridge.TypeOperatorMessage, bridge.TypeConversationAssigned:
	case bridge.TypeVisitorEdited, bridge.TypeVisitorDeleted:
		urgent = true
	default:
		return false
	}
	if e.Event.Blocked || e.Event.Session == "" {
		return false
	}
	d.listChanged(e, urgent)
	if d.opensWithCard() {
		d.cards.mark(e.Event.Session, urgent)
	}
	return false
}

// mark notes that a session's card is behind.
func (c *cardStates) mark(session string, urgent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.behind[session]
	if b == nil {
		if len(c.behind) >= cardsMost && !urgent {
			return
		}
		b = &behindCard{since: time.Now()}
		c.behind[session], c.unsaved[session] = b, true
	}
	b.gen++
	if urgent && !b.urgent {
		b.urgent, b.since, c.unsaved[session] = true, time.Now(), true
	}
}

// settle notes that a card is not behind any more, unless it was marked since gen.
func (c *cardStates) settle(session string, gen int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.behind[session]; b != nil && b.gen == gen {
		delete(c.behind, session)
		c.unsaved[session] = true
	}
}

// later has a card wait.
func (c *cardStates) later(session string, until time.Time, failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.behind[session]
	if b == nil {
		return
	}
	if b.notBefore = until; !failed {
		return
	}
	if b.failures++; b.failures >= cardTries && !b.urgent {
		delete(c.behind, session)
		c.unsaved[session] = true
	}
}

// editing notes that a card is edited now.
func (c *cardStates) editing(session string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = now
	for other, at := range c.edited {
		if now.Sub(at) >= cardEvery {
			delete(c.edited, other)
		}
	}
	c.edited[session] = now
}

// lastEdit is when a card was edited last, as far as is remembered.
func (c *cardStates) lastEdit(session string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.edited[session]
}

// PendingRows implements engine.RowWriter: they keep which cards are behind.
func (d *Sink) PendingRows() []bridge.Row {
	c := &d.cards
	c.mu.Lock()
	defer c.mu.Unlock()
	rows := make([]bridge.Row, 0, len(c.unsaved))
	d.board.mu.Lock()
	unsaved := d.board.unsaved
	d.board.mu.Unlock()
	if unsaved {
		rows = append(rows, d.boardRow())
	}
	for session := range c.unsaved {
		rows = append(rows, bridge.Row{Table: tableBehind + d.name, Key: session, Value: c.behind[session].value(), Session: session})
	}
	return rows
}

// RowsWritten implements engine.RowWriter.
func (d *Sink) RowsWritten(rows []bridge.Row) {
	c := &d.cards
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, row := range rows {
		if row.Table != tableBehind+d.name {
			continue
		}
		if string(row.Value) == string(c.behind[row.Key].value()) {
			delete(c.unsaved, row.Key)
		} else {
			c.unsaved[row.Key] = true
		}
	}
}

// loadCards begins with the cards that the process before has left behind.
func (d *Sink) loadCards(ctx context.Context) error {
	c := &d.cards
	behind := map[string]*behindCard{}
	const page = 500
	for after := ""; d.opensWithCard(); {
		rows, err := d.store.List(ctx, tableBehind+d.name, after, page)
		if err != nil {
			return err
		}
		for _, row := range rows {
			behind[row.Key], after = &behindCard{since: time.Now(), urgent: string(row.Value) == behindUrgent}, row.Key
		}
		if len(rows) < page {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.behind, c.unsaved, c.edited, c.last = behind, map[string]bool{}, map[string]time.Time{}, time.Time{}
	return nil
}

// cardErrand returns the edit of the card that is to be brought up to date next; nil: none is, or not now.
func (d *Sink) cardErrand(now time.Time, w engine.Backlog) *engine.Errand {
	c := &d.cards
	c.mu.Lock()
	defer c.mu.Unlock()
	apart := cardsApart(w.Rate, d.max.Allowed)
	if len(c.behind) == 0 || now.Sub(c.last) < apart || now.Before(c.quiet) {
		return nil
	}
	session, next := "", (*behindCard)(nil)
	for s, b := range c.behind {
		if now.Before(b.notBefore) || now.Sub(c.edited[s]) < cardEvery {
			continue
		}
		if next == nil || b.urgent && !next.urgent || b.urgent == next.urgent && b.since.Before(next.since) {
			session, next = s, b
		}
	}
	if next == nil || !next.urgent && (w.Words > 0 || !w.Room) {
		return nil
	}
	return &engine.Errand{
		Op: engine.OpEditCard, Idle: !next.urgent || now.Sub(next.since) < cardDue, Session: session, Next: apart,
		Do: func(ctx context.Context) ([]bridge.Row, []string, error) {
			rows, err := d.bringUpToDate(ctx, session)
			return rows, nil, err
		},
	}
}

// cardsApart is how far apart edits of cards are, so that they take no more of the pace than is theirs. A pace that is not known is learnt.
func cardsApart(rate float64, learnt int) time.Duration {
	if rate <= 0 {
		rate = float64(max(learnt, cardsPart))
	}
	return time.Duration(cardsPart * float64(time.Minute) / rate)
}

// bringUpToDate shows a session's card as the session stands.
func (d *Sink) bringUpToDate(ctx context.Context, session string) ([]bridge.Row, error) {
	c := &d.cards
	c.mu.Lock()
	b := c.behind[session]
	if b == nil {
		c.mu.Unlock()
		return nil, engine.ErrNoCall
	}
	gen, urgent := b.gen, b.urgent
	c.mu.Unlock()
	t, err := d.thread(ctx, session)
	if err != nil {
		return nil, d.cardFailed(session, err)
	}
	if t.ID == "" || t.Flat || t.Closed && !urgent {
		c.settle(session, gen)
		return nil, engine.ErrNoCall
	}
	shown, card, err := d.standing(ctx, session, t)
	if err != nil {
		return nil, d.cardFailed(session, err)
	}
	next := cardShown{At: time.Now().UTC(), Of: cardSum(card.Session), Sum: stateSum(card.Words, card.Answers)}
	switch wait := cardEvery - next.At.Sub(shown.At); {
	case shown.Refused, card.Words == "" && !urgent && shown.Of == next.Of, shown.Sum == next.Sum && shown.Of == next.Of:
		c.settle(session, gen) // a conversation that is over keeps its card
		return nil, engine.ErrNoCall
	case wait > 0:
		c.later(session, shown.At.Add(cardEvery), false)
		return nil, engine.ErrNoCall
	}
	c.editing(session, next.At)
	err = d.platform.(bridge.CardEditor).EditCard(ctx, t.ID, card, d.cardButtons(ctx))
	fault := bridge.AsDelivery(err, engine.OpEditCard, "unexpected fault")
	switch {
	case fault == nil:
	case fault.Reason == bridge.ReasonClosed:
		c.settle(session, gen)
		return nil, err
	case fault.Reason == bridge.ReasonThreadGone, isRefused(err): // the thread in its place has another card
		next.Refused = true
	default:
		return nil, d.cardFailed(session, err)
	}
	c.settle(session, gen)
	return []bridge.Row{d.cardRow(session, next)}, err
}

// standing is what a session's card shows, and what it is to show.
func (d *Sink) standing(ctx context.Context, session string, t *msgmap.Thread) (shown cardShown, card bridge.Card, err error) {
	if shown, err = d.cardShown(ctx, session); err != nil {
		return shown, card, err
	}
	if shown.Of == "" {
		shown.Of = t.CardSum
	}
	if card.Session, err = d.sessionOf(ctx, bridge.Entry{Event: bridge.Event{Session: session}}, intent{}); err != nil {
		return shown, card, err
	}
	card.Words, card.Answers, err = d.stands(ctx, session)
	return shown, card, err
}

// cardFailed has a card wait that could not be edited: words do not.
func (d *Sink) cardFailed(session string, err error) error {
	fault := bridge.AsDelivery(err, engine.OpEditCard, "unexpected fault")
	now := time.Now()
	d.cards.later(session, now.Add(max(fault.RetryAfter, time.Minute)), true)
	if fault.Reason == bridge.ReasonRateLimited {
		d.cards.mu.Lock()
		d.cards.quiet = now.Add(fault.RetryAfter)
		d.cards.mu.Unlock()
	}
	return err
}

// cardShown returns what a session's card shows, as far as it was edited.
func (d *Sink) cardShown(ctx context.Context, session string) (c cardShown, err error) {
	raw, err := d.store.Get(ctx, tableCards+d.name, session)
	if err != nil || raw == nil {
		return c, err
	}
	return c, json.Unmarshal(raw, &c)
}

func (d *Sink) cardRow(session string, c cardShown) bridge.Row {
	return bridge.Row{Table: tableCards + d.name, Key: session, Value: bridge.MustJSON(c), Session: session}
}
