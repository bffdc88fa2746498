package relay

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// Files is where the files of messages come from and go to.
type Files interface {
	// Fetch opens a visitor's attachment of at most max bytes. The caller closes what it gets. The error's text is fit to be
	// shown to operators; one that passes is a *bridge.DeliveryError.
	Fetch(ctx context.Context, a bridge.Attachment, max int64) (bridge.File, io.Closer, error)
	// Link returns the URL by which a visitor's app gets an operator's file.
	Link(platform string, a bridge.Attachment) string
}

// progress is how far an event of several calls is.
type progress struct {
	Sent    int                 `json:"sent"`           // calls that are done
	Card    bool                `json:"card,omitempty"` // the card is in the first part
	Edit    bridge.Seq          `json:"edit,omitempty"` // of the edit whose text is sent; 0: the message's own
	IDs     []bridge.MessageID  `json:"ids,omitempty"`
	Files   []bridge.MessageID  `json:"files,omitempty"`
	Failed  []bridge.Attachment `json:"failed,omitempty"`  // files that could not be uploaded, and become links in the end
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
	session := e.Event.Session
	p, err := d.progress(ctx, e)
	if err != nil {
		return result{}, err
	}
	if it.now != nil && p.Sent > 0 && p.Edit != w.edit {
		p = progress{} // it is another text now
	}
	out, err := d.outgoing(ctx, e, t, w, it.kind)
	if err != nil {
		return result{}, err
	}
	if reply != "" {
		out.ReplyTo = reply
	}
	if p.Sent == 0 && !t.Card && !d.opensWithCard() {
		p.Card = true
	}
	if p.Card {
		if out.Card, err = d.sessionOf(ctx, e, w); err != nil {
			return result{}, err
		}
	}
	if p.Sent == 0 {
		p.Edit = w.edit
	}
	parts := d.platform.Render(out)
	if len(p.Failed) > 0 {
		parts = append(parts, d.platform.Render(bridge.Outgoing{
			Thread: t.ID, Author: w.author, Visitor: out.Visitor, Links: p.Failed, Kind: it.kind,
		})...)
	}
	if p.Sent >= len(parts) {
		return result{}, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: "render", Detail: "nothing to show"}
	}
	part := parts[p.Sent]
	part.Key, part.Since = partKey(e, p.Sent), it.since
	failed := len(p.Failed)
	res, err := d.sendPart(ctx, it, e, t, part, &p)
	if err != nil {
		return res, err
	}
	it.plain = false
	p.Sent++
	var b bridge.Batch
	if p.Card && !t.Card {
		next := *t
		next.Card, next.CardOf, next.CardSide, next.CardSum = true, w.message.id, w.message.side, cardSum(out.Card)
		b.Rows = append(b.Rows, d.keep(session, &next))
	}
	if p.Sent < len(parts) || len(p.Failed) > failed {
		b.Rows = append(b.Rows, d.progressRow(e, &p))
		res.batch = b
		return res, nil
	}
	if len(parts) > 1 {
		b.Rows = append(b.Rows, d.progressRow(e, nil))
	}
	b.Rows = append(b.Rows, d.keepSession(e, w).Rows...)
	if w.message.id != "" || p.Card && session != "" {
		row := shown{IDs: p.IDs, Files: p.Files, Edited: w.edited, Author: w.author, Card: p.Card, Quote: out.Quote}
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
	if e.Event.Type == bridge.TypeVisitorMessage {
		b.Events = append(b.Events, d.receipt(e, bridge.TypeMessageDelivered, ""))
	}
	res.batch, res.done = b, true
	return res, nil
}

// partKey names a part of an event's delivery for ever.
func partKey(e bridge.Entry, n int) string { return e.Seq.String() + "/" + strconv.Itoa(n) }

// sendPart makes the one call of a part, and adds what it came to.
func (d *threads) sendPart(ctx context.Context, it *item, e bridge.Entry, t *thread, part bridge.Part, p *progress) (result, error) {
	if len(part.Files) > 0 {
		return d.upload(ctx, it, e, t, part, p)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ids, err := d.platform.Send(ctx, t.ID, d.form(it, part))
	p.IDs = append(p.IDs, ids...)
	return result{op: opSend}, err
}

// outgoing is what is to be shown, without its card.
func (d *threads) outgoing(ctx context.Context, e bridge.Entry, t *thread, w wish, kind bridge.Kind) (bridge.Outgoing, error) {
	out := bridge.Outgoing{Thread: t.ID, Author: w.author, Text: w.text, Mention: w.mention, Kind: kind}
	s, err := d.sessionOf(ctx, e, w)
	if err != nil {
		return out, err
	}
	out.Visitor = s.DisplayName()
	out.Files, out.Links = d.sort(w.files)
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

// sort says which files are uploaded and which are shown as links.
func (d *threads) sort(files []bridge.Attachment) (up, links []bridge.Attachment) {
	_, can := d.platform.(bridge.Uploader)
	for _, f := range files {
		if can && d.files != nil && f.Size <= d.max.MaxFile {
			up = append(up, f)
		} else {
			links = append(links, f)
		}
	}
	return up, links
}

// fetchAgain is how often files are asked for again that could not be had for the moment. What is said behind them waits.
const fetchAgain = 2

// upload sends the files of a part. Those that cannot be had, or that the platform refuses, become links in the end.
func (d *threads) upload(ctx context.Context, it *item, e bridge.Entry, t *thread, part bridge.Part, p *progress) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, fileTimeout)
	defer cancel()
	var files []bridge.File
	var kept []bridge.Attachment
	broken := make([]*watched, 0, len(part.Files))
	for _, a := range part.Files {
		f, closer, err := d.fetch(ctx, e, a)
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = closer.Close()
			}
			return result{op: opUpload}, &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opUpload, Detail: "the time for it is over"}
		case err != nil && passes(err) && it.fetched < fetchAgain:
			it.fetched++
			return result{op: opUpload}, &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opUpload, Detail: err.Error()}
		case err != nil:
			d.lane.log.Info("a file is shown as a link", "event", e.Seq, "session", e.Event.Session, "cause", err.Error())
			p.Failed = append(p.Failed, a)
			continue
		}
		defer func() { _ = closer.Close() }()
		body := &watched{Reader: f.Body}
		f.Body = body
		broken = append(broken, body)
		files, kept = append(files, f), append(kept, a)
	}
	if len(files) == 0 {
		return result{idle: true}, nil
	}
	part.Files = kept
	ids, err := d.platform.(bridge.Uploader).Upload(ctx, t.ID, part, files)
	if err == nil {
		p.Files = append(p.Files, ids...)
		return result{op: opUpload}, nil
	}
	refused := bridge.AsDelivery(err, opUpload, "").Reason == bridge.ReasonRejected
	for _, body := range broken {
		if body.err == nil {
			continue
		}
		if it.fetched < fetchAgain && ctx.Err() == nil {
			it.fetched++
			return result{op: opUpload}, &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opUpload, Detail: "a file broke off"}
		}
		refused = true
	}
	if !refused || ctx.Err() != nil {
		return result{op: opUpload}, err
	}
	d.lane.log.Info("files are shown as links", "event", e.Seq, "session", e.Event.Session, "cause", err.Error())
	p.Failed = append(p.Failed, kept...)
	return result{op: opUpload}, nil
}

// passes says whether a file may be had another time.
func passes(err error) bool {
	fault, ok := errors.AsType[*bridge.DeliveryError](err)
	return ok && (fault.Reason == bridge.ReasonTransient || fault.Reason == bridge.ReasonRateLimited || fault.Reason == bridge.ReasonUnconfirmed)
}

// watched is a content that remembers its own fault.
type watched struct {
	io.Reader
	err error
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// fetch opens a file of an event: an operator's at its platform, any other by its URL.
func (d *threads) fetch(ctx context.Context, e bridge.Entry, a bridge.Attachment) (bridge.File, io.Closer, error) {
	source, ok := d.platforms[e.Event.Origin].(bridge.FileSource)
	if !ok || a.BridgeFileID == "" {
		return d.files.Fetch(ctx, a, d.max.MaxFile)
	}
	c, err := source.OpenFile(ctx, a.BridgeFileID, 0)
	if err != nil {
		return bridge.File{}, nil, err
	}
	f := bridge.File{Name: a.Filename, Type: a.MimeType, Size: c.Size, Body: c.Body}
	if f.Size < 0 {
		f.Size = a.Size
	}
	if f.Size > d.max.MaxFile || f.Size <= 0 {
		_ = c.Body.Close()
		return bridge.File{}, nil, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: opUpload, Detail: "the file is too big, or of no known size"}
	}
	return f, c.Body, nil
}

func (d *threads) receipt(e bridge.Entry, t bridge.Type, reason string) bridge.Event {
	return bridge.Event{
		Type: t, Origin: d.name, Session: e.Event.Session, Message: e.Event.Message,
		Body: mustJSON(bridge.Receipt{
			SessionID: e.Event.Session, MessageID: e.Event.Message, SourceBridge: d.name, Reason: reason,
		}),
	}
}
