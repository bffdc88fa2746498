package stats

import (
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// day is what is counted of a day.
type day struct {
	Sessions int            `json:"sessions,omitempty"` // that began on it
	Answered int            `json:"answered,omitempty"` // of them, with an answer of anybody
	Messages map[string]int `json:"messages,omitempty"` // of them, by the day of their own time

	// The times to answers in those sessions.
	First  durations `json:"first,omitempty"`
	People durations `json:"people,omitempty"`
	Next   durations `json:"next,omitempty"`

	// The ratings that were submitted on it.
	Ratings int `json:"ratings,omitempty"`
	Good    int `json:"good,omitempty"`
	Scores  int `json:"scores,omitempty"` // their sum
}

// tally is what has been counted of a session, as far as what follows depends on it. Times are milliseconds since 1970.
type tally struct {
	Day      string `json:"day"`                // on which the session began
	Asked    int64  `json:"asked,omitempty"`    // the visitor's first message
	Answered bool   `json:"answered,omitempty"` // by anybody
	Replied  bool   `json:"replied,omitempty"`  // after the visitor's first message
	Person   bool   `json:"person,omitempty"`   // and by a person
	Waits    int64  `json:"waits,omitempty"`    // the first message since the last answer, once a person has answered; 0: none
	Asks     bool   `json:"asks,omitempty"`     // the last message is the visitor's
	Score    int    `json:"score,omitempty"`    // the last rating
	Rated    string `json:"rated,omitempty"`    // the day of it

	// opened is when the session became known; 0: never. It is known where there is no row.
	opened bridge.Seq
	stored bool // there is a row
	asked  bool // Asks, as it is stored
}

// counter applies events to days and sessions in memory.
type counter struct {
	platforms []string

	days     map[string]*day
	sessions map[string]*tally

	changedDays     map[string]bool
	changedSessions map[string]bool
}

func newCounter(platforms []string) *counter {
	return &counter{
		platforms: platforms, days: map[string]*day{}, sessions: map[string]*tally{},
		changedDays: map[string]bool{}, changedSessions: map[string]bool{},
	}
}

// dayOf names a day.
func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// counts says whether an event may count.
func counts(e bridge.Event) bool {
	if e.Session == "" {
		return false
	}
	switch e.Type {
	case bridge.TypeVisitorMessage, bridge.TypeOperatorMessage, bridge.TypeCSATSubmitted:
		return true
	}
	return e.Opens
}

// apply counts an event. Its session has been loaded.
func (c *counter) apply(e bridge.Entry) {
	t := c.sessions[e.Event.Session]
	if !counts(e.Event) || t == nil || t.opened == 0 && !t.stored {
		return
	}
	body := &bridge.Summary{}
	if e.Event.Origin == bridge.OriginApp {
		var err error
		if body, err = e.Event.InShort(); err != nil {
			return
		}
	}
	if e.Seq == t.opened && !t.stored {
		t.Day = began(e, body)
		if d := c.day(t.Day, e); d != nil {
			d.Sessions++
		}
		if t.Day != dayOf(t.opened.Time()) {
			c.changedSessions[e.Event.Session] = true // else it needs no row before it has a message
		}
	}
	switch e.Event.Type {
	case bridge.TypeVisitorMessage, bridge.TypeOperatorMessage:
		c.message(e, t, body)
	case bridge.TypeCSATSubmitted:
		c.rating(e, t, body)
	}
}

// began is the day on which a session that an event makes known began, as the app says.
func began(e bridge.Entry, body *bridge.Summary) string {
	if body.Session {
		return dayOf(ownTime(e, body.CreatedAt))
	}
	return dayOf(e.Seq.Time())
}

// ownTime is the time that an event tells, or that of its acceptance where there is none, or one that is yet to come.
func ownTime(e bridge.Entry, text string) time.Time {
	at := e.Seq.Time()
	if own, ok := bridge.Time(text); ok && own.Before(at.Add(time.Hour)) {
		return own
	}
	return at
}

// day returns what is counted of a day, nil for one of which nothing is counted any more.
func (c *counter) day(name string, e bridge.Entry) *day {
	if name < dayOf(e.Seq.Time().AddDate(0, 0, -bridge.StatsDays)) {
		return nil
	}
	d := c.days[name]
	if d == nil {
		d = &day{}
		c.days[name] = d
	}
	c.changedDays[name] = true
	return d
}

// keep notes that a session has to be written, and gives it its day where it has none yet.
func (c *counter) keep(e bridge.Entry, t *tally) {
	if t.Day == "" {
		t.Day = dayOf(t.opened.Time())
	}
	c.changedSessions[e.Event.Session] = true
}

// The authors of messages.
type author int

const (
	byNobody author = iota // a notice, or a message that is told a second time
	byVisitor
	byPerson
	byAI
)

func (c *counter) author(e bridge.Event, body *bridge.Summary) author {
	switch {
	case e.Origin != bridge.OriginApp:
		return byPerson
	case !body.Message || slices.Contains(c.platforms, body.SourceBridge) || body.Sender == bridge.SenderSystem:
		return byNobody
	case body.Sender == bridge.SenderAI:
		return byAI
	case e.Type == bridge.TypeOperatorMessage || body.Sender == bridge.SenderOperator:
		return byPerson
	default:
		return byVisitor
	}
}

func (c *counter) message(e bridge.Entry, t *tally, body *bridge.Summary) {
	by := c.author(e.Event, body)
	if by == byNobody {
		return
	}
	c.keep(e, t)
	sent := e.Seq.Time()
	if body.Message {
		sent = ownTime(e, body.Sent)
	}
	at := max(sent.UnixMilli(), 1)
	t.Asks = by == byVisitor
	d := c.day(t.Day, e)
	if d == nil {
		d = &day{} // it is of the session alone
	}
	if d.Messages == nil {
		d.Messages = map[string]int{}
	}
	d.Messages[dayOf(sent)]++
	if by == byVisitor {
		if t.Asked == 0 {
			t.Asked = at
		}
		if t.Person && t.Waits == 0 {
			t.Waits = at
		}
		return
	}
	if !t.Answered {
		t.Answered = true
		d.Answered++
	}
	if t.Asked != 0 {
		t.answer(d, by, at)
	}
}

// answer counts an answer to what the visitor has asked.
func (t *tally) answer(d *day, by author, at int64) {
	if !t.Replied {
		t.Replied = true
		d.First.add(at - t.Asked)
	}
	switch {
	case by != byPerson:
	case !t.Person:
		t.Person = true
		d.People.add(at - t.Asked)
	case t.Waits != 0:
		d.Next.add(at - t.Waits)
	}
	t.Waits = 0
}

// rating counts a rating in place of the one before it.
func (c *counter) rating(e bridge.Entry, t *tally, body *bridge.Summary) {
	if body.Score == nil {
		return
	}
	c.keep(e, t)
	if t.Score != 0 {
		if d := c.day(t.Rated, e); d != nil {
			d.rate(t.Score, -1)
		}
	}
	t.Score, t.Rated = *body.Score, dayOf(ownTime(e, body.RespondedAt))
	if d := c.day(t.Rated, e); d != nil {
		d.rate(t.Score, 1)
	}
}

func (d *day) rate(score, n int) {
	d.Ratings += n
	d.Scores += n * score
	if score >= 4 {
		d.Good += n
	}
}
