package desk

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// tableSaid holds what is known of an operator's message that was sent: key session, line feed, message id, value said.
const tableSaid = "said"

// said is an operator's message as it was sent or edited last, in digests: platforms tell of edits that change nothing.
type said struct {
	Typed string `json:"typed"`           // what the operator wrote
	Text  string `json:"text"`            // what the visitor sees of it
	Files string `json:"files,omitempty"` // empty: it has none
}

func saidOf(typed, text string, files []bridge.Attachment) said {
	return said{Typed: bridge.Digest([]byte(typed)), Text: bridge.Digest([]byte(text)), Files: filesSum(files)}
}

// filesSum is a digest of a message's files; empty where it has none.
func filesSum(files []bridge.Attachment) string {
	if len(files) == 0 {
		return ""
	}
	var all strings.Builder
	for _, f := range files {
		all.WriteString(cmp.Or(f.ID, f.BridgeFileID) + "\n") // the id stays what it is; the way to the file may change
	}
	return bridge.Digest([]byte(all.String()))
}

func saidRow(session, message string, s said) bridge.Row {
	return bridge.Row{Table: tableSaid, Key: session + "\n" + message, Value: bridge.MustJSON(s), Session: session}
}

// saidBefore returns what is known of a message that was sent; nil for one that an older bridge has sent.
func (in *inbox) saidBefore(ctx context.Context, o msgmap.Origin) (*said, error) {
	s, _, err := msgmap.Row[said](ctx, in.desk.store, tableSaid, o.Session+"\n"+o.Message)
	return s, err
}

// edit takes another text, or other files, for a message of an operator's that was sent.
func (in *inbox) edit(ctx context.Context, u bridge.Update, o msgmap.Origin, b bridge.Batch) (bridge.Result, error) {
	before, err := in.saidBefore(ctx, o)
	if err != nil {
		return bridge.Result{}, err
	}
	h, raw, err := in.withheldMessage(ctx, u.Message)
	if err != nil {
		return bridge.Result{}, err
	}
	if h != nil && h.Text == u.Text && filesSum(h.Files) == filesSum(u.Files) {
		return in.commit(ctx, b) // that is what it is asked about
	}
	if h != nil { // what it was to become is past
		if b, err = in.dropWithheld(ctx, u.Message, h, raw, b); err != nil {
			return bridge.Result{}, err
		}
	}
	if typed := saidOf(u.Text, "", u.Files); before != nil && before.Typed == typed.Typed && before.Files == typed.Files {
		return in.commit(ctx, b)
	}
	m, typed := marksOf(u), u.Text
	cmd := m.asked()
	if cmd != nil && sendsText(cmd) {
		u.Text, u.Command = cmd.Args, nil
		return in.tellEdit(ctx, u, typed, o, b)
	}
	_, canned, err := in.cannedReply(ctx, u, m)
	switch {
	case err != nil:
		return bridge.Result{}, err
	case cmd != nil || canned:
		b.Events = append(slices.Clone(b.Events), in.answer(u, in.say().EditNoCommand))
		return in.commitWithPresence(ctx, u, b)
	case m.other:
		return in.commit(ctx, b)
	case doubtful(u, m) && in.desk.internal:
		b.Events = append(slices.Clone(b.Events), in.answer(u, in.say().EditNoNote))
		return in.commitWithPresence(ctx, u, b)
	case doubtful(u, m):
		b.If, b.Rows = notWithheld(b, in.withheldRow(u.Message, nil).Table)
		return in.withhold(ctx, u, m, o.Session, b)
	}
	return in.tellEdit(ctx, u, typed, o, b)
}

// notWithheld takes out of a batch that a message is not held any more: it is held with another text.
func notWithheld(b bridge.Batch, table string) (conditions, rows []bridge.Row) {
	ofHeld := func(r bridge.Row) bool { return r.Table == table || r.Table == tableLastWithheld }
	return slices.DeleteFunc(slices.Clone(b.If), ofHeld), slices.DeleteFunc(slices.Clone(b.Rows), ofHeld)
}

// sendsText says whether a command sends the text behind it as it is.
func sendsText(cmd *bridge.Command) bool {
	info, _ := bridge.FindCommand(cmd.Name)
	return (info.Name == "r" || info.Name == "send") && cmd.Args != ""
}

// tellEdit tells the visitor, and the other platforms, what an operator's message says now. One that changes nothing is told to
// nobody; one of which nothing is left was deleted.
func (in *inbox) tellEdit(ctx context.Context, u bridge.Update, typed string, o msgmap.Origin, b bridge.Batch) (bridge.Result, error) {
	before, err := in.saidBefore(ctx, o)
	if err != nil {
		return bridge.Result{}, err
	}
	now := saidOf(typed, u.Text, u.Files)
	b.Rows = append(slices.Clone(b.Rows), saidRow(o.Session, o.Message, now))
	if before != nil && before.Text == now.Text && before.Files == now.Files {
		return in.commit(ctx, b)
	}
	ev := bridge.Event{Type: bridge.TypeOperatorEdited, Origin: in.platform, Session: o.Session, Message: o.Message}
	changed := before != nil && before.Files != now.Files
	if u.Text == "" && len(u.Files) == 0 {
		ev.Type = bridge.TypeOperatorDeleted
		ev.Body = bridge.MustJSON(bridge.OperatorDeleted{SessionID: o.Session, MessageID: o.Message, DeletedAt: bridge.WireTime(time.Now())})
		b.Events = append([]bridge.Event{ev}, b.Events...)
		return in.commitWithPresence(ctx, u, b)
	}
	body := bridge.OperatorEdited{SessionID: o.Session, MessageID: o.Message, Content: u.Text, EditedAt: bridge.WireTime(u.Edited)}
	if changed || len(u.Files) > 0 && (before == nil || u.Text == "") {
		body.Attachments = append([]bridge.Attachment{}, in.attachments(u)...)
	}
	ev.Body = bridge.MustJSON(body)
	b.Events = append([]bridge.Event{ev}, b.Events...)
	if changed {
		b.Events = append(b.Events, in.answer(u, in.say().EditFilesTold))
	}
	return in.commitWithPresence(ctx, u, b)
}
