package desk

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// What looks like a command and is none is not sent to the visitor: it is held, and its writer is asked. These are the tables.
const (
	// tableWithheld holds the messages: key message id on the platform, value withheld. The platform's name follows the slash.
	tableWithheld = "held/"
	// tableLastWithheld holds whose was the last one: key session, line feed, account, value message id.
	tableLastWithheld = "lastheld"
	// tableAlbums holds what became of an album whose caption is no word for the visitor: key album, value the id of its held
	// message, or nothing where none of it is sent. The platform's name follows the slash.
	tableAlbums = "albums/"
)

// withheldFor is how long a held message can be sent.
const withheldFor = 24 * time.Hour

// withheld is a message that waits for its writer's word.
type withheld struct {
	Session string              `json:"session"`
	Account string              `json:"account"` // of its writer
	At      time.Time           `json:"at"`      // by the store's clock
	Text    string              `json:"text"`
	Files   []bridge.Attachment `json:"files,omitempty"` // as the update has them
	ReplyTo bridge.MessageID    `json:"replyTo,omitempty"`
	Number  int64               `json:"number,omitempty"` // see bridge.Update.ReplyToNumber
	Edited  time.Time           `json:"edited,omitzero"`  // it is another text for a message that was sent
}

// withhold keeps a message that may not be for the visitor, and asks. Where all that is written is talk among operators, it is a note.
func (in *inbox) withhold(ctx context.Context, u bridge.Update, m marked, session string, b bridge.Batch) (bridge.Result, error) {
	if in.desk.internal {
		return in.commitWithPresence(ctx, u, b)
	}
	now, err := in.desk.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	text, err := in.question(ctx, u, m)
	if err != nil {
		return bridge.Result{}, err
	}
	who := in.account(u).Key()
	h := withheld{
		Session: session, Account: who, At: now.UTC(), Text: u.Text, Files: u.Files, ReplyTo: u.ReplyTo, Number: u.ReplyToNumber,
		Edited: u.Edited,
	}
	b.Rows = append(slices.Clone(b.Rows), in.withheldRow(u.Message, &h), bridge.Row{
		Table: tableLastWithheld, Key: session + "\n" + who, Value: []byte(u.Message), Session: session,
	})
	if u.Album != "" && u.Kind == bridge.UpdateMessage {
		b.Rows = append(b.Rows, in.albumRow(u, session, u.Message))
	}
	ask := in.answerOf(u, text)
	ask.Asks = &bridge.Question{Session: session, Message: u.Message}
	b.Events = append(slices.Clone(b.Events), in.answerEvent(ask))
	return in.commitWithPresence(ctx, u, b)
}

// withheldRow keeps a held message; with nothing it is no longer held.
func (in *inbox) withheldRow(id bridge.MessageID, h *withheld) bridge.Row {
	row := bridge.Row{Table: tableWithheld + in.platform, Key: string(id)}
	if h != nil {
		row.Value, row.Session = bridge.MustJSON(h), h.Session
	}
	return row
}

// albumRow keeps what becomes of an album: it belongs to a held message, or with none it is not sent.
func (in *inbox) albumRow(u bridge.Update, session string, held bridge.MessageID) bridge.Row {
	return bridge.Row{Table: tableAlbums + in.platform, Key: u.Album, Value: append([]byte("="), held...), Session: session}
}

// withheldMessage returns a held message; nil: it is not held, or not any more. raw is the row's value.
func (in *inbox) withheldMessage(ctx context.Context, id bridge.MessageID) (h *withheld, raw []byte, err error) {
	return msgmap.Row[withheld](ctx, in.desk.store, tableWithheld+in.platform, string(id))
}

// question is the line that asks about a held message.
func (in *inbox) question(ctx context.Context, u bridge.Update, m marked) (string, error) {
	if m.mark == "" { // a text to the bot
		m.name, _ = firstWord(u.Text)
		m.name = strings.ToLower(m.name)
	}
	rows, err := in.desk.store.List(ctx, tableCanned, "", rowsMost)
	if err != nil {
		return "", err
	}
	canned := make([]string, 0, len(rows))
	for _, row := range rows {
		canned = append(canned, row.Key)
	}
	say, mark := in.say(), in.mark()
	text := say.HeldNotSent + " "
	if u.Kind == bridge.UpdateEdit {
		text = say.HeldEdit + " "
	}
	switch near := nearest(m.name, canned); {
	case isCommand(m.name):
		text += say.HeldNeedsBlank.With(mark + m.name)
	case slices.Contains(canned, m.name):
		text += say.HeldCanned.With(m.name)
	case near == "":
		text += say.HeldUnknown.With(m.mark + shortened(m.name))
	case slices.Contains(canned, near) && !isCommand(near):
		text += say.HeldMaybe.With(m.mark+shortened(m.name), "!"+near)
	default:
		text += say.HeldMaybe.With(m.mark+shortened(m.name), mark+near)
	}
	if mark == "/" { // here are replies
		return text + " " + say.HeldSendOrYes.With(mark), nil
	}
	return text + " " + say.HeldSend.With(mark), nil
}

// sendCommand does /send: with a text it sends that, else the writer's last held message of this thread.
func (in *inbox) sendCommand(ctx context.Context, o commandContext) (bridge.Result, error) {
	if o.args != "" {
		return in.reply(ctx, o)
	}
	last, err := in.desk.store.Get(ctx, tableLastWithheld, o.session+"\n"+o.who.Key())
	if err != nil {
		return bridge.Result{}, err
	}
	return in.sendWithheld(ctx, in.withPrivateReply(o, in.say().SentToVisitor), bridge.MessageID(last))
}

// sendWithheld sends a held message of the command's author.
func (in *inbox) sendWithheld(ctx context.Context, o commandContext, id bridge.MessageID) (bridge.Result, error) {
	h, raw, err := in.withheldMessage(ctx, id)
	if err != nil {
		return bridge.Result{}, err
	}
	now, err := in.desk.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	switch {
	case h == nil || h.Session != o.session || now.Sub(h.At) > withheldFor:
		o.b.Events = nil
		return in.replyTo(ctx, o, in.say().NothingWithheld)
	case h.Account != o.who.Key():
		o.b.Events = nil
		return in.replyTo(ctx, o, in.say().WithheldOfOther)
	}
	b, err := in.dropWithheld(ctx, id, h, raw, o.b)
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
	return in.tellEdit(ctx, u, u.Text, msgmap.Origin{Session: h.Session, Message: in.platform + ":" + string(id), Side: msgmap.Operators}, b)
}

// dropWithheld adds to a batch that a message is not held any more.
func (in *inbox) dropWithheld(ctx context.Context, id bridge.MessageID, h *withheld, raw []byte, b bridge.Batch) (bridge.Batch, error) {
	key := h.Session + "\n" + h.Account
	last, err := in.desk.store.Get(ctx, tableLastWithheld, key)
	if err != nil {
		return b, err
	}
	b = b.Swap(raw, in.withheldRow(id, nil))
	if string(last) == string(id) {
		b.Rows = append(b.Rows, bridge.Row{Table: tableLastWithheld, Key: key})
	}
	return b, nil
}

// confirms takes a “yes” in reply to the bridge's question, or to the held message, for what it is: the message is sent. A “no” is
// not for the visitor either.
func (in *inbox) confirms(ctx context.Context, u bridge.Update, session string, b bridge.Batch) (res bridge.Result, ok bool, err error) {
	word := strings.ToLower(strings.Trim(u.Text, " \t\n.!"))
	yes, no := word == "yes" || word == in.say().Yes, word == "no" || word == in.say().No
	if !yes && !no || u.ReplyTo == "" || len(u.Files) > 0 || in.chat.Limits().Quotes {
		return res, false, nil
	}
	about, err := in.askedAbout(ctx, u, session)
	if err != nil || about == "" {
		return res, false, err
	}
	o := commandContext{u: u, who: in.account(u), session: session, b: b}
	if no {
		res, err = in.replyTo(ctx, o, in.say().WithheldDropped)
		return res, true, err
	}
	res, err = tried(errBusyWithheld, func() (bridge.Result, error) { return in.sendWithheld(ctx, o, about) })
	return res, true, err
}

// askedAbout returns the message about which somebody is asked to whom an update replies; nothing when it replies to no question.
// The question may have been shown just now, and not be recorded yet.
func (in *inbox) askedAbout(ctx context.Context, u bridge.Update, session string) (bridge.MessageID, error) {
	find := func() (bridge.MessageID, error) {
		if h, _, err := in.withheldMessage(ctx, u.ReplyTo); err != nil || h != nil {
			return u.ReplyTo, err
		}
		about, err := in.messages.AskedAbout(ctx, u.ReplyTo)
		if _, other := aboutSession(about); other {
			about = ""
		}
		return about, err
	}
	about, err := find()
	if err != nil || about != "" {
		return about, err
	}
	last, err := in.desk.store.Get(ctx, tableLastWithheld, session+"\n"+in.account(u).Key())
	if err != nil || last == nil {
		return "", err
	}
	if o, err := in.originAwaitingSends(ctx, u.ReplyTo); err != nil || o.Session != "" {
		return "", err // it replies to something else
	}
	return find()
}

// sessionAskedAbout returns the session of a held message, or of the one that a question is about; nothing for any other message.
func (in *inbox) sessionAskedAbout(ctx context.Context, id bridge.MessageID) (string, error) {
	about, err := in.messages.AskedAbout(ctx, id)
	if err != nil {
		return "", err
	}
	if session, ok := aboutSession(about); ok {
		return session, nil
	}
	if about != "" {
		id = about
	}
	if h, _, err := in.withheldMessage(ctx, id); err != nil || h != nil {
		if err != nil {
			return "", err
		}
		return h.Session, nil
	}
	if about == "" {
		return "", nil
	}
	o, err := in.messages.Origin(ctx, id)
	return o.Session, err
}

// ofAlbum says what is to become of a message of an album whose caption came before: it belongs to what is held, or is not sent.
func (in *inbox) ofAlbum(ctx context.Context, u bridge.Update, session string, b bridge.Batch) (res bridge.Result, ok bool, err error) {
	if u.Album == "" || u.Text != "" {
		return res, false, nil
	}
	value, err := in.desk.store.Get(ctx, tableAlbums+in.platform, u.Album)
	if err != nil || value == nil {
		return res, false, err
	}
	id := bridge.MessageID(value[1:])
	if id == "" {
		res, err = in.commitWithPresence(ctx, u, b)
		return res, true, err
	}
	res, err = tried(errBusyWithheld, func() (bridge.Result, error) {
		h, raw, err := in.withheldMessage(ctx, id)
		if ok = err == nil && h != nil && h.Session == session; !ok {
			return bridge.Result{}, err // it was sent meanwhile
		}
		h.Files = append(h.Files, u.Files...)
		return in.commitWithPresence(ctx, u, b.Swap(raw, in.withheldRow(id, h)))
	})
	return res, ok, err
}

// withAlbum adds to a command's batch that the rest of its album is not for the visitor, where its caption is a command.
func (in *inbox) withAlbum(ctx context.Context, o commandContext) (commandContext, error) {
	if o.u.Album == "" || sendsText(&bridge.Command{Name: o.info.Name, Args: o.args}) {
		return o, nil
	}
	session, err := in.sessionOf(ctx, o.u)
	if err != nil || session == "" {
		return o, err
	}
	o.b.Rows = append(slices.Clone(o.b.Rows), in.albumRow(o.u, session, ""))
	return o, nil
}

// editOfWithheld takes another text for a message that is held: it is what was to be sent, or another attempt at a command.
func (in *inbox) editOfWithheld(ctx context.Context, u bridge.Update, b bridge.Batch) (bridge.Result, error) {
	h, raw, err := in.withheldMessage(ctx, u.Message)
	if h != nil && u.Album != "" && len(h.Files) > 1 {
		u.Files = append(u.Files, h.Files[1:]...) // those of the album's other messages
	}
	u.Album = ""
	switch {
	case err != nil:
		return bridge.Result{}, err
	case h == nil || h.Account != in.account(u).Key(), h.Text == u.Text && filesSum(h.Files) == filesSum(u.Files):
		return in.commit(ctx, b)
	}
	u.Kind, u.Edited, u.ReplyTo, u.ReplyToNumber = bridge.UpdateMessage, time.Time{}, h.ReplyTo, h.Number
	m := marksOf(u)
	cmd := m.asked()
	_, canned, err := in.cannedReply(ctx, u, m)
	switch {
	case err != nil:
		return bridge.Result{}, err
	case cmd == nil && !canned && doubtful(u, m):
		return in.withhold(ctx, u, m, h.Session, b)
	}
	if b, err = in.dropWithheld(ctx, u.Message, h, raw, b); err != nil {
		return bridge.Result{}, err
	}
	if cmd != nil {
		return in.command(ctx, u, cmd, b)
	}
	return in.handleOperatorMessage(ctx, u, m, h.Session, b)
}
