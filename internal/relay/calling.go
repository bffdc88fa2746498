package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// callAt returns when operators are to be called to a conversation; zero: never again.
func (w *watch) callAt(c *followed) time.Time {
	switch {
	case w.unanswered <= 0:
		return time.Time{}
	case c.Calls == 0:
		return c.Waits.Time().Add(w.unanswered)
	case c.Calls == 1:
		again := c.Waits.Time().Add(2 * w.unanswered)
		if late := c.Called.Add(w.unanswered); late.After(again) {
			return late
		}
		return again
	default:
		return time.Time{}
	}
}

// call looks at everybody who waits: whose time has come is made known to the operators who are online, and who should have
// answered and did not is away.
func (w *watch) call(ctx context.Context) error {
	now, err := w.relay.store.Now(ctx)
	if err != nil {
		return err
	}
	w.offset = time.Until(now)
	w.due, w.called = time.Time{}, now
	if len(w.waiting) == 0 || w.unanswered <= 0 && w.timeout <= 0 {
		return nil
	}
	people, err := w.relay.presence.People(ctx)
	if err != nil {
		return err
	}
	here := slices.DeleteFunc(people, func(p bridge.Person) bool { return p.Status != bridge.StatusOnline })
	if len(here) == 0 {
		return nil // whoever comes is seen in the log
	}
	if w.timeout > 0 {
		w.soon(now.Add(watchLook))
	}
	var calls, late []string
	for session := range w.waiting {
		c := w.open[session]
		switch at := w.callAt(c); {
		case at.IsZero():
		case at.After(now):
			w.soon(at)
		default:
			calls = append(calls, session)
		}
		switch at := c.Waits.Time().Add(w.timeout); {
		case w.timeout <= 0:
		case at.After(now):
			w.soon(at)
		default:
			late = append(late, session)
		}
	}
	if len(calls)+len(late) == 0 {
		return nil
	}
	claims, err := w.claims(ctx)
	if err != nil {
		return err
	}
	for _, session := range w.longestFirst(calls) {
		if err := w.callTo(ctx, session, claims[session], here, now); err != nil {
			return err
		}
		if c := w.open[session]; c != nil {
			if at := w.callAt(c); at.After(now) {
				w.soon(at)
			}
		}
	}
	for _, session := range w.longestFirst(late) {
		if w.open[session] == nil {
			continue // it was forgotten
		}
		retired, err := w.retire(ctx, session, claims[session], here, now)
		if err != nil {
			return err
		}
		if retired {
			w.soon(now) // with those who are left
			return nil
		}
	}
	return nil
}

func (w *watch) longestFirst(sessions []string) []string {
	slices.SortFunc(sessions, func(a, b string) int { return cmp.Compare(w.open[a].Waits, w.open[b].Waits) })
	return sessions
}

// claims returns who takes care of which session.
func (w *watch) claims(ctx context.Context) (map[string]*claimant, error) {
	rows, err := w.relay.store.List(ctx, tableClaims)
	if err != nil {
		return nil, err
	}
	out := make(map[string]*claimant, len(rows))
	for _, row := range rows {
		c := &claimant{}
		if err := json.Unmarshal(row.Value, c); err != nil {
			return nil, fmt.Errorf("row %s of session %s: %w", tableClaims, row.Key, err)
		}
		out[row.Key] = c
	}
	return out, nil
}

// forgotten says whether the store knows a session no more; then it is dropped.
func (w *watch) forgotten(ctx context.Context, session string) (bool, error) {
	seqs, err := w.relay.store.Claimed(ctx, session, sessionClaim)
	if err != nil || seqs[0] != 0 {
		return false, err
	}
	delete(w.open, session)
	delete(w.waiting, session)
	return true, nil
}

// callTo calls operators to a conversation: whoever takes care of it, if they are there, and the second time all who are.
func (w *watch) callTo(ctx context.Context, session string, has *claimant, here []bridge.Person, now time.Time) error {
	c := w.open[session]
	var whom []string
	for _, p := range here {
		mine := has != nil && p.Has(has.ID)
		if mine && c.Calls == 0 {
			whom = accountKeys(p)
			break
		}
		whom = append(whom, accountKeys(p)...)
	}
	if len(whom) == 0 {
		return nil // the app alone is online, which has its own ways
	}
	if gone, err := w.forgotten(ctx, session); err != nil || gone {
		return err
	}
	text := "⏰ This visitor has waited for an answer for " + lasting(now.Sub(c.Waits.Time())) + "."
	if c.Calls > 0 {
		text = "⏰ This visitor has waited for " + lasting(now.Sub(c.Waits.Time())) + ", and nobody has answered yet."
	}
	if err := w.whole(ctx, session, c); err != nil {
		return err
	}
	next := c.conversation
	next.Calls, next.Called = c.Calls+1, now.UTC()
	_, err := w.relay.commit(ctx, bridge.Batch{
		Claims: []bridge.Claim{{Key: fmt.Sprintf("called/%s/%s/%d", digest([]byte(session)), c.Waits, next.Calls)}},
		Lease:  w.lane.held(),
		Events: []bridge.Event{everywhere(session, text, whom...)},
		Rows:   []bridge.Row{{Table: tableOpen, Key: session, Value: mustJSON(next), Session: session}},
	})
	if err == nil {
		c.conversation = next
	}
	return err
}

func accountKeys(p bridge.Person) []string {
	keys := make([]string, 0, len(p.Accounts))
	for _, a := range p.Accounts {
		keys = append(keys, a.Key())
	}
	return keys
}

// retire makes away who should have answered a conversation and did not: whoever takes care of it, else the only one who is
// online. They have the whole time from when they came online.
func (w *watch) retire(
	ctx context.Context, session string, has *claimant, here []bridge.Person, now time.Time,
) (retired bool, err error) {
	i := slices.IndexFunc(here, func(p bridge.Person) bool { return has != nil && p.Has(has.ID) })
	if has == nil && len(here) == 1 {
		i = 0
	}
	if i < 0 || len(here[i].Accounts) == 0 {
		return false, nil
	}
	who := here[i]
	if from := who.Since.Add(w.timeout); from.After(now) {
		w.soon(from)
		return false, nil
	}
	if gone, err := w.forgotten(ctx, session); err != nil || gone {
		return false, err
	}
	text := fmt.Sprintf("%s, you are away now: this visitor has waited for an answer for %s. /online says that you are back.",
		who.Called, lasting(now.Sub(w.open[session].Waits.Time())))
	_, err = w.relay.presence.Retire(ctx, who.ID, bridge.PresenceWrite{
		Also: func(change bridge.PresenceChange) bridge.Batch {
			if change.Fault != "" {
				return bridge.Batch{}
			}
			return bridge.Batch{Lease: w.lane.held(), Events: []bridge.Event{everywhere(session, text, accountKeys(who)...)}}
		},
		Commit: w.relay.commit,
	})
	return err == nil, err
}

// lasting is a time as people say it.
func lasting(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	case d < 48*time.Hour:
		return strings.TrimSuffix(fmt.Sprintf("%d hours %d minutes", int(d.Hours()), int(d.Minutes())%60), " 0 minutes")
	default:
		return fmt.Sprintf("%d days", int(d.Hours())/24)
	}
}

// hush closes the threads of conversations that are silent, a few at a time.
func (w *watch) hush(ctx context.Context) error {
	now := w.now()
	w.silence = time.Time{}
	if w.autoClose <= 0 {
		return nil
	}
	next := now.Add(w.autoClose)
	var silent []string
	for session, c := range w.open {
		if at := c.Last.Add(w.autoClose); at.After(now) {
			next = earlier(next, at)
		} else {
			silent = append(silent, session)
		}
	}
	rows, err := w.relay.store.List(ctx, tableAnnounced)
	if err != nil {
		return err
	}
	var heard []bridge.Row
	for _, row := range rows {
		at, err := time.Parse(time.RFC3339, string(row.Value))
		switch at = at.Add(w.autoClose); {
		case w.open[row.Key] != nil:
			heard = append(heard, bridge.Row{Table: tableAnnounced, Key: row.Key})
		case err == nil && at.After(now):
			next = earlier(next, at)
		case !slices.Contains(silent, row.Key):
			silent = append(silent, row.Key)
		}
	}
	more := len(silent) > closeAtOnce
	for page := range slices.Chunk(heard, watchPage) {
		if _, err := w.relay.commit(ctx, bridge.Batch{Lease: w.lane.held(), Rows: page}); err != nil {
			return err
		}
	}
	for _, session := range silent[:min(len(silent), closeAtOnce)] {
		b := bridge.Batch{
			Lease: w.lane.held(),
			Rows:  []bridge.Row{{Table: tableOpen, Key: session}, {Table: tableAnnounced, Key: session}},
		}
		known, err := w.relay.store.Claimed(ctx, session, sessionClaim)
		if err != nil {
			return err
		}
		if known[0] != 0 {
			b.Events = []bridge.Event{{
				Type: bridge.TypeAnswer, Origin: bridge.OriginBridge, Session: session,
				Body: mustJSON(bridge.Answer{Session: session, Close: true}),
			}}
			b.Claims = []bridge.Claim{{Key: "hushed/" + digest([]byte(session)) + "/" + now.Format(time.DateTime)}}
		}
		if _, err := w.relay.commit(ctx, b); err != nil {
			return err
		}
		w.drop(session)
		delete(w.dirty, session)
		w.dirty[""] = true // the sum has changed
	}
	if w.silence = next; more {
		w.silence = now.Add(watchEvery)
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
