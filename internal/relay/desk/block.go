package desk

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/words"
)

const (
	// tableBlocked holds who is blocked: key the visitor's id, value blocked. A row is no session's: who is blocked stays so when the
	// session is forgotten.
	tableBlocked = "blocked"
	// tableBlockedSessions holds by which visitor's id the events of a session are known that do not carry it: key session.
	tableBlockedSessions = "blockedsessions"
)

// blocked is a visitor whose events are not shown.
type blocked struct {
	Session  string    `json:"session"`  // in which they were blocked
	Visitor  string    `json:"visitor"`  // what they were called then
	Name     string    `json:"name"`     // who has blocked them
	Platform string    `json:"platform"` // and where
	At       time.Time `json:"at"`
	Reason   string    `json:"reason,omitempty"`
}

// blocklist is who is blocked, as this process knows it. Another bridge's change is known as soon as it is seen in the log.
type blocklist struct {
	mu       sync.Mutex
	loaded   bool
	visitors map[string]bool
}

// has says whether a visitor is blocked; any, whether anybody is.
func (l *blocklist) has(ctx context.Context, s Store, visitor string) (has, any bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.loaded {
		rows, err := s.List(ctx, tableBlocked, "", rowsMost)
		if err != nil {
			return false, false, err
		}
		l.visitors, l.loaded = make(map[string]bool, len(rows)), true
		for _, row := range rows {
			l.visitors[row.Key] = true
		}
	}
	return l.visitors[visitor], len(l.visitors) > 0, nil
}

// stale has the list read again before it is used next.
func (l *blocklist) stale() {
	l.mu.Lock()
	l.loaded = false
	l.mu.Unlock()
}

// Observe is called with every event of the log, in order.
func (r *Desk) Observe(e bridge.Entry) {
	if e.Event.Type == bridge.TypeVisitorBlocked {
		r.blocks.stale()
	}
}

// Blocked says whether a session's visitor is blocked. visitor is their id, or empty where an event does not tell it. What an event of
// them is to be written with, so that those of the same session are known that do not tell it, are the rows.
func (r *Desk) Blocked(ctx context.Context, session, visitor string) (is bool, rows []bridge.Row, err error) {
	is, some, err := r.blocks.has(ctx, r.store, visitor)
	if err != nil || !some || session == "" {
		return false, nil, err
	}
	kept, err := r.store.Get(ctx, tableBlockedSessions, session)
	if err != nil {
		return false, nil, err
	}
	switch {
	case is && string(kept) == visitor:
		return true, nil, nil
	case is:
		return true, []bridge.Row{blockedSession(session, visitor)}, nil
	case kept == nil:
		return false, nil, nil
	}
	is, _, err = r.blocks.has(ctx, r.store, string(kept))
	return is, nil, err
}

func blockedSession(session, visitor string) bridge.Row {
	return bridge.Row{Table: tableBlockedSessions, Key: session, Value: []byte(visitor), Session: session}
}

// block has nothing more shown of what a session's visitor does, in this session or another one. What they do is taken all the same.
func (in *inbox) block(ctx context.Context, o commandContext) (bridge.Result, error) {
	s, err := in.desk.session(ctx, o.session)
	if err != nil {
		return bridge.Result{}, err
	}
	now, err := in.desk.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	has, _, err := in.desk.blockOf(ctx, s.VisitorID)
	if err != nil {
		return bridge.Result{}, err
	}
	if has != nil {
		return in.replyTo(ctx, o, in.say().BlockedAlready.With(in.desk.blockText(has, now)))
	}
	name, err := in.nameOf(ctx, o.who)
	if err != nil {
		return bridge.Result{}, err
	}
	b := blocked{
		Session: o.session, Visitor: measure.OneLine(s.DisplayName(), bridge.ShownField), Name: name, Platform: in.platform, At: now.UTC(),
		Reason: measure.OneLine(o.args, bridge.ShownReason),
	}
	text := in.say().BlockedBy.With(in.byline(name))
	if b.Reason != "" {
		text += in.say().Colon + b.Reason
	}
	o = in.withPrivateReply(o, in.say().Blocked)
	o.b = o.b.Swap(nil, bridge.Row{Table: tableBlocked, Key: s.VisitorID, Value: bridge.MustJSON(b)})
	o.b.Rows = append(o.b.Rows, blockedSession(o.session, s.VisitorID))
	o.b.Events = append(slices.Clone(o.b.Events), bridge.SessionNotice(o.session, in.say().BlockedNotice.With(text)))
	return in.setBlocked(ctx, o, true)
}

// unblock ends a block: the session's, or outside threads the one of the visitor's id that is given.
func (in *inbox) unblock(ctx context.Context, o commandContext) (bridge.Result, error) {
	visitor := o.args
	if visitor == "" {
		session, err := in.sessionOf(ctx, o.u)
		if err != nil {
			return bridge.Result{}, err
		}
		if session == "" {
			return in.replyTo(ctx, o, in.wrongPlaceText(o)+" "+in.say().UnblockByID)
		}
		s, err := in.desk.session(ctx, session)
		if err != nil {
			return bridge.Result{}, err
		}
		visitor, o.session = s.VisitorID, session
	}
	has, raw, err := in.desk.blockOf(ctx, visitor)
	if err != nil {
		return bridge.Result{}, err
	}
	if has == nil {
		return in.replyTo(ctx, o, in.say().NotBlocked)
	}
	name, err := in.nameOf(ctx, o.who)
	if err != nil {
		return bridge.Result{}, err
	}
	text := in.say().UnblockedBy.With(in.byline(name))
	here := o.session != ""
	if o.session = cmp.Or(o.session, has.Session); here {
		o = in.withPrivateReply(o, in.say().Unblocked)
	} else {
		o.b = in.answered(o, in.say().UnblockedOther.With(shortened(has.Visitor)))
	}
	o.b = o.b.Swap(raw, bridge.Row{Table: tableBlocked, Key: visitor})
	o.b.Events = append(slices.Clone(o.b.Events), bridge.SessionNotice(o.session, text))
	return in.setBlocked(ctx, o, false)
}

// setBlocked writes a block, or its end, and tells the app.
func (in *inbox) setBlocked(ctx context.Context, o commandContext, is bool) (bridge.Result, error) {
	res, err := in.happens(ctx, o, bridge.TypeVisitorBlocked, "", func(name string) any {
		return bridge.VisitorBlocked{SessionID: o.session, Blocked: is, OperatorName: name}
	})
	in.desk.blocks.stale()
	return res, err
}

// blockOf returns how a visitor came to be blocked; nil: they are not. raw is the row's value.
func (r *Desk) blockOf(ctx context.Context, visitor string) (b *blocked, raw []byte, err error) {
	return msgmap.Row[blocked](ctx, r.store, tableBlocked, visitor)
}

func (r *Desk) blockText(b *blocked, now time.Time) string {
	text := words.Get().BlockedSince.With(b.Name, bridge.Title(b.Platform), r.presence.Clock(b.At, now))
	if b.Reason != "" {
		text += words.Get().Colon + b.Reason
	}
	return text
}

// blockedShown is how many blocked visitors are listed.
const blockedShown = 20

// blocked lists who is blocked, those first who were blocked last.
func (in *inbox) blocked(ctx context.Context, o commandContext) (bridge.Result, error) {
	rows, err := in.desk.store.List(ctx, tableBlocked, "", rowsMost)
	if err != nil {
		return bridge.Result{}, err
	}
	now, err := in.desk.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	if len(rows) == 0 {
		return in.replyTo(ctx, o, in.say().NobodyBlocked)
	}
	all := make(map[string]blocked, len(rows))
	for _, row := range rows {
		var b blocked
		if err := json.Unmarshal(row.Value, &b); err != nil {
			return bridge.Result{}, err
		}
		all[row.Key] = b
	}
	slices.SortFunc(rows, func(a, b bridge.Row) int {
		return cmp.Or(all[b.Key].At.Compare(all[a.Key].At), cmp.Compare(a.Key, b.Key))
	})
	lines := []string{in.say().BlockedList}
	for _, row := range rows[:min(len(rows), blockedShown)] {
		b := all[row.Key]
		lines = append(lines, in.say().BlockedVisitor.With(b.Visitor, row.Key, in.desk.blockText(&b, now)))
	}
	if more := len(rows) - blockedShown; more > 0 {
		lines = append(lines, "… "+in.say().Of(in.say().AndMore, more))
	}
	return in.replyTo(ctx, o, strings.Join(lines, "\n"))
}
