package threads

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// Words that waited for the platform's pace are shown together: the first one and those right behind it in its session that have the
// same author and are nothing but texts. Nothing waits for more to come. What goes together is decided and recorded before the first
// call, so that a call whose answer was lost is made again as it was; what was written meanwhile goes into the next one.
const (
	mergeMost  = 16               // members
	mergeApart = 10 * time.Minute // between two of them, at most
	stampApart = time.Minute      // from then on it is shown when one was written
)

// group is what goes together, as it was when that was decided.
type group struct {
	Members []groupMember `json:"members"` // the first is the event's own
}

// groupMember is a message that goes with others.
type groupMember struct {
	Seq    bridge.Seq `json:"seq"`
	Edit   bridge.Seq `json:"edit,omitempty"` // that brought the text; 0: it is the message's own
	Edited time.Time  `json:"edited,omitzero"`
	Text   string     `json:"text"`
	Stamp  string     `json:"stamp,omitempty"`
	Gone   bool       `json:"gone,omitempty"` // it was deleted while it waited

	entry bridge.Entry
}

// live is how many members are to be shown.
func (g *group) live() int {
	return len(g.merged("").Live())
}

// merged is the group as the platform's message is kept.
func (g *group) merged(author string) msgmap.Merged {
	out := msgmap.Merged{Author: author}
	for _, m := range g.Members {
		ref := msgmap.RefOf(m.entry.Event)
		out.Members = append(out.Members, msgmap.Member{Side: ref.Side, ID: ref.ID, Text: m.Text, Stamp: m.Stamp, Gone: m.Gone})
	}
	return out
}

// together decides what a word is shown with, and when it was written, before its first call. decided says that it has to be recorded
// first.
func (d *Sink) together(ctx context.Context, it *attempt, p *progress) (res engine.Result, decided bool, err error) {
	it.group, it.stamp = p.Group, p.Stamp
	if it.group != nil {
		return res, false, d.load(ctx, it.group)
	}
	if p.Sent > 0 || p.Stamp != "" || it.Kind != bridge.KindMessage || it.want.message.ID == "" || !it.PossiblySent.IsZero() {
		return res, false, nil
	}
	if it.peek.Held() && time.Since(it.Entry.Seq.Time()) >= stampApart {
		it.stamp = d.clock(it.Entry.Seq.Time())
	}
	if d.mergeable(it) {
		if p.Group, err = d.gather(ctx, it); err != nil {
			return res, false, err
		}
	}
	if p.Stamp = it.stamp; p.Group == nil && p.Stamp == "" {
		return res, false, nil
	}
	return engine.Result{Idle: true, Next: true, Batch: bridge.Batch{Rows: []bridge.Row{d.progressRow(it.Entry, p)}}}, true, nil
}

// clock shows when a message was written.
func (d *Sink) clock(t time.Time) string {
	if d.clocks == nil {
		return t.UTC().Format("15:04")
	}
	return d.clocks(t, time.Now())
}

// groupKey names the part that shows several messages for ever.
func groupKey(e bridge.Entry, g *group) string {
	return e.Seq.String() + "/" + strconv.Itoa(len(g.Members)) + "m"
}

// mergeable says whether an event may be shown with those behind it.
func (d *Sink) mergeable(it *attempt) bool {
	w := &it.want
	return d.max.Merge > 0 && it.Kind == bridge.KindMessage && it.PossiblySent.IsZero() && it.Edited.IsZero() && !it.thread.Flat && isPlainWord(w) &&
		!d.single(it.Entry) && it.peek.Held()
}

// isPlainWord says whether an event is somebody's text and nothing else.
func isPlainWord(w *intent) bool {
	return w.message.ID != "" && w.late == nil && w.answer == nil && len(w.files) == 0 && strings.TrimSpace(w.text) != ""
}

// gather decides what is shown together with an event; nil: it goes alone.
func (d *Sink) gather(ctx context.Context, it *attempt) (*group, error) {
	behind, err := it.peek.Behind(ctx)
	if err != nil || len(behind) == 0 {
		return nil, err
	}
	changes, err := it.peek.ChangesBehind(ctx)
	if err != nil {
		return nil, err
	}
	g := &group{Members: []groupMember{{
		Seq: it.Entry.Seq, Edit: it.want.edit, Edited: it.want.edited, Text: it.want.text, Stamp: it.stamp, entry: it.Entry,
	}}}
	units := measure.Units(it.want.text)
	for _, e := range behind {
		if d.passes(e) {
			continue
		}
		m, ok := d.member(it, g, e, changes)
		if !ok {
			break
		}
		if !m.Gone {
			if m.Gone, err = it.peek.Deleted(ctx, e); err != nil {
				return nil, err
			}
		}
		if !m.Gone {
			if units += measure.Units(m.Text) + len("\n\n") + len("00:00 · "); units > d.max.Merge {
				break
			}
		}
		if g.Members = append(g.Members, m); g.live() == mergeMost {
			break
		}
	}
	for len(g.Members) > 1 {
		if last := g.Members[len(g.Members)-1]; !last.Gone {
			fits, err := d.fits(ctx, it, g)
			if err != nil {
				return nil, err
			}
			if fits {
				break
			}
		}
		g.Members = g.Members[:len(g.Members)-1]
	}
	if g.live() < 2 {
		return nil, nil //nolint:nilnil // it goes alone
	}
	return g, nil
}

// passes says whether words may overtake an event of their session: what changes a message finds it wherever it is shown, and what is
// told silently has time.
func (d kinds) passes(e bridge.Entry) bool {
	switch e.Event.Type {
	case bridge.TypeVisitorEdited, bridge.TypeVisitorDeleted, bridge.TypeOperatorEdited, bridge.TypeOperatorDeleted:
		return true
	}
	return d.Yields(e)
}

// Urgency implements engine.Ranker.
func (d kinds) Urgency(e bridge.Entry) engine.Urgency {
	if d.Kind(e) == bridge.KindMessage {
		return engine.UrgentWord
	}
	switch e.Event.Type {
	case bridge.TypeVisitorEdited, bridge.TypeVisitorDeleted, bridge.TypeOperatorEdited, bridge.TypeOperatorDeleted:
		return engine.UrgentChange
	case bridge.TypeOperatorMessageAcked, bridge.TypeMessageRead:
		return engine.UrgentSign
	}
	return engine.UrgentNotice
}

// Unseen implements engine.Ranker.
func (d *Sink) Unseen(session string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := cmp.Or(d.known[session], d.older[session])
	return t != nil && t.ID == ""
}

// Prepare implements engine.Preparer: it reads the threads of those who write, so that it is known of whom nothing is shown yet.
func (d *Sink) Prepare(ctx context.Context, entries []bridge.Entry, _ func(session string) bool) error {
	var ask []string
	d.mu.Lock()
	for _, e := range entries {
		session := e.Event.Session
		if session == "" || d.known[session] != nil || d.older[session] != nil || slices.Contains(ask, session) || d.Kind(e) != bridge.KindMessage {
			continue
		}
		ask = append(ask, session)
	}
	d.mu.Unlock()
	if len(ask) == 0 {
		return nil
	}
	rows, err := d.messages.Threads(ctx, ask...)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, session := range ask {
		if d.known[session] == nil && d.older[session] == nil { // else an attempt was faster
			d.remember(session, &rows[i])
		}
	}
	return nil
}

// Yields implements engine.Ranker.
func (d kinds) Yields(e bridge.Entry) bool {
	switch e.Event.Type {
	case bridge.TypeNewSession, bridge.TypeIdentityUpdate, bridge.TypeOperatorMessageAcked, bridge.TypeMessageRead:
		return true
	case bridge.TypeCustomEvent, bridge.TypeVisitorDisconnect:
		return d.Kind(e) == bridge.KindNotice
	}
	return d.Kind(e) == bridge.KindNone
}

// member is an event as a member of a group; ok is false for one that ends it.
func (d *Sink) member(it *attempt, g *group, e bridge.Entry, changes []bridge.Entry) (m groupMember, ok bool) {
	if d.Kind(e) != bridge.KindMessage {
		return m, false
	}
	w, err := decodeIntent(e)
	if err != nil || !isPlainWord(&w) || len(w.replyTo) > 0 || w.author != it.want.author || w.message.Side != it.want.message.Side {
		return m, false
	}
	last := g.Members[len(g.Members)-1]
	apart := e.Seq.Time().Sub(last.Seq.Time())
	if apart > mergeApart {
		return m, false
	}
	m = groupMember{Seq: e.Seq, Text: w.text, entry: e}
	for _, later := range changes {
		if msgmap.RefOf(later.Event) != w.message {
			continue
		}
		change, err := decodeIntent(later)
		switch {
		case err != nil: // its own delivery will say so
		case change.deletes:
			m.Gone = true
		case change.all != nil || len(change.files) > 0 || strings.TrimSpace(change.text) == "":
			return m, false
		case !change.edited.Before(m.Edited):
			m.Text, m.Edited, m.Edit = change.text, change.edited, later.Seq
		}
	}
	if apart >= stampApart {
		m.Stamp = d.clock(e.Seq.Time())
	}
	return m, true
}

// fits says whether a group is one message of the platform's.
func (d *Sink) fits(ctx context.Context, it *attempt, g *group) (bool, error) {
	before := it.group
	it.group = g
	defer func() { it.group = before }()
	out, _, err := d.composed(ctx, it, &progress{Plan: &filePlan{}, Call: it.call})
	if err != nil {
		return false, err
	}
	return len(d.platform.Render(out)) == 1, nil
}

// load reads the events of a group that was decided on before.
func (d *Sink) load(ctx context.Context, g *group) error {
	for i := range g.Members {
		m := &g.Members[i]
		if m.entry.Seq != 0 {
			continue
		}
		e, ok, err := d.entries.Entry(ctx, m.Seq)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("event %s, which was to be shown with others, is no longer in the log", m.Seq)
		}
		m.entry = e
	}
	return nil
}

// mergedSent are the rows and the events of a group that is shown.
func (d *Sink) mergedSent(it *attempt, out bridge.Outgoing, p progress, res engine.Result) engine.Result {
	session, id := it.Entry.Event.Session, p.IDs[0]
	all := it.group.merged(it.want.author)
	all.Card, all.Quote = p.Card, out.Quote
	all = all.Placed(it.shown)
	b := res.Batch
	for i, m := range it.group.Members {
		if i > 0 {
			res.Also = append(res.Also, m.Seq)
		}
		if m.Gone {
			continue
		}
		row := msgmap.Shown{
			IDs: p.IDs, Edited: m.Edited, EditSeq: m.Edit, Author: it.want.author, Card: p.Card && i == 0, Merged: true, Text: d.textKept(m.Text, nil, false),
		}
		b.Rows = append(b.Rows, d.messages.ShownRow(session, all.Members[i].Ref(), row))
		if m.entry.Event.Type == bridge.TypeVisitorMessage {
			b.Events = append(b.Events, d.receipt(m.entry, bridge.TypeMessageDelivered, ""))
		}
	}
	b.Rows = append(b.Rows, d.messages.MergedRow(session, id, all), d.messages.OriginOfMerged(session, id, all), d.progressRow(it.Entry, nil))
	res.Batch, res.Done, res.Seen, it.parts, it.group = b, true, true, nil, nil
	return res
}

// single says whether an event goes alone, since the platform has refused it together with others.
func (d *Sink) single(e bridge.Entry) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return e.Seq <= d.singles[e.Event.Session]
}

// part takes a group apart that the platform refused for what it says: its members go one by one.
func (d *Sink) part(it *memory, e bridge.Entry) bridge.Batch {
	d.mu.Lock()
	d.singles[e.Event.Session] = it.group.Members[len(it.group.Members)-1].Seq
	d.mu.Unlock()
	it.group = nil
	return bridge.Batch{Rows: []bridge.Row{d.progressRow(e, nil)}}
}

// mergedSteps are the calls that change one of several messages that are one. What waits to be changed in the same message is changed
// by the same call. A text that has become too long for it stands below, as a reply. nil: the platform cannot.
func (d *Sink) mergedSteps(ctx context.Context, it *attempt, s *bridge.Session, row *msgmap.Shown, p progress) ([]step, error) {
	_, edits := d.platform.(bridge.Editor)
	_, deletes := d.platform.(bridge.Deleter)
	if !edits || !deletes {
		return nil, nil
	}
	id := row.IDs[0]
	all, ok, err := d.messages.Merged(ctx, id)
	i := all.Index(it.want.changes)
	if err != nil || !ok || i < 0 {
		return nil, err
	}
	if p.Sent > 0 { // the first call is made
		before := *row
		row.Merged, row.Card, row.Of = false, false, id
		return append(append([]step{{}}, d.instead(it, s, before)...), d.uploadWhole(it)...), nil
	}
	next, changed, err := d.changesOf(ctx, it, all, *row)
	if err != nil {
		return nil, err
	}
	part, fits := d.mergedPart(ctx, it, s, next)
	below := !it.want.deletes && (!fits || it.want.all != nil || len(it.want.files) > 0)
	if below {
		next.Members[i].Below = true
		if part, fits = d.mergedPart(ctx, it, s, next); !fits {
			return nil, nil
		}
	}
	row.Gone = changed[it.want.changes].Gone // a later change takes it away
	first := d.editing(it, id, part)
	if len(next.Live()) == 0 && !next.Card {
		first = d.deleting(it, id)[0]
	}
	first.rows = d.mergedRows(it, id, next.Placed(shownOf(part)), changed)
	if !below {
		return []step{first}, nil
	}
	first = first.withoutIDs()
	before := *row
	row.Merged, row.Card, row.Of = false, false, id
	return append(append([]step{first}, d.instead(it, s, before)...), d.uploadWhole(it)...), nil
}

// mergedRows are the rows of a merged message that is shown anew, and of its other members that are others now.
func (d *Sink) mergedRows(it *attempt, id bridge.MessageID, next msgmap.Merged, changed map[msgmap.Ref]msgmap.Shown) []bridge.Row {
	session := it.Entry.Event.Session
	rows := []bridge.Row{d.messages.MergedRow(session, id, next), d.messages.OriginOfMerged(session, id, next)}
	for ref, row := range changed {
		if ref != it.want.changes {
			rows = append(rows, d.messages.ShownRow(session, ref, row))
		}
	}
	return rows
}

// withoutBelow is the call that takes what stands for a deleted message out of the merged message above it; nil: there is none.
func (d *Sink) withoutBelow(ctx context.Context, it *attempt, s *bridge.Session, row msgmap.Shown) ([]step, error) {
	editor, edits := d.platform.(bridge.Editor)
	if row.Of == "" || !it.want.deletes || !edits {
		return nil, nil
	}
	all, ok, err := d.messages.Merged(ctx, row.Of)
	i := all.Index(it.want.changes)
	if err != nil || !ok || i < 0 || all.Members[i].Gone {
		return nil, err
	}
	all.Members[i].Gone = true
	part, fits := d.mergedPart(ctx, it, s, all)
	if !fits || len(all.Live()) == 0 && !all.Card {
		return nil, nil
	}
	return []step{{op: engine.OpEdit, rows: d.mergedRows(it, row.Of, all.Placed(shownOf(part)), nil), do: func(ctx context.Context) ([]bridge.MessageID, error) {
		err := editor.Edit(ctx, it.thread.ID, row.Of, d.form(it, part))
		if late(err) {
			err = nil // it is gone with all that it said
		}
		return nil, err
	}}}, nil
}

// changesOf is a merged message after a change, and after those that wait behind it; changed are the rows of its members that are
// others now.
func (d *Sink) changesOf(ctx context.Context, it *attempt, all msgmap.Merged, row msgmap.Shown) (
	next msgmap.Merged, changed map[msgmap.Ref]msgmap.Shown, err error,
) {
	next, changed = all, map[msgmap.Ref]msgmap.Shown{}
	next.Members = slices.Clone(all.Members)
	apply := func(row msgmap.Shown, w intent) {
		m := &next.Members[next.Index(w.changes)]
		if w.deletes {
			m.Gone, m.Text, row.Gone, row.Text = true, "", true, ""
			if !row.Card {
				row.IDs = nil
			}
		} else {
			m.Text, m.Below, row.Edited, row.EditSeq, row.Text = w.text, false, w.edited, w.edit, d.textKept(w.text, nil, false)
		}
		changed[w.changes] = row
	}
	apply(row, it.want)
	behind, err := it.peek.ChangesBehind(ctx)
	if err != nil {
		return next, changed, err
	}
	for _, later := range behind {
		w, err := decodeIntent(later)
		if err != nil || later.Seq == it.Entry.Seq || later.Event.Origin == d.name || next.Index(w.changes) < 0 || w.changes == it.want.changes && !w.deletes {
			continue
		}
		if w.all != nil || len(w.files) > 0 { // it takes more than this call
			continue
		}
		row, ok := changed[w.changes]
		if !ok {
			if row, ok, err = d.messages.Shown(ctx, it.Entry.Event.Session, w.changes); err != nil {
				return next, changed, err
			}
		}
		if !ok || row.Gone || !row.Merged || !w.deletes && outdated(row, w, later.Seq) {
			continue
		}
		before := slices.Clone(next.Members)
		apply(row, w)
		if measure.Units(next.Text()) > d.max.Merge { // it is shown when its turn comes
			next.Members = before
			delete(changed, w.changes)
		}
	}
	return next, changed, nil
}

// outdated says whether an edit is older than what is shown, or shown already.
func outdated(row msgmap.Shown, w intent, seq bridge.Seq) bool {
	return w.edited.Before(row.Edited) || w.edited.Equal(row.Edited) && seq <= row.EditSeq
}

// mergedPart is a merged message as it is shown anew; ok is false where it is not one message any more.
func (d *Sink) mergedPart(ctx context.Context, it *attempt, s *bridge.Session, all msgmap.Merged) (part bridge.Part, ok bool) {
	shown := msgmap.Shown{Author: all.Author, Card: all.Card, Quote: all.Quote}
	if len(all.Live()) == 0 {
		shown.Author, shown.Quote = "", nil
	}
	part, ok = d.onePart(ctx, it, s, shown, all.Text())
	part.Key = partKey(it.Entry, 0)
	return part, ok
}

// shownOf is a part as it is read.
func shownOf(part bridge.Part) string {
	if part.Plain != "" {
		return part.Plain
	}
	return part.Text
}

// excerptOf is the part of a merged message that is a member's text, as far as a platform takes it for a quotation.
func (d *Sink) excerptOf(ctx context.Context, session string, messages []msgmap.Ref, row msgmap.Shown) (*bridge.Excerpt, error) {
	all, ok, err := d.messages.Merged(ctx, row.IDs[0])
	if err != nil || !ok {
		return nil, err
	}
	for _, ref := range messages {
		i := all.Index(ref)
		if i < 0 || all.Members[i].Gone || all.Members[i].From < 0 {
			continue
		}
		m := all.Members[i]
		text, _, _ := strings.Cut(m.Shown(), "\n")
		if cut := strings.IndexAny(text, "/@<>&"); cut >= 0 {
			text = text[:cut]
		}
		const most = 100 // characters of a quotation
		if r := []rune(text); len(r) > most {
			text = string(r[:most])
		}
		if text = strings.TrimRight(text, " \t"); text == "" || strings.TrimLeft(text, " \t") != text {
			return nil, nil //nolint:nilnil // there is nothing to quote
		}
		return &bridge.Excerpt{Text: text, From: m.From}, nil
	}
	return nil, nil //nolint:nilnil // likewise
}
