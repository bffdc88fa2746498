package desk

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/words"
)

// remindAt returns when operators are to be called to a conversation; zero: never again.
func (w *conversationTracker) remindAt(c conversation) time.Time {
	switch {
	case w.unanswered <= 0:
		return time.Time{}
	case c.Calls == 0:
		return c.Waits.Time().Add(w.unanswered)
	case c.Calls == 1:
		return later(c.Waits.Time().Add(2*w.unanswered), c.Called.Add(w.unanswered))
	default:
		return time.Time{}
	}
}

// How many rows one look at those who wait reads at once, how many calls it makes, and how many it looks at for lateness: the
// next look goes on.
const (
	waitsPage     = 200
	remindersPage = 100
	latePages     = 5
)

// remind looks at those who wait and whose time has come: they are made known to the operators who are online, and who should have
// answered and did not is away.
func (w *conversationTracker) remind(ctx context.Context) error {
	now, err := w.desk.store.Now(ctx)
	if err != nil {
		return err
	}
	w.offset = time.Until(now)
	w.due, w.called = time.Time{}, now
	if w.unanswered <= 0 && w.timeout <= 0 {
		return nil
	}
	if len(w.conversations.dirty) > 0 { // who waits is read from the store
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	if w.unanswered > 0 {
		if err := w.tellWaiting(ctx, now); err != nil {
			return err
		}
	}
	people, err := w.desk.presence.People(ctx)
	if err != nil {
		return err
	}
	here := slices.DeleteFunc(people, func(p bridge.Person) bool { return p.Status != bridge.StatusOnline })
	if len(here) == 0 {
		return nil // whoever comes is seen in the log
	}
	if w.unanswered > 0 {
		for calls := range remindersMost {
			if err := w.remindDue(ctx, calls, here, now); err != nil {
				return err
			}
		}
	}
	if w.timeout > 0 {
		return w.markLateAway(ctx, here, now)
	}
	return nil
}

// waits returns a page of those who wait, behind a key, and the key to go on behind, empty at the end.
func (w *conversationTracker) waits(ctx context.Context, prefix, after string) (rows []bridge.Row, next string, err error) {
	if after < prefix {
		after = prefix
	}
	rows, err = w.desk.store.List(ctx, tableWaits, after, waitsPage)
	if len(rows) == waitsPage {
		next = rows[waitsPage-1].Key
	}
	if i := slices.IndexFunc(rows, func(row bridge.Row) bool { return !strings.HasPrefix(row.Key, prefix) }); i >= 0 {
		rows, next = rows[:i], ""
	}
	return rows, next, err
}

// remindDue calls operators to the conversations to which they were called so often before and are to be called now.
func (w *conversationTracker) remindDue(ctx context.Context, calls int, here []bridge.Person, now time.Time) error {
	for after, made := "", 0; ; {
		rows, next, err := w.waits(ctx, waitPrefix(calls), after)
		if err != nil {
			return err
		}
		var due []string
		var keys []string
		over := next == ""
		for _, row := range rows {
			session, c, ok := waitRow(row)
			at := w.remindAt(c)
			switch {
			case !ok:
			case !at.After(now):
				due, keys = append(due, session), append(keys, row.Key)
			default:
				w.soon(at)
				// Behind it are those who wait for less long. They may have been called longer ago.
				over = over || calls == 0 || c.Waits.Time().Add(2*w.unanswered).After(now)
			}
		}
		claims, err := w.assignments(ctx, due)
		if err != nil {
			return err
		}
		for i, session := range due {
			if made++; made > remindersPage {
				w.soon(now)
				return nil
			}
			if err := w.remindOne(ctx, session, keys[i], claims[i], here, now); err != nil {
				return err
			}
		}
		if over {
			return nil
		}
		after = next
	}
}

// markLateAway makes away who should have answered and did not. Of those who have waited for so long it looks at a thousand, and at the
// next ones a minute later: where there are more, none of them tells much about anybody.
func (w *conversationTracker) markLateAway(ctx context.Context, here []bridge.Person, now time.Time) error {
	w.soon(now.Add(trackerLook))
	inTime := true
	for _, p := range here {
		if from := p.Since.Add(w.timeout); from.After(now) {
			w.soon(from)
		} else {
			inTime = false
		}
	}
	if inTime || w.lateFrom != "" && now.Before(w.lateAt) {
		return nil // whoever is here has come lately
	}
	from := w.lateFrom
	w.lateFrom = ""
	pages := 0
	for calls := remindersMost; calls >= 0; calls-- {
		prefix := waitPrefix(calls)
		if from != "" && !strings.HasPrefix(from, prefix) {
			continue
		}
		for after := from; ; pages++ {
			rows, next, err := w.waits(ctx, prefix, after)
			if err != nil {
				return err
			}
			if pages == latePages {
				w.lateFrom, w.lateAt = prefix+strings.TrimPrefix(after, prefix), now.Add(trackerLook)
				return nil
			}
			retired, over, err := w.late(ctx, rows, here, now)
			if err != nil {
				return err
			}
			if retired {
				w.soon(now) // with those who are left
				return nil
			}
			if after = next; over || next == "" {
				break
			}
		}
		from = ""
	}
	return nil
}

// late looks at some who wait, the longest first. retired says that somebody is away now, over that the rest wait for less long
// than matters.
func (w *conversationTracker) late(ctx context.Context, rows []bridge.Row, here []bridge.Person, now time.Time) (retired, over bool, err error) {
	var late []string
	var since []bridge.Seq
	for _, row := range rows {
		session, c, ok := waitRow(row)
		if !ok {
			continue
		}
		if at := c.Waits.Time().Add(w.timeout); at.After(now) {
			w.soon(at)
			over = true
			break
		}
		late, since = append(late, session), append(since, c.Waits)
	}
	claims, err := w.assignments(ctx, late)
	if err != nil {
		return false, false, err
	}
	for i, session := range late {
		retired, err := w.markAway(ctx, session, since[i], claims[i], here, now)
		if err != nil || retired {
			return retired, over, err
		}
	}
	return false, over, nil
}

// assignments returns who takes care of each of some sessions, nil for nobody.
func (w *conversationTracker) assignments(ctx context.Context, sessions []string) ([]*assignment, error) {
	if len(sessions) == 0 {
		return nil, nil
	}
	values, err := w.desk.store.GetAll(ctx, msgmap.TableAssignments, sessions...)
	if err != nil {
		return nil, err
	}
	out := make([]*assignment, len(values))
	for i, value := range values {
		if value == nil {
			continue
		}
		out[i] = &assignment{}
		if err := json.Unmarshal(value, out[i]); err != nil {
			return nil, fmt.Errorf("row %s of session %s: %w", msgmap.TableAssignments, sessions[i], err)
		}
	}
	return out, nil
}

// forgotten says whether the store knows a session no more; then its conversation is dropped.
func (w *conversationTracker) forgotten(ctx context.Context, session string) (bool, error) {
	seqs, err := w.desk.store.Claimed(ctx, session, bridge.SessionKey)
	if err != nil || seqs[0] != 0 {
		return false, err
	}
	c, err := w.conversations.get(ctx, session)
	if err == nil && c.open {
		w.conversations.drop(c)
	}
	return true, err
}

// remindOne calls operators to the conversation of a row: whoever takes care of it, if they are there, and the second time all who
// are.
func (w *conversationTracker) remindOne(
	ctx context.Context, session, key string, has *assignment, here []bridge.Person, now time.Time,
) error {
	c, err := w.conversations.get(ctx, session)
	if err != nil {
		return err
	}
	if waitKey(session, c.conversation) != key { // the row stands for nothing
		_, err := w.desk.commit(ctx, bridge.Batch{Lease: w.lane.Lease(), Rows: []bridge.Row{{Table: tableWaits, Key: key, Session: session}}})
		return err
	}
	whom := here
	if i := slices.IndexFunc(here, func(p bridge.Person) bool { return has != nil && p.Has(has.ID) }); i >= 0 && c.Calls == 0 {
		whom = here[i : i+1]
	}
	called := oncePerPerson(whom)
	if len(called) == 0 {
		return nil // the app alone is online, which has its own ways
	}
	if gone, err := w.forgotten(ctx, session); err != nil || gone {
		return err
	}
	text, err := w.reminder(ctx, session, c, now)
	if err != nil {
		return err
	}
	next := *c
	next.Calls, next.Called = c.Calls+1, now.UTC()
	_, err = w.desk.commit(ctx, bridge.Batch{
		Claims: []bridge.Claim{{Key: fmt.Sprintf("called/%s/%s/%d", bridge.Digest([]byte(session)), c.Waits, next.Calls)}},
		Lease:  w.lane.Lease(),
		Events: []bridge.Event{{
			Type: bridge.TypeAnswer, Origin: bridge.OriginBridge, Session: session,
			Body: bridge.MustJSON(bridge.Answer{Session: session, Text: text, Mention: called, Foreign: true}),
		}},
		Rows: next.rows(w.ordering != nil),
	})
	if err == nil {
		c.conversation = next.conversation
		w.conversations.written(c)
		if at := w.remindAt(c.conversation); at.After(now) {
			w.soon(at)
		}
	}
	return err
}

// markAway makes away who should have answered a conversation and did not: whoever takes care of it, else the only one who is
// online. They have the whole time from when they came online.
func (w *conversationTracker) markAway(
	ctx context.Context, session string, since bridge.Seq, has *assignment, here []bridge.Person, now time.Time,
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
	text := words.Get().MarkedAway.With(who.Called, words.Get().Lasting(now.Sub(since.Time())))
	_, err = w.desk.presence.MarkAway(ctx, who.ID, bridge.PresenceWrite{
		Also: func(change bridge.PresenceChange) bridge.Batch {
			if change.Fault != "" {
				return bridge.Batch{}
			}
			return bridge.Batch{Lease: w.lane.Lease(), Events: []bridge.Event{bridge.SessionNotice(session, text, oncePerPerson(here[i:i+1])...)}}
		},
		Commit: w.desk.commit,
	})
	return err == nil, err
}

// closeIdle closes the threads of conversations that are silent, a few at a time.
func (w *conversationTracker) closeIdle(ctx context.Context) error {
	now := w.now()
	w.silence = time.Time{}
	if w.autoClose <= 0 {
		return nil
	}
	if len(w.conversations.dirty) > 0 { // who is silent is read from the store
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	rows, err := w.desk.store.List(ctx, msgmap.Silence, "", waitsPage)
	if err != nil {
		return err
	}
	closed := 0
	for _, row := range rows {
		session, last, ok := silenceRow(row)
		if at := last.Add(w.autoClose); ok && at.After(now) {
			w.silence = earlier(at, now.Add(w.autoClose))
			return nil
		}
		if closed == closeAtOnce {
			break
		}
		spoke, err := w.closeIdleOne(ctx, session, row, now)
		if err != nil {
			return err
		}
		if !spoke {
			closed++
		}
	}
	if w.silence = now.Add(w.autoClose); len(rows) > 0 {
		w.silence = now.Add(trackerEvery)
	}
	return nil
}

// closeIdleOne closes a session's thread, unless the session has spoken since the row was written.
func (w *conversationTracker) closeIdleOne(ctx context.Context, session string, row bridge.Row, now time.Time) (spoke bool, err error) {
	c, err := w.conversations.get(ctx, session)
	if err != nil {
		return false, err
	}
	b := bridge.Batch{Lease: w.lane.Lease(), Rows: []bridge.Row{{Table: msgmap.Silence, Key: row.Key, Session: session}}}
	if spoke = session == "" || c.closed || c.open && msgmap.SilenceKey(session, c.Last) != row.Key; spoke {
		_, err := w.desk.commit(ctx, b)
		return true, err
	}
	known, err := w.desk.store.Claimed(ctx, session, bridge.SessionKey)
	if err != nil {
		return false, err
	}
	if known[0] != 0 {
		b.Events = []bridge.Event{{
			Type: bridge.TypeAnswer, Origin: bridge.OriginBridge, Session: session,
			Body: bridge.MustJSON(bridge.Answer{Session: session, Close: true}),
		}}
		b.Claims = []bridge.Claim{{Key: "hushed/" + bridge.Digest([]byte(session)) + "/" + now.Format(time.DateTime)}}
	}
	next := tracked{session: session, stored: c.stored}
	b.Rows = append(b.Rows, next.rows(false)...)
	if _, err := w.desk.commit(ctx, b); err != nil {
		return false, err
	}
	c.open, c.conversation = false, conversation{}
	w.conversations.written(c)
	return false, nil
}

func later(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

func earlier(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }
