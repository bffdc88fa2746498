package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// What looks like a command and is none is not sent to the visitor: it is held, and its writer is asked. These are the tables.
const (
	// tableHeld holds the messages: key message id on the platform, value held. The platform's name follows the slash.
	tableHeld = "held/"
	// tableLastHeld holds whose was the last one: key session, line feed, account, value message id.
	tableLastHeld = "lastheld"
	// tableQuestions holds the bridge's questions: key the question's message id, value the id of the message that it is about.
	// The platform's name follows the slash.
	tableQuestions = "questions/"
	// tableAlbums holds what became of an album whose caption is no word for the visitor: key album, value the id of its held
	// message, or nothing where none of it is sent. The platform's name follows the slash.
	tableAlbums = "albums/"
)

// heldFor is how long a held message can be sent.
const heldFor = 24 * time.Hour

// held is a message that waits for its writer's word.
type held struct {
	Session string              `json:"session"`
	Account string              `json:"account"` // of its writer
	At      time.Time           `json:"at"`      // by the store's clock
	Text    string              `json:"text"`
	Files   []bridge.Attachment `json:"files,omitempty"` // as the update has them
	ReplyTo bridge.MessageID    `json:"replyTo,omitempty"`
	Number  int64               `json:"number,omitempty"` // see bridge.Update.ReplyToNumber
	Edited  time.Time           `json:"edited,omitzero"`  // it is another text for a message that was sent
}

// hold keeps a message that may not be for the visitor, and asks. Where all that is written is talk among operators, it is a note.
func (in *inbox) hold(ctx context.Context, u bridge.Update, m marked, session string, b bridge.Batch) (bridge.Result, error) {
	if in.relay.internal {
		return in.alive(ctx, u, b)
	}
	now, err := in.relay.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	text, err := in.question(ctx, u, m)
	if err != nil {
		return bridge.Result{}, err
	}
	who := in.account(u).Key()
	h := held{
		Session: session, Account: who, At: now.UTC(), Text: u.Text, Files: u.Files, ReplyTo: u.ReplyTo, Number: u.ReplyToNumber,
		Edited: u.Edited,
	}
	b.Rows = append(slices.Clone(b.Rows), in.heldRow(u.Message, &h), bridge.Row{
		Table: tableLastHeld, Key: session + "\n" + who, Value: []byte(u.Message), Session: session,
	})
	if u.Album != "" && u.Kind == bridge.UpdateMessage {
		b.Rows = append(b.Rows, in.albumRow(u, session, u.Message))
	}
	b.Events = append(slices.Clone(b.Events), bridge.Event{
		Type: bridge.TypeAnswer, Origin: in.platform,
		Body: mustJSON(bridge.Answer{
			Platform: in.platform, Thread: u.Thread, ReplyTo: u.Message, Text: text,
			Asks: &bridge.Question{Session: session, Message: u.Message},
		}),
	})
	return in.alive(ctx, u, b)
}

// heldRow keeps a held message; with nothing it is no longer held.
func (in *inbox) heldRow(id bridge.MessageID, h *held) bridge.Row {
	row := bridge.Row{Table: tableHeld + in.platform, Key: string(id)}
	if h != nil {
		row.Value, row.Session = mustJSON(h), h.Session
	}
	return row
}

// albumRow keeps what becomes of an album: it belongs to a held message, or with none it is not sent.
func (in *inbox) albumRow(u bridge.Update, session string, held bridge.MessageID) bridge.Row {
	return bridge.Row{Table: tableAlbums + in.platform, Key: u.Album, Value: append([]byte("="), held...), Session: session}
}

// heldMessage returns a held message; nil: it is not held, or not any more. raw is the row's value.
func (in *inbox) heldMessage(ctx context.Context, id bridge.MessageID) (h *held, raw []byte, err error) {
	if raw, err = in.relay.store.Get(ctx, tableHeld+in.platform, string(id)); err != nil || raw == nil {
		return nil, nil, err
	}
	h = &held{}
	return h, raw, json.Unmarshal(raw, h)
}

// question is the line that asks about a held message.
func (in *inbox) question(ctx context.Context, u bridge.Update, m marked) (string, error) {
	if m.mark == "" { // a text to the bot
		m.name, _ = firstWord(u.Text)
		m.name = strings.ToLower(m.name)
	}
	rows, err := in.relay.store.List(ctx, tableCanned, "", smallTable)
	if err != nil {
		return "", err
	}
	canned := make([]string, 0, len(rows))
	for _, row := range rows {
		canned = append(canned, row.Key)
	}
	native := !in.lane.dest.limits().Quotes // a platform without replies has no slash commands in threads either
	mark := "/"
	if !native {
		mark = "!"
	}
	text := "❓ Not sent to the visitor: "
	if u.Kind == bridge.UpdateEdit {
		text = "❓ The visitor still sees what it was before: "
	}
	switch near := nearest(m.name, canned); {
	case isCommand(m.name):
		text += fmt.Sprintf("behind %s%s there has to be a blank.", mark, m.name)
	case slices.Contains(canned, m.name):
		text += fmt.Sprintf("!%s sends a canned reply where nothing stands behind it.", m.name)
	case near == "":
		text += fmt.Sprintf("I know no %s%s.", m.mark, shortened(m.name))
	case slices.Contains(canned, near) && !isCommand(near):
		text += fmt.Sprintf("I know no %s%s. Did you mean !%s?", m.mark, shortened(m.name), near)
	default:
		text += fmt.Sprintf("I know no %s%s. Did you mean %s%s?", m.mark, shortened(m.name), mark, near)
	}
	text += fmt.Sprintf(" %ssend sends it as it is", mark)
	if native {
		text += ", and so does “yes” in reply to this"
	}
	return text + "; or write it without the mark.", nil
}

// sendHeld does /send: with a text it sends that, else the writer's last held message of this thread.
func (in *inbox) sendHeld(ctx context.Context, o order) (bridge.Result, error) {
	if o.args != "" {
		return in.reply(ctx, o)
	}
	last, err := in.relay.store.Get(ctx, tableLastHeld, o.session+"\n"+o.who.Key())
	if err != nil {
		return bridge.Result{}, err
	}
	return in.release(ctx, in.unseen(o, "Sent to the visitor."), bridge.MessageID(last))
}

// release sends a held message of the order's author.
func (in *inbox) release(ctx context.Context, o order, id bridge.MessageID) (bridge.Result, error) {
	h, raw, err := in.heldMessage(ctx, id)
	if err != nil {
		return bridge.Result{}, err
	}
	now, err := in.relay.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	switch {
	case h == nil || h.Session != o.session || now.Sub(h.At) > heldFor:
		o.b.Events = nil
		return in.tell(ctx, o, "Nothing that you wrote here waits to be sent. /send text sends the text.")
	case h.Account != o.who.Key():
		o.b.Events = nil
		return in.tell(ctx, o, "Whoever wrote it can send it. Nothing was done.")
	}
	b, err := in.dropHeld(ctx, id, h, raw, o.b)
	if err != nil {
		return bridge.Result{}, err
	}
	u := bridge.Update{
		Kind: bridge.UpdateMessage, Thread: o.u.Thread, Flat: o.u.Flat, Message: id, ReplyTo: h.ReplyTo, ReplyToNumber: h.Number,
		Author: o.u.Author, Text: h.Text, Files: h.Files, Edited: h.Edited,
	}
	if h.Edited.IsZero() {
		return in.send(ctx, u, u.Text, o.session, b)
	}
	u.Kind = bridge.UpdateEdit
	return in.tellEdit(ctx, u, u.Text, origin{Session: h.Session, Message: in.platform + ":" + string(id), Side: operators}, b)
}

// dropHeld adds to a batch that a message is not held any more.
func (in *inbox) dropHeld(ctx context.Context, id bridge.MessageID, h *held, raw []byte, b bridge.Batch) (bridge.Batch, error) {
	key := h.Session + "\n" + h.Account
	last, err := in.relay.store.Get(ctx, tableLastHeld, key)
	if err != nil {
		return b, err
	}
	held := in.heldRow(id, nil)
	b.If = append(slices.Clone(b.If), bridge.Row{Table: held.Table, Key: held.Key, Value: raw})
	b.Rows = append(slices.Clone(b.Rows), held)
	if string(last) == string(id) {
		b.Rows = append(b.Rows, bridge.Row{Table: tableLastHeld, Key: key})
	}
	return b, nil
}

// confirms takes a “yes” in reply to the bridge's question, or to the held message, for what it is: the message is sent. A “no” is
// not for the visitor either.
func (in *inbox) confirms(ctx context.Context, u bridge.Update, session string, b bridge.Batch) (res bridge.Result, ok bool, err error) {
	word := strings.ToLower(strings.Trim(u.Text, " \t\n.!"))
	if word != "yes" && word != "no" || u.ReplyTo == "" || len(u.Files) > 0 || in.lane.dest.limits().Quotes {
		return res, false, nil
	}
	about, err := in.askedAbout(ctx, u, session)
	if err != nil || about == "" {
		return res, false, err
	}
	o := order{u: u, who: in.account(u), session: session, b: b}
	if word == "no" {
		res, err = in.tell(ctx, o, "It is not sent.")
		return res, true, err
	}
	for range commandTries {
		if res, err = in.release(ctx, o, about); !errors.Is(err, bridge.ErrChanged) {
			return res, true, err
		}
	}
	return res, true, fmt.Errorf("%w: others change what is held", bridge.ErrUnavailable)
}

// askedAbout returns the message about which somebody is asked to whom an update replies; nothing when it replies to no question.
// The question may have been shown just now, and not be recorded yet.
func (in *inbox) askedAbout(ctx context.Context, u bridge.Update, session string) (bridge.MessageID, error) {
	find := func() (bridge.MessageID, error) {
		if h, _, err := in.heldMessage(ctx, u.ReplyTo); err != nil || h != nil {
			return u.ReplyTo, err
		}
		about, err := in.relay.store.Get(ctx, tableQuestions+in.platform, string(u.ReplyTo))
		return bridge.MessageID(about), err
	}
	about, err := find()
	if err != nil || about != "" {
		return about, err
	}
	last, err := in.relay.store.Get(ctx, tableLastHeld, session+"\n"+in.account(u).Key())
	if err != nil || last == nil {
		return "", err
	}
	if o, err := in.named(ctx, u.ReplyTo); err != nil || o.Session != "" {
		return "", err // it replies to something else
	}
	return find()
}

// sessionAskedAbout returns the session of a held message, or of the one that a question is about; nothing for any other message.
func (in *inbox) sessionAskedAbout(ctx context.Context, id bridge.MessageID) (string, error) {
	about, err := in.relay.store.Get(ctx, tableQuestions+in.platform, string(id))
	if err != nil {
		return "", err
	}
	if about != nil {
		id = bridge.MessageID(about)
	}
	if h, _, err := in.heldMessage(ctx, id); err != nil || h != nil {
		if err != nil {
			return "", err
		}
		return h.Session, nil
	}
	if about == nil {
		return "", nil
	}
	o, err := in.origin(ctx, id)
	return o.Session, err
}

// ofAlbum says what is to become of a message of an album whose caption came before: it belongs to what is held, or is not sent.
func (in *inbox) ofAlbum(ctx context.Context, u bridge.Update, session string, b bridge.Batch) (res bridge.Result, ok bool, err error) {
	if u.Album == "" || u.Text != "" {
		return res, false, nil
	}
	value, err := in.relay.store.Get(ctx, tableAlbums+in.platform, u.Album)
	if err != nil || value == nil {
		return res, false, err
	}
	id := bridge.MessageID(value[1:])
	if id == "" {
		res, err = in.alive(ctx, u, b)
		return res, true, err
	}
	for range commandTries {
		h, raw, err := in.heldMessage(ctx, id)
		if err != nil || h == nil || h.Session != session {
			return res, false, err // it was sent meanwhile
		}
		h.Files = append(h.Files, u.Files...)
		next := in.heldRow(id, h)
		out := b
		out.If = append(slices.Clone(b.If), bridge.Row{Table: next.Table, Key: next.Key, Value: raw})
		out.Rows = append(slices.Clone(b.Rows), next)
		if res, err = in.alive(ctx, u, out); !errors.Is(err, bridge.ErrChanged) {
			return res, true, err
		}
	}
	return res, true, fmt.Errorf("%w: others change what is held", bridge.ErrUnavailable)
}

// withAlbum adds to an order's batch that the rest of its album is not for the visitor, where its caption is a command.
func (in *inbox) withAlbum(ctx context.Context, o order) (order, error) {
	sends := (o.info.Name == "r" || o.info.Name == "send") && o.args != ""
	if o.u.Album == "" || sends {
		return o, nil
	}
	session, err := in.sessionOf(ctx, o.u)
	if err != nil || session == "" {
		return o, err
	}
	o.b.Rows = append(slices.Clone(o.b.Rows), in.albumRow(o.u, session, ""))
	return o, nil
}

// editOfHeld takes another text for a message that is held: it is what was to be sent, or another attempt at a command.
func (in *inbox) editOfHeld(ctx context.Context, u bridge.Update, b bridge.Batch) (bridge.Result, error) {
	h, raw, err := in.heldMessage(ctx, u.Message)
	if h != nil && u.Album != "" && len(h.Files) > 1 {
		u.Files = append(u.Files, h.Files[1:]...) // those of the album's other messages
	}
	u.Album = ""
	switch {
	case err != nil:
		return bridge.Result{}, err
	case h == nil || h.Account != in.account(u).Key(), h.Text == u.Text && filesSum(h.Files) == filesSum(u.Files):
		return in.relay.commit(ctx, b)
	}
	u.Kind, u.Edited, u.ReplyTo, u.ReplyToNumber = bridge.UpdateMessage, time.Time{}, h.ReplyTo, h.Number
	m := marksOf(u)
	cmd := m.asked()
	_, canned, err := in.cannedReply(ctx, u, m)
	switch {
	case err != nil:
		return bridge.Result{}, err
	case cmd == nil && !canned && doubtful(u, m):
		return in.hold(ctx, u, m, h.Session, b)
	}
	if b, err = in.dropHeld(ctx, u.Message, h, raw, b); err != nil {
		return bridge.Result{}, err
	}
	if cmd != nil {
		return in.command(ctx, u, cmd, b)
	}
	return in.word(ctx, u, m, h.Session, b)
}
