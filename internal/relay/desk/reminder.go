package desk

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/words"
)

// tableReminders holds of what operators want to be reminded: key <when>/<session>/<a digest of the command>, value reminder.
const tableReminders = "by-reminder"

// reminder is of what somebody wants to be reminded, and where.
type reminder struct {
	Session  string          `json:"session"`
	Platform string          `json:"platform"`
	Thread   bridge.ThreadID `json:"thread"`  // in which it was asked for
	Account  string          `json:"account"` // of who asked
	Name     string          `json:"name"`
	Text     string          `json:"text,omitempty"`
	Asked    time.Time       `json:"asked"`
}

// reminderTime is a moment in a key of tableReminders.
const reminderTime = "2006-01-02T15:04:05.000Z"

// remindLater is /remind: who asks is called, in the thread, after a while.
func (in *inbox) remindLater(ctx context.Context, o commandContext) (bridge.Result, error) {
	typed := strings.Fields(o.args)
	var at time.Time
	text := ""
	for n := min(len(typed), 4); n > 0 && at.IsZero(); n-- { // as many words as make a time
		when, ok, err := in.desk.presence.Moment(ctx, strings.Join(typed[:n], " "))
		if err != nil {
			return bridge.Result{}, err
		}
		if ok {
			at, text = when, strings.Join(typed[n:], " ")
		}
	}
	if at.IsZero() {
		return in.replyTo(ctx, o, in.say().CannotReadWhen.With(shortened(o.args)))
	}
	now, err := in.desk.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	name, err := in.nameOf(ctx, o.who)
	if err != nil {
		return bridge.Result{}, err
	}
	r := reminder{
		Session: o.session, Platform: in.platform, Thread: o.u.Thread, Account: o.who.Key(), Name: name,
		Text: measure.OneLine(text, bridge.ShownReason), Asked: now.UTC(),
	}
	id := bridge.Digest([]byte(o.who.Key() + "\n" + cmp.Or(o.u.ID, string(o.u.Message))))
	said := in.say().RemindedAt.With(in.desk.presence.Clock(at, now))
	if r.Text != "" {
		said += in.say().Colon + r.Text
	}
	o.b.Rows = append(slices.Clone(o.b.Rows), bridge.Row{
		Table: tableReminders, Key: at.UTC().Format(reminderTime) + "/" + o.session + "/" + id, Value: bridge.MustJSON(r), Session: o.session,
	})
	answer := in.answerOf(o.u, said)
	answer.Remind = true
	o.b.Events = append(slices.Clone(o.b.Events), in.answerEvent(answer))
	return in.commitWithPresence(ctx, o.u, o.b)
}

// isReminder says whether an event of the log tells that somebody wants to be reminded.
func isReminder(e bridge.Event) bool {
	return e.Type == bridge.TypeAnswer && bytes.Contains(e.Body, []byte(`"remind":true`))
}

// reminderPage is how many reminders are looked at together.
const reminderPage = 50

// sendReminders calls those whose time has come, and notes when the next one's comes.
func (w *conversationTracker) sendReminders(ctx context.Context) error {
	w.remindersDue = time.Time{}
	rows, err := w.desk.store.List(ctx, tableReminders, "", reminderPage)
	if err != nil {
		return err
	}
	now, err := w.desk.store.Now(ctx)
	if err != nil {
		return err
	}
	for _, row := range rows {
		when, _, _ := strings.Cut(row.Key, "/")
		at, err := time.Parse(reminderTime, when)
		if err == nil && at.After(now) {
			w.remindersDue = at // by the store's clock, as now is
			return nil
		}
		if err := w.sendReminder(ctx, row); err != nil {
			return err
		}
	}
	if len(rows) == reminderPage {
		w.remindersDue = w.now()
	}
	return nil
}

// sendReminder calls one, and forgets it in the same write.
func (w *conversationTracker) sendReminder(ctx context.Context, row bridge.Row) error {
	b := bridge.Batch{Lease: w.lane.Lease()}.Swap(row.Value, bridge.Row{Table: row.Table, Key: row.Key})
	var r reminder
	if json.Unmarshal(row.Value, &r) == nil {
		t, err := msgmap.Of(r.Platform, w.desk.store).Thread(ctx, r.Session)
		if err != nil {
			return err
		}
		text := words.Get().Reminder
		if r.Text != "" {
			text += words.Get().Colon + r.Text
		}
		b.Events = []bridge.Event{{Type: bridge.TypeAnswer, Origin: r.Platform, Body: bridge.MustJSON(bridge.Answer{
			Platform: r.Platform, Thread: cmp.Or(t.ID, r.Thread), Text: text, Mention: []string{r.Account},
		})}}
	}
	_, err := w.desk.commit(ctx, b)
	if errors.Is(err, bridge.ErrChanged) {
		return nil // somebody else has
	}
	return err
}
