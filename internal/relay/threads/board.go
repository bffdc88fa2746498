package threads

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/words"
)

// While words wait for the platform's pace, its main place shows two things: a list of visitors of whom nothing is shown yet, which is
// edited when they have their threads, and one silent notice of how much waits, which is edited and goes when nothing does.
const (
	listFrom  = 3                // visitors
	listAfter = 15 * time.Second // that they have waited
	listEvery = 20 * time.Second
	listMost  = 10
	listText  = 200 // characters of what a visitor wrote
	listLife  = time.Hour

	noticeAfter = 30 * time.Second // that the first word has waited
	noticeFrom  = 10               // words
	noticeEvery = time.Minute
	noticeRate  = 5 // calls a minute, without which words have all of them
)

// tableBoard holds what a platform's main place shows: key platform, value boardKept.
const tableBoard = "board"

type boardKept struct {
	ID    bridge.MessageID `json:"id,omitempty"` // of the notice
	Lists []list           `json:"lists,omitempty"`
}

// board is what the main place shows of what waits.
type board struct {
	mu       sync.Mutex
	lists    []list // that are edited still
	unsaved  bool   // the row is to be written
	lastList time.Time
	notice   bridge.MessageID
	said     string // by the notice
	noticed  time.Time
}

// Announce implements engine.Announcer.
func (d *Sink) Announce(now time.Time, w engine.Backlog) *engine.Errand {
	if e := d.boardErrand(now, w); e != nil {
		return e
	}
	if e := d.listErrand(now, w); e != nil || !d.opensWithCard() {
		return e
	}
	return d.cardErrand(now, w)
}

// boardErrand is the call that the main place needs.
func (d *Sink) boardErrand(now time.Time, w engine.Backlog) *engine.Errand {
	m, ok := d.platform.(bridge.MainPlace)
	if !ok || m.MainThread() == "" {
		return nil
	}
	main := m.MainThread()
	b := &d.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if late := waitingLong(w.Unseen, now); w.Held && len(late) >= listFrom && now.Sub(b.lastList) >= listEvery {
		b.lastList = now
		return &engine.Errand{Op: engine.OpSend, Do: func(ctx context.Context) ([]bridge.Row, []string, error) {
			return d.showList(ctx, main, late[:min(len(late), listMost)], len(late))
		}}
	}
	long := w.Held && (w.Rate == 0 || w.Rate >= noticeRate) && (now.Sub(w.Oldest) > noticeAfter || w.Words >= noticeFrom)
	switch {
	case long && now.Sub(b.noticed) >= noticeEvery:
		text := d.noticeText(w)
		if text == b.said {
			return nil
		}
		b.noticed = now
		return &engine.Errand{Op: engine.OpSend, Do: func(ctx context.Context) ([]bridge.Row, []string, error) {
			return d.showNotice(ctx, main, text)
		}}
	case b.notice != "" && (w.Words == 0 || !w.Held):
		return &engine.Errand{Op: engine.OpDelete, Do: func(ctx context.Context) ([]bridge.Row, []string, error) { return d.endNotice(ctx, main) }}
	}
	return nil
}

// waitingLong are the sessions whose words have waited for long enough to be listed.
func waitingLong(all []engine.WaitingSession, now time.Time) []engine.WaitingSession {
	return slices.DeleteFunc(slices.Clone(all), func(w engine.WaitingSession) bool { return now.Sub(w.First.Time()) < listAfter })
}

// showList shows visitors who wait, as many as one message holds.
func (d *Sink) showList(ctx context.Context, main bridge.ThreadID, waiting []engine.WaitingSession, all int) ([]bridge.Row, []string, error) {
	var lines, sessions, names []string
	for _, w := range waiting {
		e, ok, err := d.entries.Entry(ctx, w.First)
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			continue
		}
		intent, err := decodeIntent(bridge.Entry{Seq: e.Seq, Event: d.hide.Event(e.Event)})
		if err != nil {
			continue
		}
		s, err := d.sessionOf(ctx, e, intent)
		if err != nil {
			return nil, nil, err
		}
		names = append(names, measure.OneLine(s.DisplayName(), bridge.ShownName))
		line := "• " + names[len(names)-1]
		if w.Words > 1 {
			line += " " + words.Get().Of(words.Get().ListMessages, w.Words)
		}
		text := measure.OneLine(intent.text, listText)
		if text == "" && len(intent.files) > 0 {
			text = "📎 " + measure.OneLine(intent.files[0].Filename, listText)
		}
		lines, sessions = append(lines, line+words.Get().Colon+text), append(sessions, w.Session)
	}
	for ; len(lines) > 0; lines, sessions = lines[:len(lines)-1], sessions[:len(sessions)-1] {
		text := words.Get().ListHead.With(strconv.Itoa(all), bridge.Title(d.name)) + "\n\n" + strings.Join(lines, "\n")
		parts := d.platform.Render(bridge.Outgoing{Thread: main, Text: text, Foreign: true, Kind: bridge.KindMessage})
		if len(parts) != 1 {
			continue
		}
		ids, err := d.platform.Send(ctx, main, parts[0])
		if err != nil || len(ids) == 0 {
			return nil, nil, err
		}
		d.board.mu.Lock()
		d.board.lists = append(d.board.lists, list{ID: ids[0], At: time.Now().UTC(), Sessions: sessions, All: all, names: names})
		d.board.mu.Unlock()
		return []bridge.Row{d.messages.ListRow(ids[0], sessions), d.boardRow()}, sessions, nil
	}
	return nil, nil, nil
}

// linkOf is where a thread is found; nothing where the platform has no links, or not for this one.
func (d *Sink) linkOf(thread bridge.ThreadID) string {
	if l, ok := d.platform.(bridge.ThreadLinker); ok && thread != "" {
		return l.ThreadLink(thread)
	}
	return ""
}

// noticeText says how much waits.
func (d *Sink) noticeText(w engine.Backlog) string {
	say := words.Get()
	limit := say.PlatformLimit.With(bridge.Title(d.name))
	if w.Rate > 0 {
		limit = say.PlatformLimitOf.With(bridge.Title(d.name), say.Of(say.CallsAMinute, int(math.Round(w.Rate))))
	}
	return say.NoticeWaits.With(say.Of(say.Messages, w.Words), say.Of(say.VisitorsWait, w.Sessions), limit, d.clock(w.Oldest))
}

// showNotice says how much waits, in the notice that is there, or in a new one.
func (d *Sink) showNotice(ctx context.Context, main bridge.ThreadID, text string) ([]bridge.Row, []string, error) {
	b := &d.board
	b.mu.Lock()
	id := b.notice
	b.mu.Unlock()
	part := d.platform.Render(bridge.Outgoing{Thread: main, Text: text, Kind: bridge.KindNotice})[0]
	editor, edits := d.platform.(bridge.Editor)
	_, deletes := d.platform.(bridge.Deleter)
	if !edits || !deletes {
		return nil, nil, nil // it would never go
	}
	if id != "" {
		err := editor.Edit(ctx, main, id, part)
		if err == nil || !late(err) {
			b.mu.Lock()
			b.said = text
			b.mu.Unlock()
			return nil, nil, err
		}
	}
	ids, err := d.platform.Send(ctx, main, part)
	if err != nil || len(ids) == 0 {
		return nil, nil, err
	}
	b.mu.Lock()
	b.notice, b.said = ids[0], text
	b.mu.Unlock()
	return []bridge.Row{d.boardRow()}, nil, nil
}

// endNotice takes the notice away.
func (d *Sink) endNotice(ctx context.Context, main bridge.ThreadID) ([]bridge.Row, []string, error) {
	b := &d.board
	b.mu.Lock()
	id := b.notice
	b.notice, b.said, b.noticed = "", "", time.Time{}
	b.mu.Unlock()
	deleter, ok := d.platform.(bridge.Deleter)
	if !ok {
		return nil, nil, nil
	}
	err := deleter.Delete(ctx, main, id)
	if fault := bridge.AsDelivery(err, engine.OpDelete, ""); fault != nil && (fault.Reason == bridge.ReasonTransient ||
		fault.Reason == bridge.ReasonRateLimited || fault.Reason == bridge.ReasonUnconfirmed) {
		b.mu.Lock()
		b.notice = cmp.Or(b.notice, id) // it is tried again
		b.mu.Unlock()
		return nil, nil, err
	}
	return []bridge.Row{d.boardRow()}, nil, nil
}

// boardRow keeps what the main place shows.
func (d *Sink) boardRow() bridge.Row {
	b := &d.board
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unsaved = false
	row := bridge.Row{Table: tableBoard, Key: d.name}
	if b.notice != "" || len(b.lists) > 0 {
		row.Value = bridge.MustJSON(boardKept{ID: b.notice, Lists: b.lists})
	}
	return row
}

// loadBoard begins with what the process before has shown. What became of those in its lists meanwhile is looked up.
func (d *Sink) loadBoard(ctx context.Context) error {
	value, err := d.store.Get(ctx, tableBoard, d.name)
	if err != nil {
		return err
	}
	var n boardKept
	if value != nil {
		err = json.Unmarshal(value, &n)
	}
	d.board.mu.Lock()
	defer d.board.mu.Unlock()
	d.board.notice, d.board.said, d.board.noticed, d.board.lists, d.board.lastList = n.ID, "", time.Time{}, n.Lists, time.Time{}
	for i := range d.board.lists {
		d.board.lists[i].behind = true
	}
	return err
}

// Delayed implements engine.Delayer.
func (d *Sink) Delayed(waiting []bridge.Entry, now time.Time) []bridge.Event {
	var order []string
	of := map[string]*bridge.Delayed{}
	for _, e := range waiting {
		body := of[e.Event.Session]
		if body == nil {
			body = &bridge.Delayed{SessionID: e.Event.Session, SourceBridge: d.name, Seconds: int(now.Sub(e.Seq.Time()).Seconds())}
			of[e.Event.Session], order = body, append(order, e.Event.Session)
		}
		body.MessageIDs = append(body.MessageIDs, e.Event.Message)
	}
	out := make([]bridge.Event, 0, len(order))
	for _, session := range order {
		out = append(out, bridge.Event{Type: bridge.TypeMessageDelayed, Origin: d.name, Session: session, Body: bridge.MustJSON(of[session])})
	}
	return out
}
