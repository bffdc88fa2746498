package desk

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/words"
)

const (
	// tableDrafts holds what programs propose: key a digest of session and draft, value draft.
	tableDrafts = "drafts"
	// tableDraftEdits holds whose next message in a thread is a draft's text, on a platform without replies: key session, line feed,
	// account, value draftEdit.
	tableDraftEdits = "draftedits"
	// draftEditFor is how long that is so.
	draftEditFor = 10 * time.Minute
)

// draft is an answer that waits for a person's word. Of one that was sent or dropped the text is not kept.
type draft struct {
	Session string `json:"session"`
	ID      string `json:"id"` // the program's own
	Author  string `json:"author,omitempty"`
	Text    string `json:"text,omitempty"`
	Done    string `json:"done,omitempty"` // sent or dropped
	By      string `json:"by,omitempty"`   // who has done it, or has written its present text, as colleagues know them
}

type draftEdit struct {
	Draft string    `json:"draft"`
	At    time.Time `json:"at"`
}

// What was done with a draft, and what its buttons ask for.
const (
	draftSent    = "sent"
	draftDropped = "dropped"
	pressSend    = "send"
	pressEdit    = "edit"
	pressDrop    = "drop"
)

func draftKey(session, id string) string { return bridge.Digest([]byte(session + "\n" + id)) }

func draftRow(key string, d draft) bridge.Row {
	return bridge.Row{Table: tableDrafts, Key: key, Value: bridge.MustJSON(d), Session: d.Session}
}

// draftOf returns a draft; nil: there is none. raw is the row's value.
func (r *Desk) draftOf(ctx context.Context, key string) (d *draft, raw []byte, err error) {
	return msgmap.Row[draft](ctx, r.store, tableDrafts, key)
}

// draftNotice shows a draft in the threads of its session, or shows it anew.
func draftNotice(key string, d draft, changes bool) bridge.Event {
	say := words.Get()
	a := bridge.Answer{Session: d.Session, Draft: key, Changes: changes, Foreign: true}
	author := cmp.Or(measure.OneLine(d.Author, bridge.ShownName), say.TheAI)
	switch d.Done {
	case draftSent: // its own platform is shown the text by nothing else
		a.Text = say.DraftSent.With(d.By, author) + " " + d.Text
	case draftDropped:
		a.Text = say.DraftDropped.With(d.By, author)
	default:
		a.Text = say.DraftOf.With(author, d.Text)
		if d.By != "" {
			a.Text = say.DraftEdited.With(author, d.By, d.Text)
		}
		a.Buttons = [][]bridge.Button{{
			{Label: say.ButtonSend, Data: pressSend + pressColon + key}, {Label: say.ButtonEdit, Data: pressEdit + pressColon + key},
			{Label: say.ButtonDrop, Data: pressDrop + pressColon + key},
		}}
	}
	return bridge.Event{Type: bridge.TypeAnswer, Origin: bridge.OriginBridge, Session: d.Session, Body: bridge.MustJSON(a)}
}

// Propose implements bridge.Proposer: the draft is shown in the session's threads, and waits there for a person.
func (r *Desk) Propose(ctx context.Context, session string, in bridge.Draft, key, sum string) (bridge.Accepted, error) {
	out := bridge.Accepted{}
	known, err := r.store.Claimed(ctx, session, bridge.SessionKey)
	if err != nil {
		return out, err
	}
	if known[0] == 0 {
		return out, bridge.ErrNoSession
	}
	blocked, keep, err := r.Blocked(ctx, session, "")
	if err != nil {
		return out, err
	}
	k := draftKey(session, in.ID)
	d := draft{Session: session, ID: in.ID, Author: in.Author, Text: in.Content}
	e := draftNotice(k, d, false)
	e.Blocked = blocked
	b := bridge.Batch{
		Claims: []bridge.Claim{{Session: session, Key: "draft/" + in.ID}}, Events: []bridge.Event{e}, Rows: append(keep, draftRow(k, d)),
	}
	if key != "" {
		b.Claims = append(b.Claims, bridge.Claim{Key: "request\n" + key, Sum: sum})
	}
	res, err := r.commit(ctx, b)
	if err != nil {
		return out, err
	}
	if out.Duplicate = res.Duplicate; res.Duplicate {
		out.ID = res.First.String()
	} else {
		out.ID = res.Seqs[0].String()
	}
	return out, nil
}

// pressDraft does what a draft's button asks for. Of two who press, one is first, and the other is told who was.
func (in *inbox) pressDraft(ctx context.Context, o commandContext, what, key string) (bridge.Result, error) {
	return tried(errBusyDraft, func() (bridge.Result, error) {
		d, raw, err := in.desk.draftOf(ctx, key)
		switch {
		case err != nil:
			return bridge.Result{}, err
		case d == nil || d.Session != o.session:
			return in.replyTo(ctx, o, nothingDone(in.say().NoSuchDraft))
		case d.Done != "":
			return in.replyTo(ctx, o, doneText(*d))
		case what == pressSend:
			return in.sendDraft(ctx, o, key, *d, raw)
		case what == pressDrop:
			return in.dropDraft(ctx, o, key, *d, raw)
		}
		return in.awaitDraftText(ctx, o, key)
	})
}

func doneText(d draft) string {
	if d.Done == draftSent {
		return nothingDone(words.Get().DraftIsSent.With(d.By))
	}
	return nothingDone(words.Get().DraftIsDropped.With(d.By))
}

// finished is the command's batch with a draft that is done with, which its threads show, and of which the app is told.
func (in *inbox) finished(ctx context.Context, o commandContext, t bridge.Type, key string, d draft, raw []byte) (bridge.Batch, error) {
	name, err := in.nameOf(ctx, o.who)
	if err != nil {
		return bridge.Batch{}, err
	}
	d.Done, d.By = draftSent, in.byline(name)
	if t == bridge.TypeDraftDropped {
		d.Done = draftDropped
	}
	shown := draftNotice(key, d, true)
	d.Text = ""
	b := o.b.Swap(raw, draftRow(key, d))
	b.Events = append(slices.Clone(b.Events), shown, bridge.Event{
		Type: t, Origin: in.platform, Session: d.Session, By: name,
		Body: bridge.MustJSON(bridge.DraftDone{SessionID: d.Session, DraftID: d.ID, OperatorName: name}),
	})
	return b, nil
}

// sendDraft sends a draft to the visitor, under the name of whoever sends it.
func (in *inbox) sendDraft(ctx context.Context, o commandContext, key string, d draft, raw []byte) (bridge.Result, error) {
	o.b = in.answered(o, in.say().SentToVisitor)
	b, err := in.finished(ctx, o, bridge.TypeDraftSent, key, d, raw)
	if err != nil {
		return bridge.Result{}, err
	}
	o.u.Text, o.u.ReplyTo = d.Text, ""
	return in.sendOnce(ctx, o.u, d.Text, o.session, b)
}

func (in *inbox) dropDraft(ctx context.Context, o commandContext, key string, d draft, raw []byte) (bridge.Result, error) {
	o.b = in.answered(o, in.say().DraftIsGone)
	b, err := in.finished(ctx, o, bridge.TypeDraftDropped, key, d, raw)
	if err != nil {
		return bridge.Result{}, err
	}
	return in.commitWithPresence(ctx, o.u, b)
}

// awaitDraftText says how a draft gets another text: by a reply to it, or where there are none by the writer's next message there.
func (in *inbox) awaitDraftText(ctx context.Context, o commandContext, key string) (bridge.Result, error) {
	if !in.chat.Limits().Quotes {
		return in.replyTo(ctx, o, in.say().DraftReply)
	}
	now, err := in.desk.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	o.b.Rows = append(slices.Clone(o.b.Rows), bridge.Row{
		Table: tableDraftEdits, Key: o.session + "\n" + o.who.Key(), Session: o.session, Value: bridge.MustJSON(draftEdit{Draft: key, At: now.UTC()}),
	})
	return in.replyTo(ctx, o, in.say().DraftNext)
}

// ofDraft takes an operator's message that is a draft's text and no word for the visitor: a reply to it, or what was asked for.
func (in *inbox) ofDraft(ctx context.Context, u bridge.Update, session string, b bridge.Batch) (res bridge.Result, ok bool, err error) {
	key := ""
	switch {
	case in.chat.Limits().Quotes:
		if key, err = in.awaitedDraft(ctx, u, session); key != "" {
			b.Rows = append(slices.Clone(b.Rows), bridge.Row{Table: tableDraftEdits, Key: session + "\n" + in.account(u).Key()})
		}
	case u.ReplyTo != "":
		var at msgmap.Origin
		at, err = in.originAwaitingSends(ctx, u.ReplyTo)
		key, _ = strings.CutPrefix(at.Message, msgmap.DraftMark)
		if key == at.Message || at.Session != session {
			key = ""
		}
	}
	if err != nil || key == "" {
		return res, false, err
	}
	o := commandContext{u: u, who: in.account(u), session: session, b: b}
	res, err = tried(errBusyDraft, func() (bridge.Result, error) { return in.editDraft(ctx, o, key) })
	return res, true, err
}

// awaitedDraft returns the draft whose text somebody's next message is; empty: it is none.
func (in *inbox) awaitedDraft(ctx context.Context, u bridge.Update, session string) (string, error) {
	e, _, err := msgmap.Row[draftEdit](ctx, in.desk.store, tableDraftEdits, session+"\n"+in.account(u).Key())
	if err != nil || e == nil {
		return "", err
	}
	now, err := in.desk.store.Now(ctx)
	if err != nil || now.Sub(e.At) > draftEditFor {
		return "", err
	}
	return e.Draft, nil
}

// editDraft gives a draft another text. One that is done with stays as it is, and the text goes to nobody.
func (in *inbox) editDraft(ctx context.Context, o commandContext, key string) (bridge.Result, error) {
	d, raw, err := in.desk.draftOf(ctx, key)
	switch {
	case err != nil:
		return bridge.Result{}, err
	case d == nil || d.Session != o.session:
		return in.replyTo(ctx, o, nothingDone(in.say().NoSuchDraft))
	case d.Done != "":
		return in.replyTo(ctx, o, doneText(*d))
	case strings.TrimSpace(o.u.Text) == "" || len([]rune(o.u.Text)) > bridge.MaxDraft:
		return in.replyTo(ctx, o, nothingDone(in.say().Of(in.say().DraftLong, bridge.MaxDraft)))
	}
	name, err := in.nameOf(ctx, o.who)
	if err != nil {
		return bridge.Result{}, err
	}
	d.Text, d.By = o.u.Text, in.byline(name)
	o.b = o.b.Swap(raw, draftRow(key, *d))
	o.b.Events = append(slices.Clone(o.b.Events), draftNotice(key, *d, true))
	return in.commitWithPresence(ctx, o.u, o.b)
}
