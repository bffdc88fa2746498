// Package presence knows which operators are there, and says so when it changes: the team is online when any operator is. An
// operator is a person, with an account on each of several platforms; what they say in chat, what time does, and business
// hours make them online, away or offline.
//
// It keeps the rows of the store's tables presence and links, which in Redis are the hashes of those names under the project's
// tag, such as bridge:{default}:rows:presence; package store/redis writes and reads them as it does all rows, in commit.go and
// scripts.go. There is one row for each operator under their id, one named team, that counts the changes and knows what was
// told last, and one for each code of a link that was begun, with who has typed it. The clock is the store's.
//
// Every change is one batch, guarded by the rows that it was worked out from, so that several bridges that change at once
// work each change out from the one before it, and the events of the log agree with the rows in the end. What time changes
// is due at a moment that every bridge finds in the same rows; whichever writes it first has done it. It knows nothing of
// commands, of platforms, or of how its events reach anybody.
package presence

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	table   = "presence"
	teamKey = "team" // no operator's id: those are app, or have a colon
)

// The operator that stands for the app's own API.
const (
	appID   = "app"
	appName = "App"
)

// What sets a status.
const (
	reasonCommand = "command"
	reasonReply   = "reply"
	reasonTimeout = "time-out"
	reasonHours   = "hours"
	reasonAPI     = "api"
	reasonRemoved = "removed" // from those who may answer
)

// Store is what presence needs of the store; its methods promise what those of the same names promise there.
type Store interface {
	List(ctx context.Context, table, after string, max int) ([]bridge.Row, error)
	Get(ctx context.Context, table, key string) ([]byte, error)
	Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error)
	Now(ctx context.Context) (time.Time, error)
}

// Options is how a presence behaves.
type Options struct {
	// Timeout is how long somebody may show no sign of life until they are away; 0: for ever. It is not for the app, nor for who
	// has said until when.
	Timeout    time.Duration
	OnReply    bool   // who answers a visitor is online
	PublicName string // replaces every operator's name where visitors see it
	// Operators are the accounts of those who may answer, as bridge.Account.Key names them; none: everybody. Nobody else is there,
	// whatever they said before.
	Operators []string
	Hours     Hours
	Log       *slog.Logger // nil: nothing is logged
}

// Presence says who is online. Call Load before its first use, and after the log's present end is known from where Observe is
// fed, so that no change of another bridge falls in between; and Run, for what time changes. All methods may be called from
// several goroutines.
type Presence struct {
	store    Store
	o        Options
	changing chan struct{} // holds one token: changes of this process wait for each other here, not in the store
	nudged   chan struct{} // holds a token when something has changed

	mu   sync.RWMutex
	team bridge.OperatorStatus // its operators in the order of their ids, those who are offline included; never changed, only replaced
	seq  bridge.Seq            // of the event that told of it; 0: none did
}

// New returns a presence over a store.
func New(s Store, o Options) *Presence {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Presence{store: s, o: o, changing: make(chan struct{}, 1), nudged: make(chan struct{}, 1)}
}

// Load reads the team from the store, and makes up for what time has changed while nobody looked. What an event of the log has
// told already is newer and stays.
func (p *Presence) Load(ctx context.Context) error {
	if _, err := p.change(ctx, bridge.PresenceWrite{}, nil); err != nil {
		return err
	}
	rows, err := p.read(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seq == 0 {
		p.team = p.told(rows.people)
	}
	return nil
}

// The times of Run.
const (
	lookEvery  = time.Minute            // at least so often the clock is looked at
	lookAfter  = 10 * time.Millisecond  // and no sooner
	lookNudged = 100 * time.Millisecond // after a change, of which an answer to a visitor is one
	lookFailed = time.Second            // after a failure
)

// Run moves who is due to be moved by time, until ctx ends. One bridge of several does it, whichever comes first.
func (p *Presence) Run(ctx context.Context) {
	timer, next := time.NewTimer(0), time.Now()
	defer timer.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-p.nudged:
			if soon := time.Now().Add(lookNudged); soon.Before(next) {
				next = soon
				timer.Reset(lookNudged)
			}
			continue
		}
		wait, err := p.look(ctx)
		switch {
		case err == nil:
			failing = false
		case ctx.Err() != nil:
			return
		default:
			if !failing {
				p.o.Log.Error("presence cannot be kept up to date; trying on", "op", "presence", "err", err)
			}
			failing, wait = true, lookFailed
		}
		next = time.Now().Add(wait)
		timer.Reset(wait)
	}
}

// look does what is due, and returns after which time to look again.
func (p *Presence) look(ctx context.Context) (time.Duration, error) {
	rows, err := p.read(ctx)
	if err != nil {
		return 0, err
	}
	now, err := p.store.Now(ctx)
	if err != nil {
		return 0, err
	}
	due := p.due(rows.people)
	if !due.IsZero() && !due.After(now) {
		if _, err := p.change(ctx, bridge.PresenceWrite{}, nil); err != nil {
			return 0, err
		}
		return lookAfter, nil
	}
	if due.IsZero() {
		return lookEvery, nil
	}
	return min(max(due.Sub(now), lookAfter), lookEvery), nil
}

// Observe takes over what an event of the log says of the team; all other events are none of its business. It may see an
// event twice, and sees this process's own events, too.
func (p *Presence) Observe(e bridge.Entry) {
	// One from the app asks for a change, and one for a single callback is the state that it was told at that time.
	if e.Event.Type != bridge.TypeOperatorStatus || e.Event.Origin != bridge.OriginBridge || e.Event.Callback != "" {
		return
	}
	var body bridge.OperatorStatus
	if err := json.Unmarshal(e.Event.Body, &body); err != nil {
		return
	}
	p.adopt(e.Seq, body)
}

func (p *Presence) adopt(seq bridge.Seq, t bridge.OperatorStatus) {
	p.mu.Lock()
	newer := seq > p.seq
	if newer {
		p.seq, p.team = seq, t
	}
	p.mu.Unlock()
	if newer {
		p.wake()
	}
}

func (p *Presence) wake() {
	select {
	case p.nudged <- struct{}{}:
	default:
	}
}

// Online says whether any operator is online. It does not wait.
func (p *Presence) Online() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.team.Online
}

// Operators returns everybody who ever set a status, in the order of their ids. It does not wait and never fails.
func (p *Presence) Operators(context.Context) ([]bridge.Operator, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Clone(p.team.Operators), nil
}

// Status is the team as app servers are told of it, as far as this bridge has been told. It does not wait.
func (p *Presence) Status() bridge.OperatorStatus {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.team
}

// FreshStatus is Status as the store has it now, and not only as far as this bridge has been told.
func (p *Presence) FreshStatus(ctx context.Context) (bridge.OperatorStatus, error) {
	rows, err := p.read(ctx)
	return p.told(rows.people), err
}

// People returns all operators as the store has them now, in the order of their ids.
func (p *Presence) People(ctx context.Context) ([]bridge.Person, error) {
	rows, err := p.read(ctx)
	out := make([]bridge.Person, 0, len(rows.people))
	for _, who := range rows.people {
		out = append(out, p.person(who))
	}
	return out, err
}

// record is an operator's row.
type record struct {
	ID       string           `json:"id"`
	Platform string           `json:"platform"`
	Called   string           `json:"name,omitempty"`   // on the platform that was used last
	Public   string           `json:"public,omitempty"` // the name that they chose
	Accounts []bridge.Account `json:"accounts,omitempty"`
	Status   bridge.Status    `json:"status"`
	Since    time.Time        `json:"since"`
	Until    time.Time        `json:"until,omitzero"`
	Reason   string           `json:"reason,omitempty"`
	Said     time.Time        `json:"said,omitzero"` // when the status was set last, though it was the same
	Seen     time.Time        `json:"seen,omitzero"` // the last sign of life
}

// teamRow is the team's row. Version makes no two states of it equal; told is of what the last event told.
type teamRow struct {
	Version uint64 `json:"version"`
	Online  bool   `json:"online"`
	Told    string `json:"told"`
}

// rows is the table as it was at one moment.
type rows struct {
	raw    map[string][]byte
	team   teamRow
	people []record // by id
}

// rowsMost is more than there are operators, or links that were begun.
const rowsMost = 100_000

func (p *Presence) read(ctx context.Context) (rows, error) {
	list, err := p.store.List(ctx, table, "", rowsMost)
	if err != nil {
		return rows{}, err
	}
	out := rows{raw: map[string][]byte{}}
	for _, row := range list {
		out.raw[row.Key] = row.Value
		if row.Key == teamKey {
			if err := json.Unmarshal(row.Value, &out.team); err != nil {
				return rows{}, fmt.Errorf("presence: the team's row cannot be read: %w", err)
			}
			continue
		}
		var who record
		if err := json.Unmarshal(row.Value, &who); err != nil {
			return rows{}, fmt.Errorf("presence: an operator's row cannot be read: %w", err)
		}
		out.people = append(out.people, who)
	}
	slices.SortFunc(out.people, func(a, b record) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// find returns where among people an account is, or -1.
func find(people []record, key string) int {
	return slices.IndexFunc(people, func(r record) bool {
		return r.ID == key || slices.ContainsFunc(r.Accounts, func(a bridge.Account) bool { return a.Key() == key })
	})
}

// told is the team as app servers are told of it.
func (p *Presence) told(people []record) bridge.OperatorStatus {
	t := bridge.OperatorStatus{Operators: make([]bridge.Operator, 0, len(people))}
	for _, who := range people {
		t.Online = t.Online || who.Status == bridge.StatusOnline
		t.Operators = append(t.Operators, p.operator(who))
	}
	return t
}

func (p *Presence) operator(who record) bridge.Operator {
	op := bridge.Operator{
		ID: who.ID, Name: cmp.Or(p.o.PublicName, who.Public, who.Called), Platform: who.Platform,
		Status: who.Status, Since: who.Since, Until: who.Until, Reason: who.Reason,
	}
	if who.Status == bridge.StatusAway && who.Reason == reasonHours {
		op.Until = p.o.Hours.NextOpen(who.Since).UTC()
	}
	return op
}

func (p *Presence) person(who record) bridge.Person {
	return bridge.Person{Operator: p.operator(who), Called: cmp.Or(who.Called, who.ID), Accounts: who.Accounts}
}

// admitted returns the operator as they are if none of their accounts may answer any more: gone.
func (p *Presence) admitted(who record, now time.Time) record {
	may := len(p.o.Operators) == 0 || who.ID == appID || slices.ContainsFunc(who.Accounts, func(a bridge.Account) bool {
		return slices.Contains(p.o.Operators, a.Key())
	})
	if may || who.Status == bridge.StatusOffline {
		return who
	}
	who.Status, who.Since, who.Until, who.Reason = bridge.StatusOffline, now, time.Time{}, reasonRemoved
	return who
}

// mutation is a change that is being worked out.
type mutation struct {
	now     time.Time
	people  []record // may be changed at will
	who     string   // the id or account whose person the change is about
	visitor record   // the person, if they are no operator yet
	code    string
	link    *bridge.Link
	fault   string
	also    bridge.Batch // of this package's own: it is written only without a fault
}

// change moves everybody to the present time, lets edit change the people, and writes what has changed, with what goes with it,
// in one batch; if app servers are to be told of it, behind the other events of the batch. edit may be nil, and is called again
// when somebody else was faster.
//
// A duplicate is returned as such: nothing was written then. An error is the store's, or edit's; bridge.ErrChanged means that
// a condition of the write's own did not hold.
func (p *Presence) change(ctx context.Context, w bridge.PresenceWrite, edit func(*mutation) error) (bridge.Result, error) {
	select {
	case p.changing <- struct{}{}:
		defer func() { <-p.changing }()
	case <-ctx.Done():
		return bridge.Result{}, ctx.Err()
	}
	commit := w.Commit
	if commit == nil {
		commit = p.store.Commit
	}
	before, err := p.read(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	for {
		now, err := p.store.Now(ctx)
		if err != nil {
			return bridge.Result{}, err
		}
		b, after, told, err := p.work(before, now.UTC().Truncate(time.Millisecond), w, edit)
		if err != nil || empty(b) {
			return bridge.Result{}, err
		}
		res, err := commit(ctx, b)
		if errors.Is(err, bridge.ErrChanged) {
			again, rerr := p.read(ctx)
			if rerr != nil {
				return bridge.Result{}, rerr
			}
			if maps.EqualFunc(before.raw, again.raw, bytes.Equal) {
				return bridge.Result{}, err // the people are as they were, so it is another condition
			}
			before = again
			continue
		}
		if err != nil || res.Duplicate {
			return res, err
		}
		if told {
			p.adopt(res.Seqs[len(res.Seqs)-1], after)
		} else {
			p.wake() // a sign of life moves what is due
		}
		return res, nil
	}
}

// work works a change out: the batch, the team after it, and whether app servers are told of it.
func (p *Presence) work(before rows, now time.Time, w bridge.PresenceWrite, edit func(*mutation) error) (
	b bridge.Batch, after bridge.OperatorStatus, told bool, err error,
) {
	d := &mutation{now: now, people: make([]record, len(before.people))}
	for i, who := range before.people {
		d.people[i] = p.admitted(p.upTo(who, now), now)
	}
	settled := slices.Clone(d.people)
	if edit != nil {
		if err := edit(d); err != nil {
			return b, after, false, err
		}
	}
	if d.fault != "" {
		d.people, d.also = settled, bridge.Batch{}
	}
	slices.SortFunc(d.people, func(a, b record) int { return cmp.Compare(a.ID, b.ID) })
	after = p.told(d.people)
	body := bridge.MustJSON(after)
	digest := sha256.Sum256(body)
	sum := hex.EncodeToString(digest[:8])
	told = sum != before.team.Told && (len(d.people) > 0 || before.team.Told != "")
	if w.Also != nil {
		c := bridge.PresenceChange{Changed: told, Closed: !p.o.Hours.Open(now), Code: d.code, Link: d.link, Fault: d.fault}
		if i := find(d.people, d.who); i >= 0 {
			c.Person = p.person(d.people[i])
		} else if d.visitor.ID != "" {
			c.Person = p.person(d.visitor)
		}
		b = w.Also(c)
	}
	b.If = append(slices.Clone(b.If), d.also.If...)
	b.Rows = append(slices.Clone(b.Rows), d.also.Rows...)
	b.If = append(b.If, bridge.Row{Table: table, Key: teamKey, Value: before.raw[teamKey]})
	for _, who := range d.people {
		value := bridge.MustJSON(who)
		if old := before.raw[who.ID]; !bytes.Equal(old, value) {
			b.If = append(b.If, bridge.Row{Table: table, Key: who.ID, Value: old})
			b.Rows = append(b.Rows, bridge.Row{Table: table, Key: who.ID, Value: value})
		}
	}
	for _, who := range before.people {
		if !slices.ContainsFunc(d.people, func(r record) bool { return r.ID == who.ID }) {
			b.If = append(b.If, bridge.Row{Table: table, Key: who.ID, Value: before.raw[who.ID]})
			b.Rows = append(b.Rows, bridge.Row{Table: table, Key: who.ID})
		}
	}
	if told {
		value := bridge.MustJSON(teamRow{Version: before.team.Version + 1, Online: after.Online, Told: sum})
		b.Rows = append(b.Rows, bridge.Row{Table: table, Key: teamKey, Value: value})
		b.Events = append(slices.Clone(b.Events), bridge.Event{
			Type: bridge.TypeOperatorStatus, Origin: bridge.OriginBridge, Body: body,
		})
	}
	return b, after, told, nil
}

// empty says whether a batch would write nothing. Its conditions alone are no reason to ask the store.
func empty(b bridge.Batch) bool {
	return len(b.Claims) == 0 && len(b.Events) == 0 && len(b.Rows) == 0 && b.Lease == bridge.Lease{} && b.Progress.Lane == ""
}
