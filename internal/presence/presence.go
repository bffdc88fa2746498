// Package presence knows which operators are there, and says so when it changes: the team is online when any operator is.
//
// It keeps the rows of the store's table presence, which in Redis is the hash of that name: one row for each operator under
// its id, and one named team, that counts the changes. Every change is one batch, guarded by the team's row, so that several
// bridges that change at once work each change out from the one before it, and the events of the log agree with the rows in
// the end. It knows nothing of commands, of platforms, or of how its events reach anybody.
package presence

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	table   = "presence"
	teamKey = "team" // no operator's id: those are app, or have a colon
)

// The operator that stands for the app's own API, and why it changes.
const (
	appID     = "app"
	appName   = "App"
	reasonAPI = "api"
)

// Store is what presence needs of the store; its methods promise what those of the same names promise there.
type Store interface {
	List(ctx context.Context, table string) ([]bridge.Row, error)
	Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error)
}

// Team is the operators together.
type Team struct {
	Online    bool
	Operators []bridge.Operator // in the order of their ids, those who are offline included
}

// Presence says who is online. Call Load before its first use, and after the log's present end is known from where Observe is
// fed, so that no change of another bridge falls in between. All methods may be called from several goroutines.
type Presence struct {
	store Store
	turn  chan struct{} // holds one token: changes of this process wait for each other here, not in the store

	mu   sync.RWMutex
	team Team       // never changed, only replaced
	seq  bridge.Seq // of the event that told of it; 0: none did
}

// New returns a presence over a store.
func New(s Store) *Presence {
	return &Presence{store: s, turn: make(chan struct{}, 1)}
}

// Load reads the team from the store. What an event of the log has told already is newer and stays.
func (p *Presence) Load(ctx context.Context) error {
	rows, err := p.read(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seq == 0 {
		p.team = rows.team()
	}
	return nil
}

// Observe takes over what an event of the log says of the team; all other events are none of its business. It may see an
// event twice, and sees this process's own events, too.
func (p *Presence) Observe(e bridge.Entry) {
	// One from the app is a wish, and one for a single callback is the state that it was told at that time.
	if e.Event.Type != bridge.TypeOperatorStatus || e.Event.Origin != bridge.OriginBridge || e.Event.Callback != "" {
		return
	}
	var body bridge.OperatorStatus
	if err := json.Unmarshal(e.Event.Body, &body); err != nil {
		return
	}
	p.adopt(e.Seq, Team{Online: body.Online, Operators: body.Operators})
}

func (p *Presence) adopt(seq bridge.Seq, t Team) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seq > p.seq {
		p.seq, p.team = seq, t
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

// Set sets an operator's status and writes everything in also, in one batch: see Change.
func (p *Presence) Set(ctx context.Context, op bridge.Operator, also bridge.Batch) (bridge.Result, error) {
	_, _, res, err := p.Change(ctx, op, also)
	return res, err
}

// SetApp sets the status of the app's own operator, which belongs to no platform.
func (p *Presence) SetApp(ctx context.Context, online bool) (bridge.Result, error) {
	op := bridge.Operator{ID: appID, Name: appName, Platform: appID, Status: bridge.StatusOffline, Reason: reasonAPI}
	if online {
		op.Status = bridge.StatusOnline
	}
	return p.Set(ctx, op, bridge.Batch{})
}

// Change sets an operator's status and writes everything in also, in one batch. If the status, or until when it holds, is
// another one than before, changed is true, and an operator_status event is appended behind the events of also; else only
// also is written, and what is new of the operator's name.
//
// A Since that is zero becomes the present time, where there is a change. A duplicate is returned as such: nothing was written
// then. An error is the store's; bridge.ErrChanged means that a condition of also did not hold. The team is the one after the
// change; Online and Operators tell of it from now on.
func (p *Presence) Change(ctx context.Context, op bridge.Operator, also bridge.Batch) (
	team Team, changed bool, res bridge.Result, err error,
) {
	if err := check(op); err != nil {
		return Team{}, false, bridge.Result{}, err
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return Team{}, false, bridge.Result{}, ctx.Err()
	}
	before, err := p.read(ctx)
	if err != nil {
		return Team{}, false, bridge.Result{}, err
	}
	for {
		batch, after, changed, err := before.with(op, also)
		if err != nil {
			return Team{}, false, bridge.Result{}, err
		}
		if empty(batch) {
			return after, false, bridge.Result{}, nil
		}
		res, err := p.store.Commit(ctx, batch)
		if errors.Is(err, bridge.ErrChanged) {
			now, rerr := p.read(ctx)
			if rerr != nil {
				return Team{}, false, bridge.Result{}, rerr
			}
			if bytes.Equal(now.guard, before.guard) {
				return Team{}, false, bridge.Result{}, err // the team is as it was, so it is also's condition
			}
			before = now
			continue
		}
		if err != nil {
			return Team{}, false, bridge.Result{}, err
		}
		if res.Duplicate {
			return before.team(), false, res, nil
		}
		if changed {
			p.adopt(res.Seqs[len(res.Seqs)-1], after)
		}
		return after, changed, res, nil
	}
}

func check(op bridge.Operator) error {
	switch op.Status {
	case bridge.StatusOnline, bridge.StatusAway, bridge.StatusOffline:
	default:
		return &bridge.FieldError{Field: "status", Problem: "must be online, away or offline"}
	}
	if op.ID == "" || op.ID == teamKey {
		return &bridge.FieldError{Field: "id", Problem: "must be an operator's id"}
	}
	return nil
}

// empty says whether a batch would write nothing. Its conditions alone are no reason to ask the store.
func empty(b bridge.Batch) bool {
	return len(b.Claims) == 0 && len(b.Events) == 0 && len(b.Rows) == 0 && b.Lease == bridge.Lease{} &&
		b.Progress.Lane == "" && len(b.If) == 1 // our own
}

// teamRow is the team's row. Version makes no two states of it equal.
type teamRow struct {
	Version uint64 `json:"version"`
	Online  bool   `json:"online"`
}

// rows is the table as it was at one moment.
type rows struct {
	guard     []byte // the team's row; nil: there is none
	version   uint64
	operators []bridge.Operator // by id
}

func (p *Presence) read(ctx context.Context) (rows, error) {
	list, err := p.store.List(ctx, table)
	if err != nil {
		return rows{}, err
	}
	var out rows
	for _, row := range list {
		if row.Key == teamKey {
			var t teamRow
			if err := json.Unmarshal(row.Value, &t); err != nil {
				return rows{}, fmt.Errorf("presence: the team's row cannot be read: %w", err)
			}
			out.guard, out.version = row.Value, t.Version
			continue
		}
		var op bridge.Operator
		if err := json.Unmarshal(row.Value, &op); err != nil {
			return rows{}, fmt.Errorf("presence: an operator's row cannot be read: %w", err)
		}
		out.operators = append(out.operators, op)
	}
	slices.SortFunc(out.operators, func(a, b bridge.Operator) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

func (r rows) team() Team {
	return Team{
		Online:    slices.ContainsFunc(r.operators, func(o bridge.Operator) bool { return o.Status == bridge.StatusOnline }),
		Operators: r.operators,
	}
}

// with returns what sets the operator's status, the team after it, and whether anybody is told.
func (r rows) with(op bridge.Operator, also bridge.Batch) (b bridge.Batch, after Team, changed bool, err error) {
	at, known := slices.BinarySearchFunc(r.operators, op.ID, func(o bridge.Operator, id string) int { return cmp.Compare(o.ID, id) })
	var old bridge.Operator
	if known {
		old = r.operators[at]
	}
	op.Until = op.Until.UTC().Truncate(time.Millisecond)
	changed = !known || old.Status != op.Status || !old.Until.Equal(op.Until)
	switch {
	case !changed:
		op.Since, op.Reason = old.Since, old.Reason
	case known && old.Status == op.Status:
		op.Since = old.Since
	case op.Since.IsZero():
		op.Since = time.Now()
	}
	op.Since = op.Since.UTC().Truncate(time.Millisecond)
	next := rows{version: r.version + 1, operators: slices.Clone(r.operators)}
	if known {
		next.operators[at] = op
	} else {
		next.operators = slices.Insert(next.operators, at, op)
	}
	after = next.team()

	b = also
	b.If = append(slices.Clone(also.If), bridge.Row{Table: table, Key: teamKey, Value: r.guard})
	b.Rows, b.Events = slices.Clone(also.Rows), slices.Clone(also.Events)
	if !known || op != old {
		value, err := json.Marshal(op)
		if err != nil {
			return bridge.Batch{}, Team{}, false, err
		}
		b.Rows = append(b.Rows, bridge.Row{Table: table, Key: op.ID, Value: value})
	}
	if changed {
		value, err := json.Marshal(teamRow{Version: next.version, Online: after.Online})
		if err != nil {
			return bridge.Batch{}, Team{}, false, err
		}
		body, err := json.Marshal(bridge.OperatorStatus{Online: after.Online, Operators: after.Operators})
		if err != nil {
			return bridge.Batch{}, Team{}, false, err
		}
		b.Rows = append(b.Rows, bridge.Row{Table: table, Key: teamKey, Value: value})
		b.Events = append(b.Events, bridge.Event{Type: bridge.TypeOperatorStatus, Origin: bridge.OriginBridge, Body: body})
	}
	return b, after, changed, nil
}

// Summary says who is online, away and offline, since and until when, and why: one line each, as the store has it now. Times
// are UTC.
func (p *Presence) Summary(ctx context.Context) (string, error) {
	r, err := p.read(ctx)
	if err != nil {
		return "", err
	}
	if len(r.operators) == 0 {
		return "nobody has said /online yet", nil
	}
	rank := []bridge.Status{bridge.StatusOnline, bridge.StatusAway, bridge.StatusOffline}
	slices.SortStableFunc(r.operators, func(a, b bridge.Operator) int {
		return cmp.Or(cmp.Compare(slices.Index(rank, a.Status), slices.Index(rank, b.Status)),
			cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)))
	})
	now := time.Now().UTC()
	lines := make([]string, 0, len(r.operators))
	for _, op := range r.operators {
		lines = append(lines, line(op, now))
	}
	return strings.Join(lines, "\n"), nil
}

func line(op bridge.Operator, now time.Time) string {
	who := oneLine(op.Name)
	if who == "" {
		who = op.ID
	}
	text := who
	if op.Platform != "" && op.ID != appID {
		text += " (" + op.Platform + ")"
	}
	text += ": " + string(op.Status) + " since " + clock(op.Since, now)
	if !op.Until.IsZero() {
		text += ", until " + clock(op.Until, now)
	}
	if why := reason(op.Reason); why != "" {
		text += ", " + why
	}
	return text
}

// reason puts what set a status into words.
func reason(r string) string {
	switch r {
	case "command":
		return "by command"
	case reasonAPI:
		return "set by the app"
	}
	return r
}

// clock shows a time of today without its date.
func clock(t, now time.Time) string {
	t = t.UTC()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04 UTC")
	}
	return t.Format("2006-01-02 15:04 UTC")
}

// oneLine keeps a name that somebody chose from looking like more than one line.
func oneLine(name string) string {
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
}
