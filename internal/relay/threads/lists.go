package threads

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/words"
)

// list is a message with visitors of whom nothing else was shown when it was sent. For an hour it follows them: it says when they have their
// threads, and then their last words and who answers. What one of them deletes does not stay in it.
type list struct {
	ID       bridge.MessageID `json:"id"`
	At       time.Time        `json:"at"`
	Edited   time.Time        `json:"edited,omitzero"` // last
	Sessions []string         `json:"sessions"`
	All      int              `json:"all"`            // visitors who waited then
	Done     bool             `json:"done,omitempty"` // it says that all have their threads
	Sum      string           `json:"sum,omitempty"`  // of its text

	behind    bool // something has happened to one of its sessions
	urgent    bool // it may quote what was changed or deleted
	notBefore time.Time
	names     []string // of the visitors, as they were when it was sent; of an earlier process's none
}

// listChanged notes what an event says of the sessions in lists.
func (d *Sink) listChanged(e bridge.Entry, urgent bool) {
	b := &d.board
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.lists {
		if l := &b.lists[i]; slices.Contains(l.Sessions, e.Event.Session) {
			l.behind, l.urgent = true, l.urgent || urgent
		}
	}
}

// listErased takes a session out of the lists that was erased.
func (d *Sink) listErased(digest string) {
	b := &d.board
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.lists {
		l := &b.lists[i]
		if at := slices.IndexFunc(l.Sessions, func(s string) bool { return bridge.Digest([]byte(s)) == digest }); at >= 0 {
			l.Sessions = slices.Delete(slices.Clone(l.Sessions), at, at+1)
			if at < len(l.names) {
				l.names = slices.Delete(slices.Clone(l.names), at, at+1)
			}
			l.behind, l.urgent, b.unsaved = true, true, true
		}
	}
}

// listErrand is the edit of the list that is to be brought up to date next; nil: none is, or not now.
func (d *Sink) listErrand(now time.Time, w engine.Backlog) *engine.Errand {
	m, ok := d.platform.(bridge.MainPlace)
	if _, edits := d.platform.(bridge.Editor); !ok || !edits || m.MainThread() == "" {
		return nil
	}
	apart := cardsApart(w.Rate, d.max.Allowed)
	d.cards.mu.Lock()
	soon := now.Sub(d.cards.last) < apart || now.Before(d.cards.quiet)
	d.cards.mu.Unlock()
	b := &d.board
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := len(b.lists)
	b.lists = slices.DeleteFunc(b.lists, func(l list) bool { return now.Sub(l.At) > listLife })
	b.unsaved = b.unsaved || len(b.lists) != kept
	for _, l := range b.lists {
		ends := !l.Done && w.Words == 0
		follows := l.behind && now.Sub(l.Edited) >= cardEvery && !soon
		if now.Before(l.notBefore) || !ends && !follows || w.Words > 0 && !l.urgent {
			continue
		}
		return &engine.Errand{Op: engine.OpEdit, Idle: !ends && w.Words == 0, Next: apart, Do: func(ctx context.Context) ([]bridge.Row, []string, error) {
			rows, err := d.follow(ctx, m.MainThread(), l)
			return rows, nil, err
		}}
	}
	return nil
}

// follow shows a list anew.
func (d *Sink) follow(ctx context.Context, main bridge.ThreadID, l list) ([]bridge.Row, error) {
	change := func(f func(*list)) {
		d.board.mu.Lock()
		defer d.board.mu.Unlock()
		if i := slices.IndexFunc(d.board.lists, func(o list) bool { return o.ID == l.ID }); i >= 0 {
			f(&d.board.lists[i])
		}
	}
	var urgent bool
	change(func(l *list) { urgent, l.behind, l.urgent = l.urgent, false, false })
	again := func() { // it is tried again, but not at once
		change(func(l *list) { l.behind, l.urgent, l.notBefore = true, l.urgent || urgent, time.Now().Add(listEvery) })
	}
	text, done, err := d.listText(ctx, l)
	if err != nil {
		again()
		return nil, err
	}
	sum := bridge.Digest([]byte(text))
	parts := d.platform.Render(bridge.Outgoing{Thread: main, Text: text, Foreign: true, Kind: bridge.KindNotice})
	if sum == l.Sum || len(parts) != 1 || !done && !urgent {
		change(func(l *list) { l.notBefore = time.Now().Add(cardEvery) })
		return nil, engine.ErrNoCall
	}
	now := time.Now().UTC()
	d.cards.editing("", now)
	if err := d.platform.(bridge.Editor).Edit(ctx, main, l.ID, parts[0]); err != nil && !late(err) {
		again()
		return nil, err
	}
	change(func(l *list) { l.Done, l.Sum, l.Edited = done, sum, now })
	return []bridge.Row{d.boardRow()}, nil
}

// listText is a list as it is now; done says that all in it have their threads.
func (d *Sink) listText(ctx context.Context, l list) (text string, done bool, err error) {
	say := words.Get()
	var lines []string
	done = true
	for i, session := range l.Sessions {
		t, err := d.thread(ctx, session)
		if err != nil {
			return "", false, err
		}
		s, known, err := msgmap.Session(ctx, d.store, session)
		if err != nil {
			return "", false, err
		}
		name := d.hide.Session(s).DisplayName()
		if !known && i < len(l.names) { // it is told with the thread
			name = l.names[i]
		}
		said, answers, err := d.stands(ctx, session)
		if err != nil {
			return "", false, err
		}
		done = done && (t.ID != "" || said == "") // what was deleted opens no thread
		line := strings.TrimRight("• "+measure.OneLine(name, bridge.ShownName)+" · "+d.linkOf(t.ID), " ·")
		if said != "" {
			line += say.Colon + said
		}
		if answers != "" {
			line += " (" + answers + ")"
		}
		lines = append(lines, line)
	}
	head := say.ListDone
	if !done {
		head = say.ListHead.With(strconv.Itoa(l.All), bridge.Title(d.name)) + "\n"
	}
	return head + "\n" + strings.Join(lines, "\n"), done, nil
}

// stands says how a session stands; nothing where nobody told the sink how to find that out.
func (d *Sink) stands(ctx context.Context, session string) (said, answers string, err error) {
	if d.state == nil {
		return "", "", nil
	}
	return d.state(ctx, session)
}
