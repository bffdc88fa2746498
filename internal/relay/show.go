package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// progress is how far an event of several calls is.
type progress struct {
	Sent    int                 `json:"sent"`           // calls that are done
	Card    bool                `json:"card,omitempty"` // the card is in the first part
	Edit    bridge.Seq          `json:"edit,omitempty"` // of the edit whose text is sent; 0: the message's own
	IDs     []bridge.MessageID  `json:"ids,omitempty"`
	Files   []bridge.MessageID  `json:"files,omitempty"`
	Failed  []bridge.Attachment `json:"failed,omitempty"`  // files that could not be uploaded, and become links in the end
	Plan    *filePlan           `json:"plan,omitempty"`    // what becomes of its files; nil: not decided, or begun before there were plans
	Instead bool                `json:"instead,omitempty"` // a change is shown as a message of its own
	Told    bool                `json:"told,omitempty"`    // that the conversation is closed; its thread is next
}

func (d *threads) progress(ctx context.Context, e bridge.Entry) (progress, error) {
	var p progress
	value, err := d.store.Get(ctx, tableProgress+d.name, e.Seq.String())
	if err != nil || value == nil {
		return p, err
	}
	return p, json.Unmarshal(value, &p)
}

// progressRow keeps how far an event is; a nil p forgets it.
func (d *threads) progressRow(e bridge.Entry, p *progress) bridge.Row {
	row := bridge.Row{Table: tableProgress + d.name, Key: e.Seq.String(), Session: e.Event.Session}
	if p != nil {
		row.Value = mustJSON(p)
	}
	return row
}

// send sends the next part of what is to be shown, and records it.
func (d *threads) send(ctx context.Context, it *item, e bridge.Entry, t *thread, w wish, reply bridge.MessageID) (result, error) {
	p, err := d.progress(ctx, e)
	if err != nil {
		return result{}, err
	}
	if it.now != nil && p.Sent > 0 && p.Edit != w.edit {
		p = progress{} // it is another text now
	}
	switch {
	case p.Plan == nil && p.Sent > 0:
		p.Plan = d.begunPlan(w)
	case p.Plan == nil:
		plan, wait := d.planFiles(e, w)
		if w.late == nil && len(plan.Late) > 0 && time.Now().Before(wait.until) && !d.lane.wordsBehind(it) {
			return result{idle: true, wait: &wait}, nil
		}
		p.Plan = &plan
	}
	out, more, err := d.composed(ctx, it, e, t, w, &p)
	if err != nil {
		return result{}, err
	}
	if reply != "" {
		out.ReplyTo = reply
	}
	undecked := p.Sent == 0 && it.bare > 0 && !t.Card && !d.opensWithCard() && w.late == nil
	if p.Sent == 0 {
		p.Edit = w.edit
	}
	var parts []bridge.Part
	onlyLate := len(p.Plan.Late) > 0 && strings.TrimSpace(out.Text) == "" && len(out.Files) == 0 && len(out.Links) == 0
	if onlyLate {
		out.Text, out.Quote = "", nil
	}
	if !onlyLate || out.Card != nil {
		parts = d.platform.Render(out)
	}
	if len(p.Failed) > 0 {
		parts = append(parts, d.platform.Render(bridge.Outgoing{
			Thread: t.ID, Author: w.author, Visitor: out.Visitor, Links: p.Failed, Kind: it.kind,
		})...)
	}
	res := result{idle: true}
	failed := len(p.Failed)
	switch {
	case p.Sent < len(parts):
		part := parts[p.Sent]
		part.Key, part.Since = partKey(e, p.Sent), it.since
		if res, err = d.sendPart(ctx, it, e, t, w, part, &p); errors.Is(err, errNoCall) {
			return res, nil
		} else if err != nil {
			return res, err
		}
		it.plain = false
		p.Sent++
	case !onlyLate:
		return result{}, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: "render", Detail: "nothing to show"}
	}
	if p.Card && !t.Card {
		next := *t
		next.Card, next.CardOf, next.CardSide, next.CardSum = true, w.message.id, w.message.side, cardSum(out.Card)
		res.batch.Rows = append(res.batch.Rows, d.keep(e.Event.Session, &next))
	}
	if undecked { // nor does the next message bring the card
		next := *t
		next.Card, next.CardSum = true, ""
		res.batch.Rows = append(res.batch.Rows, d.keep(e.Event.Session, &next))
	}
	if p.Sent < len(parts) || len(p.Failed) > failed {
		res.batch.Rows = append(res.batch.Rows, d.progressRow(e, &p))
		return res, nil
	}
	if len(parts) > 1 {
		res.batch.Rows = append(res.batch.Rows, d.progressRow(e, nil))
	}
	return d.sent(ctx, e, w, out, more, p, res)
}

// composed is what is to be shown, as far as an event has come; more is the line in it that names files.
func (d *threads) composed(ctx context.Context, it *item, e bridge.Entry, t *thread, w wish, p *progress) (
	out bridge.Outgoing, more string, err error,
) {
	if out, err = d.outgoing(ctx, e, t, w, it.kind); err != nil {
		return out, "", err
	}
	more = d.addFiles(&out, e, w, p.Plan)
	if w.late != nil && !w.late.Alone && (out.Quote != nil || out.ReplyTo != "" && len(out.Links) == 0) {
		out.Author = "" // what it replies to says it
	}
	if w.late != nil && out.Quote != nil && out.Text == "" && len(out.Files) > 0 { // a quotation stands above a text
		all := w.messageFiles(e)
		for i := range all {
			all[i].Filename = cmp.Or(all[i].Filename, "file")
		}
		out.Text = "📎 " + namesOf(slices.DeleteFunc(all, func(f messageFile) bool { return slices.Contains(p.Plan.Late, f.place) }))
	}
	if p.Sent == 0 {
		wants := !t.Card && !d.opensWithCard() && w.late == nil
		it.decked = wants || out.ReplyTo != "" || out.Quote != nil
		if it.bare > 0 {
			wants, out.ReplyTo, out.Quote = false, "", nil
		}
		p.Card = p.Card || wants
	}
	if p.Card {
		out.Card, err = d.sessionOf(ctx, e, w)
	}
	return out, more, err
}

// sent completes the record of an event all of whose parts are sent.
func (d *threads) sent(ctx context.Context, e bridge.Entry, w wish, out bridge.Outgoing, more string, p progress, res result) (result, error) {
	session := e.Event.Session
	b := res.batch
	b.Rows = append(b.Rows, d.keepSession(e, w).Rows...)
	switch {
	case w.late != nil:
		rows, err := d.lateShown(ctx, e, w, p)
		if err != nil {
			return result{}, err
		}
		b.Rows = append(b.Rows, rows...)
	case w.message.id != "" || p.Card && session != "":
		row := shown{IDs: p.IDs, Files: p.Files, Edited: w.edited, EditSeq: w.edit, Author: w.author, Card: p.Card, Quote: out.Quote, More: more}
		row.Links = append(out.Links[:len(out.Links):len(out.Links)], p.Failed...)
		row.Text = d.textKept(w.text, w.files, p.Card)
		b.Rows = append(b.Rows, shownRows(d.name, session, w.message, row)...)
	}
	if w.answer != nil && w.answer.Asks != nil {
		for _, id := range p.IDs {
			b.Rows = append(b.Rows, bridge.Row{
				Table: tableQuestions + d.name, Key: string(id), Value: []byte(w.answer.Asks.Message), Session: w.answer.Asks.Session,
			})
		}
	}
	alone := false // nothing of the message is shown
	if late := p.Plan.Late; len(late) > 0 {
		alone = len(p.Files)+len(p.Failed)+len(out.Links) == 0 && strings.TrimSpace(out.Text) == "" && (w.late == nil || w.late.Alone)
		b.Events = append(b.Events, d.following(e, w, late, alone))
	}
	if e.Event.Type == bridge.TypeVisitorMessage && !alone || w.late != nil && w.late.Alone && w.late.Visitor && !alone {
		b.Events = append(b.Events, d.receipt(e, bridge.TypeMessageDelivered, ""))
	}
	d.dropFiles(e, w, p.Plan.Late)
	res.batch, res.done = b, true
	return res, nil
}

// errNoCall says that a part was not sent, since it takes more places in the pace than the attempt has.
var errNoCall = errors.New("no call was made")

// partKey names a part of an event's delivery for ever.
func partKey(e bridge.Entry, n int) string { return e.Seq.String() + "/" + strconv.Itoa(n) }

// sendPart makes the one call of a part, and adds what it came to.
func (d *threads) sendPart(ctx context.Context, it *item, e bridge.Entry, t *thread, w wish, part bridge.Part, p *progress) (result, error) {
	if n := len(part.Files); d.max.FilesCount && !d.lane.hasPlaces(it, n) {
		return result{idle: true, needs: n}, errNoCall
	}
	if len(part.Files) > 0 {
		return d.upload(ctx, e, t, w, part, p)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ids, err := d.platform.Send(ctx, t.ID, d.form(it, part))
	p.IDs = append(p.IDs, ids...)
	return result{op: opSend}, err
}

// outgoing is what is to be shown, without its card and its files.
func (d *threads) outgoing(ctx context.Context, e bridge.Entry, t *thread, w wish, kind bridge.Kind) (bridge.Outgoing, error) {
	out := bridge.Outgoing{
		Thread: t.ID, Author: w.author, Text: w.text, Foreign: w.foreign, Mention: w.mention, Kind: kind,
	}
	s, err := d.sessionOf(ctx, e, w)
	if err != nil {
		return out, err
	}
	out.Visitor = s.DisplayName()
	target, ok, err := d.repliedTo(ctx, e.Event.Session, w.replyTo)
	switch {
	case err != nil || !ok || target.Gone: // shown without the reply rather than not at all
		return out, err
	case d.max.Quotes && target.Text != "":
		out.Quote = &bridge.Quote{Author: target.Author, Text: target.Text}
	case !d.max.Quotes && len(target.IDs) > 0:
		out.ReplyTo = target.IDs[0]
	case !d.max.Quotes && len(target.Files) > 0:
		out.ReplyTo = target.Files[0]
	}
	return out, nil
}

// repliedTo returns the first of several messages that is shown, or was.
func (d *threads) repliedTo(ctx context.Context, session string, messages []ref) (row shown, ok bool, err error) {
	for _, m := range messages {
		if row, ok, err = d.shown(ctx, session, m); err != nil || ok {
			return row, ok, err
		}
	}
	return row, false, nil
}

// quoted is how much of a text is kept for a platform that quotes, in characters.
const quoted = 200

// textKept is what is kept of a message that is shown.
func (d *threads) textKept(text string, files []bridge.Attachment, card bool) string {
	switch {
	case card:
		return text
	case !d.max.Quotes:
		return ""
	default:
		return beginning(text, files)
	}
}

// beginning is a message's text, or as much of it as is quoted; where there is none, the name of its first file.
func beginning(text string, files []bridge.Attachment) string {
	if text == "" && len(files) > 0 {
		text = strings.TrimSpace("📎 " + files[0].Filename)
	}
	if r := []rune(text); len(r) > quoted {
		return string(r[:quoted]) + "…"
	}
	return text
}

// shown returns what a message became on this platform; ok is false for one that is not shown.
func (d *threads) shown(ctx context.Context, session string, message ref) (row shown, ok bool, err error) {
	value, err := d.store.Get(ctx, tableShown+d.name, message.key(session))
	if err == nil && value == nil && message.id != "" {
		value, err = d.shownEarlier(ctx, session, message)
	}
	if err != nil || value == nil {
		return row, false, err
	}
	err = json.Unmarshal(value, &row)
	return row, err == nil, err
}

// shownEarlier returns the row of a message that a version which knew no sides has shown; nil for none, and for one that is the
// other side's.
func (d *threads) shownEarlier(ctx context.Context, session string, message ref) ([]byte, error) {
	value, err := d.store.Get(ctx, tableShown+d.name, message.earlierKey(session))
	if err != nil || value == nil {
		return nil, err
	}
	whose, err := earlierSide(ctx, d.store, session, message.id)
	if err != nil || whose != message.side {
		return nil, err
	}
	return value, nil
}

// shownRow is one direction of the message map, shownRows are both.
func shownRow(platform, session string, message ref, s shown) bridge.Row {
	return bridge.Row{Table: tableShown + platform, Key: message.key(session), Value: mustJSON(s), Session: session}
}

func shownRows(platform, session string, message ref, s shown) []bridge.Row {
	rows := []bridge.Row{shownRow(platform, session, message, s)}
	return append(rows, originRows(platform, session, message, s.IDs, s.Files)...)
}

func originRows(platform, session string, message ref, ids ...[]bridge.MessageID) []bridge.Row {
	var rows []bridge.Row
	for _, list := range ids {
		for _, id := range list {
			rows = append(rows, bridge.Row{
				Table: tableOrigins + platform, Key: string(id), Value: mustJSON(origin{session, message.id, message.side}), Session: session,
			})
		}
	}
	return rows
}

func (d *threads) receipt(e bridge.Entry, t bridge.Type, reason string) bridge.Event {
	return bridge.Event{
		Type: t, Origin: d.name, Session: e.Event.Session, Message: e.Event.Message,
		Body: mustJSON(bridge.Receipt{
			SessionID: e.Event.Session, MessageID: e.Event.Message, SourceBridge: d.name, Reason: reason,
		}),
	}
}
