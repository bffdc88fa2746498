package threads

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// progress is how far an event of several calls is.
type progress struct {
	Sent    int                 `json:"sent"`           // calls that are done
	Card    bool                `json:"card,omitempty"` // the card is in the first part
	Edit    bridge.Seq          `json:"edit,omitempty"` // of the edit whose text is sent; 0: the message's own
	IDs     []bridge.MessageID  `json:"ids,omitempty"`
	Files   []bridge.MessageID  `json:"files,omitempty"`
	Failed  []bridge.Attachment `json:"failed,omitempty"`  // files that could not be uploaded, and become links in the end
	Caption bool                `json:"caption,omitempty"` // the text stands beside files, in one message with them
	Plan    *filePlan           `json:"plan,omitempty"`    // what becomes of its files; nil: not decided, or begun before there were plans
	Instead bool                `json:"instead,omitempty"` // a change is shown as a message of its own
	Told    bool                `json:"told,omitempty"`    // that the conversation is closed; its thread is next
	Call    *calling            `json:"call,omitempty"`    // who is called with it; nil: nobody
	Called  bool                `json:"called,omitempty"`  // that is decided
	Group   *group              `json:"group,omitempty"`   // what it is shown with; nil: nothing, or not decided
	Stamp   string              `json:"stamp,omitempty"`   // when it was written, where that is shown
}

func (d *Sink) progress(ctx context.Context, e bridge.Entry) (progress, error) {
	var p progress
	value, err := d.store.Get(ctx, tableProgress+d.name, e.Seq.String())
	if err != nil || value == nil {
		return p, err
	}
	return p, json.Unmarshal(value, &p)
}

// progressRow keeps how far an event is; a nil p forgets it.
func (d *Sink) progressRow(e bridge.Entry, p *progress) bridge.Row {
	row := bridge.Row{Table: tableProgress + d.name, Key: e.Seq.String(), Session: e.Event.Session}
	if p != nil {
		row.Value = bridge.MustJSON(p)
	}
	return row
}

// send sends the next part of what is to be shown, and records it.
func (d *Sink) send(ctx context.Context, it *attempt, reply bridge.MessageID) (engine.Result, error) {
	p, err := d.progress(ctx, it.Entry)
	if err != nil {
		return engine.Result{}, err
	}
	if !it.Edited.IsZero() && p.Sent > 0 && p.Edit != it.want.edit {
		p = progress{} // it is another text now
	}
	res, decided, err := d.planned(ctx, it, &p)
	if decided || err != nil {
		return res, err
	}
	if res, sent, err := d.cardAlone(ctx, it, &p); sent || err != nil {
		return res, err
	}
	out, more, err := d.composed(ctx, it, &p)
	if err != nil {
		return engine.Result{}, err
	}
	if reply != "" {
		out.ReplyTo = reply
	}
	undecked := p.Sent == 0 && it.decorationsDropped > 0 && !it.thread.Card && !d.opensWithCard() && it.want.late == nil
	if p.Sent == 0 {
		p.Edit = it.want.edit
	}
	var parts []bridge.Part
	onlyLate := len(p.Plan.Late) > 0 && strings.TrimSpace(out.Text) == "" && len(out.Files) == 0 && len(out.Links) == 0
	if onlyLate {
		out.Text, out.Quote = "", nil
	}
	switch {
	case p.Sent > 0 && it.parts != nil:
		parts = it.parts
	case !onlyLate || out.Card != nil:
		parts = d.platform.Render(out)
		it.parts = parts
	}
	if len(p.Failed) > 0 {
		parts = append(parts[:len(parts):len(parts)], d.platform.Render(bridge.Outgoing{
			Thread: it.thread.ID, Author: it.want.author, Visitor: out.Visitor, Links: p.Failed, Kind: it.Kind,
		})...)
	}
	res = engine.Result{Idle: true}
	failed := len(p.Failed)
	switch {
	case p.Sent < len(parts):
		part := parts[p.Sent]
		part.Key, part.Since = partKey(it.Entry, p.Sent), it.PossiblySent
		if it.group != nil {
			part.Key = groupKey(it.Entry, it.group)
		}
		it.shown = shownOf(part)
		if res, err = d.sendPart(ctx, it, part, &p); errors.Is(err, errNotSent) {
			return res, nil
		} else if err != nil {
			return res, err
		}
		it.plain = false
		p.Sent++
	case !onlyLate:
		return engine.Result{}, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: "render", Detail: "nothing to show"}
	}
	if next := *it.thread; d.noteThread(it, &next, &p, out.Card, undecked) {
		res.Batch.Rows = append(res.Batch.Rows, d.keepThread(it.Entry.Event.Session, &next))
	}
	if p.Sent < len(parts) || len(p.Failed) > failed {
		res.Batch.Rows = append(res.Batch.Rows, d.progressRow(it.Entry, &p))
		return res, nil
	}
	if len(parts) > 1 || p.Stamp != "" || p.Call != nil || p.Plan.any() {
		res.Batch.Rows = append(res.Batch.Rows, d.progressRow(it.Entry, nil))
	}
	return d.sent(it, out, more, p, res), nil
}

// planned decides what a message is shown as, before its first call: what becomes of its files, what it is shown with, and who is called
// with it. What was decided is recorded first, so that a call whose answer was lost is made again as it was. decided says that nothing else
// is to be done now.
func (d *Sink) planned(ctx context.Context, it *attempt, p *progress) (res engine.Result, decided bool, err error) {
	before := *p
	recorded := before.Plan
	switch {
	case p.Plan == nil && p.Sent > 0:
		p.Plan = d.begunPlan(it.want)
	case p.Plan == nil || p.Sent == 0 && p.Group == nil:
		plan, wait := d.planFiles(it.Entry, it.want)
		inDoubt := p.Plan != nil && !it.PossiblySent.IsZero()
		late := len(plan.Late) > 0 && time.Now().Before(wait.Until) && !it.peek.TextBehind()
		if inDoubt && notHere(&plan, p.Plan) { // what went with it has to be here again, or else it would be shown once more without that
			wait.Until, wait.PastTexts, late = time.Now().Add(refetchIn), true, true
		}
		if it.want.late == nil && late {
			return engine.Result{Idle: true, Wait: &wait}, true, nil
		}
		if inDoubt {
			break
		}
		plan.With = recorded == nil || recorded.With
		p.Plan, p.Edit = &plan, it.want.edit
	}
	if err = d.decideCall(ctx, it, p); err != nil {
		return res, false, err
	}
	if res, decided, err = d.together(ctx, it, p); decided || err != nil {
		return res, decided, err
	}
	isRecorded := p.Plan.any() || p.Group != nil || p.Stamp != "" || p.Call != nil
	if p.Sent > 0 || !isRecorded || p.decidedAs(&before) {
		return res, false, nil
	}
	return engine.Result{Idle: true, Next: true, Batch: bridge.Batch{Rows: []bridge.Row{d.progressRow(it.Entry, p)}}}, true, nil
}

// decidedAs says whether all that is decided before a message's first call is as it was. The plan of one that has none is not recorded.
func (p *progress) decidedAs(before *progress) bool {
	samePlan := p.Plan.equal(before.Plan) || !p.Plan.any() && before.Plan == nil
	return samePlan && p.Edit == before.Edit && p.Called == before.Called && p.Call.equal(before.Call)
}

// noteThread notes in a thread's row what its message has brought: the card, a call. It says whether it did.
func (d *Sink) noteThread(it *attempt, next *msgmap.Thread, p *progress, card *bridge.Session, undecked bool) (changed bool) {
	if p.Card && !it.thread.Card {
		next.Card, next.CardOf, next.CardSide, next.CardSum = true, it.want.message.ID, it.want.message.Side, cardSum(card)
		changed = true
	}
	if undecked { // nor does the next message bring the card
		next.Card, next.CardSum = true, ""
		changed = true
	}
	if p.Sent == 1 && p.Call != nil && (p.Call.Notify || p.Call.Broadcast) {
		next.Rung = time.Now().UTC()
		changed = true
	}
	return changed
}

// composed is what is to be shown, as far as an event has come; more is the line in it that names files.
func (d *Sink) composed(ctx context.Context, it *attempt, p *progress) (
	out bridge.Outgoing, more string, err error,
) {
	if out, err = d.outgoing(ctx, it, it.Kind); err != nil {
		return out, "", err
	}
	more = d.addFiles(it, &out, p.Plan)
	d.ring(it, &out, p.Call)
	if it.want.late != nil && !it.want.late.Alone && (out.Quote != nil || out.ReplyTo != "" && len(out.Links) == 0) {
		out.Author = "" // what it replies to says it
	}
	if it.want.late != nil && out.Quote != nil && out.Text == "" && len(out.Files) > 0 { // a quotation stands above a text
		isLate := func(f messageFile) bool { return slices.Contains(p.Plan.Late, f.place) }
		out.Text = "📎 " + namesOf(slices.DeleteFunc(it.want.messageFiles(it.Entry), isLate))
	}
	if p.Sent == 0 {
		wants := !it.thread.Card && !d.opensWithCard() && it.want.late == nil
		it.decorated = wants || out.ReplyTo != "" || out.Quote != nil
		if it.decorationsDropped > 0 {
			wants, out.ReplyTo, out.Quote, out.Excerpt, p.Call = false, "", nil, nil, nil
			out.Mention, out.Notify, out.Broadcast = it.want.mention, false, false
		}
		p.Card = p.Card || wants
	}
	if p.Card {
		out.Buttons = d.cardButtons(ctx)
		out.Card, err = d.sessionOf(ctx, it.Entry, it.want)
	}
	return out, more, err
}

// sent completes the record of an event all of whose parts are sent.
func (d *Sink) sent(it *attempt, out bridge.Outgoing, more string, p progress, res engine.Result) engine.Result {
	session := it.Entry.Event.Session
	if it.group != nil {
		return d.mergedSent(it, out, p, res)
	}
	b := res.Batch
	b.Rows = append(b.Rows, d.keepSession(it.Entry, it.want).Rows...)
	switch {
	case it.want.late != nil:
		b.Rows = append(b.Rows, d.lateShown(it, p)...)
	case it.want.message.ID != "" || p.Card && session != "":
		row := msgmap.Shown{
			IDs: p.IDs, Files: p.Files, Caption: p.Caption, Edited: it.want.edited, EditSeq: it.want.edit, Author: it.want.author, Card: p.Card,
			Quote: out.Quote, More: more, Stamp: it.stamp, Own: out.Face == (bridge.Face{}) && it.want.message.ID != "",
		}
		row.Links = append(out.Links[:len(out.Links):len(out.Links)], p.Failed...)
		row.Text = d.textKept(it.want.text, it.want.files, p.Card)
		b.Rows = append(b.Rows, d.messages.ShownRows(session, it.want.message, row)...)
	}
	if it.want.answer != nil && it.want.answer.Asks != nil {
		for _, id := range p.IDs {
			b.Rows = append(b.Rows, d.messages.QuestionRow(id, *it.want.answer.Asks))
		}
	}
	alone := false // nothing of the message is shown
	if late := p.Plan.Late; len(late) > 0 {
		alone = len(p.Files)+len(p.Failed)+len(out.Links) == 0 && strings.TrimSpace(out.Text) == "" && (it.want.late == nil || it.want.late.Alone)
		b.Events = append(b.Events, d.following(it, late, alone))
	}
	if it.Entry.Event.Type == bridge.TypeVisitorMessage && !alone || it.want.late != nil && it.want.late.Alone && it.want.late.Visitor && !alone {
		b.Events = append(b.Events, d.receipt(it.Entry, bridge.TypeMessageDelivered, ""))
	}
	d.dropFiles(it.Entry, it.want, p.Plan.Late)
	res.Batch, res.Done, res.Seen, it.parts = b, true, true, nil
	return res
}

// errNotSent says that a part was not sent: it takes more places in the pace than the attempt has, or is to go in another way.
var errNotSent = errors.New("the part was not sent")

// partKey names a part of an event's delivery for ever.
func partKey(e bridge.Entry, n int) string { return e.Seq.String() + "/" + strconv.Itoa(n) }

// sendPart makes the one call of a part, and adds what it came to.
func (d *Sink) sendPart(ctx context.Context, it *attempt, part bridge.Part, p *progress) (engine.Result, error) {
	if n := len(part.Files); d.max.FilesCount && !it.hasPlaces(n) {
		return engine.Result{Idle: true, Needs: n}, errNotSent
	}
	if len(part.Files) > 0 {
		return d.upload(ctx, it, part, p)
	}
	return d.sendText(ctx, it, part, p)
}

func (d *Sink) sendText(ctx context.Context, it *attempt, part bridge.Part, p *progress) (engine.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, engine.CallTimeout)
	defer cancel()
	ids, err := d.platform.Send(ctx, it.thread.ID, d.form(it, part))
	p.IDs = append(p.IDs, ids...)
	return engine.Result{Op: engine.OpSend}, err
}

// outgoing is what is to be shown, without its card and its files.
func (d *Sink) outgoing(ctx context.Context, it *attempt, kind bridge.Kind) (bridge.Outgoing, error) {
	out := bridge.Outgoing{
		Thread: it.thread.ID, Author: it.want.author, Text: it.want.text, Foreign: it.want.foreign, Mention: it.want.mention, Kind: kind,
	}
	if it.group != nil {
		out.Text = it.group.merged("").Text()
	} else {
		out.Text = msgmap.Stamped(it.stamp, out.Text)
	}
	s, err := d.sessionOf(ctx, it.Entry, it.want)
	if err != nil {
		return out, err
	}
	out.Visitor = s.DisplayName()
	if p, ok := d.platform.(bridge.Presser); ok && p.Presses() && it.want.answer != nil {
		out.Buttons = it.want.answer.Buttons
	}
	switch {
	case it.want.author != "":
		out.Face = bridge.Face{Name: it.want.author, Seed: it.want.author}
	case it.Entry.Event.Type == bridge.TypeVisitorMessage && it.Kind == bridge.KindMessage:
		out.Face = visitorFace(s)
	}
	target, ok, err := d.repliedTo(ctx, it.Entry.Event.Session, it.want.replyTo)
	switch {
	case err != nil || !ok || target.Gone: // shown without the reply rather than not at all
		return out, err
	case d.max.Quotes && target.Text != "":
		out.Quote = &bridge.Quote{Author: target.Author, Text: target.Text}
	case !d.max.Quotes && len(target.IDs) > 0:
		out.ReplyTo = target.IDs[0]
		if target.Merged {
			out.Excerpt, err = d.excerptOf(ctx, it.Entry.Event.Session, it.want.replyTo, target)
		}
	case !d.max.Quotes && len(target.Files) > 0:
		out.ReplyTo = target.Files[0]
	}
	return out, err
}

// repliedTo returns the first of several messages that is shown, or was.
func (d *Sink) repliedTo(ctx context.Context, session string, messages []msgmap.Ref) (row msgmap.Shown, ok bool, err error) {
	for _, m := range messages {
		if row, ok, err = d.messages.Shown(ctx, session, m); err != nil || ok {
			return row, ok, err
		}
	}
	return row, false, nil
}

// textKept is what is kept of a message that is shown.
func (d *Sink) textKept(text string, files []bridge.Attachment, card bool) string {
	switch {
	case card:
		return text
	case !d.max.Quotes:
		return ""
	default:
		return msgmap.Excerpt(text, files)
	}
}
