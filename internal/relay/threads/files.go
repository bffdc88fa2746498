package threads

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/words"
)

// Files is where the files of messages come from.
type Files interface {
	// Fetch opens a visitor's attachment of at most max bytes. The caller closes what it gets. The error's text is fit to be
	// shown to operators.
	Fetch(ctx context.Context, a bridge.Attachment, max int64) (bridge.File, io.Closer, error)
}

// Depot is where files come to while nobody waits for them. Its methods return at once.
type Depot interface {
	// Want has a file fetched, unless it is here, on its way, or was fetched in vain. ready is closed when it is here or cannot
	// be had, nil when one that is wanted ahead is left for later; since is when it was wanted first.
	Want(r bridge.FileRequest) (ready <-chan struct{}, since time.Time)
	// Open opens a file that was wanted, at most as long as said; the caller closes it. An error is bridge.ErrFileNotHere, or
	// says why the file cannot be had.
	Open(key string, most int64) (bridge.File, io.Closer, error)
	// Drop says that a user does not want a file any more.
	Drop(key, user string)
}

// A text waits for its files for filesIn at most, from when they were wanted, and no longer when a word without files waits behind
// it in its session: what is here by then goes with it. The others are an event of their own, typeLate, which is written together with
// the record of the text. It is carried by its lane alone, is out of its session's way while its files come, and shows those
// that have come after lateRound at most; what is missing then is another such event. So each file is always in the text's
// delivery, in one event that waits, or shown, whatever ends in the middle.
const (
	filesIn   = 3 * time.Second
	lateRound = 10 * time.Second
	refetchIn = time.Minute // until it is looked again whether files are here that may have been shown; sooner when they are

	maxFetched  = 10   // files of a message; further ones are named
	maxShownURL = 2048 // bytes
	maxURLs     = 4096 // bytes of all URLs that a message shows
	maxNamed    = 32   // characters of a name among many
	maxFilename = 1000 // bytes of a name that is kept
)

// typeLate is the event that stands for files of a message that come behind it.
const typeLate bridge.Type = "message_files"

// lateFiles is its body.
type lateFiles struct {
	Lane    string              `json:"lane"`
	Of      string              `json:"of"`   // the id of the message's event, which names the files
	From    string              `json:"from"` // that event's origin
	Author  string              `json:"author,omitempty"`
	Side    msgmap.Side         `json:"side"`              // of the message
	ReplyTo string              `json:"replyTo,omitempty"` // what the message replies to
	Alone   bool                `json:"alone,omitempty"`   // nothing of the message is shown yet
	Visitor bool                `json:"visitor,omitempty"` // the message is a visitor's
	Places  []int               `json:"places"`            // of the files among the message's
	Files   []bridge.Attachment `json:"files"`
}

// decodeLate reads the body of a typeLate.
func decodeLate(e bridge.Entry) (intent, error) {
	var late lateFiles
	if err := json.Unmarshal(e.Event.Body, &late); err != nil {
		return intent{}, err
	}
	if len(late.Places) != len(late.Files) {
		return intent{}, errors.New("files without a place")
	}
	w := intent{late: &late, author: late.Author, files: late.Files, replyTo: []msgmap.Ref{{Side: late.Side, ID: e.Event.Message}}}
	if late.Alone {
		w.replyTo = msgmap.Replied(late.Side, late.ReplyTo)
	}
	return w, nil
}

// lateOf is the message that late files are of.
func (w intent) lateOf(e bridge.Entry) msgmap.Ref {
	return msgmap.Ref{Side: w.late.Side, ID: e.Event.Message}
}

// isLateOf says whether an event stands for late files of a platform.
func isLateOf(platform string, e bridge.Event) bool {
	var late struct {
		Lane string `json:"lane"`
	}
	return e.Type == typeLate && json.Unmarshal(e.Body, &late) == nil && late.Lane == platform
}

// messageFile is a file of a message.
type messageFile struct {
	bridge.Attachment
	place int    // among the message's
	key   string // in the depot
	from  string // the origin of the message
}

// messageFiles returns the files that an event wants shown.
func (w intent) messageFiles(e bridge.Entry) []messageFile {
	of, from := e.Seq.String(), e.Event.Origin
	if w.late != nil {
		of, from = w.late.Of, w.late.From
	}
	out := make([]messageFile, len(w.files))
	for i, a := range w.files {
		place := i
		if w.late != nil {
			place = w.late.Places[i]
		}
		out[i] = messageFile{Attachment: a, place: place, key: of + "/" + bridge.Digest([]byte(a.URL+"\n"+a.BridgeFileID)), from: from}
	}
	return out
}

// request is how a file is had: an operator's from its platform, any other by its URL.
func (d *Sink) request(f messageFile) bridge.FileRequest {
	r := bridge.FileRequest{Key: f.key, User: d.name, Limit: d.fetchMost}
	source, ok := d.sources[f.from].(bridge.FileSource)
	if !ok || f.BridgeFileID == "" {
		if u, err := url.Parse(f.URL); err == nil && !f.HasData() {
			r.Site = strings.ToLower(u.Host)
		}
		r.Open = func(ctx context.Context) (bridge.File, io.Closer, error) {
			return d.files.Fetch(ctx, f.Attachment, d.fetchMost)
		}
		return r
	}
	r.Site = "platform " + f.from
	r.Open = func(ctx context.Context) (bridge.File, io.Closer, error) {
		c, err := source.OpenFile(ctx, f.BridgeFileID, 0)
		if err != nil {
			return bridge.File{}, nil, err
		}
		return bridge.File{Name: f.Filename, Type: cmp.Or(f.MimeType, c.Type), Size: c.Size, Body: c.Body}, c.Body, nil
	}
	return r
}

// uploads says whether a file is to be uploaded, as far as is known before it is here.
func (d *Sink) uploads(f messageFile) bool {
	_, can := d.platform.(bridge.Uploader)
	return can && d.files != nil && d.depot != nil && f.Size <= d.max.MaxFile && (f.place < maxFetched)
}

// Prefetch implements engine.Prefetcher: the files of a message are fetched from its acceptance on.
func (d *Sink) Prefetch(e bridge.Entry) {
	if d.depot == nil || e.Event.Type != typeLate && !bringsFiles(e.Event) {
		return
	}
	w, err := decodeIntent(e)
	if err != nil {
		return // its attempt will say so
	}
	for _, f := range w.messageFiles(e) {
		if d.uploads(f) {
			r := d.request(f)
			r.Ahead = true
			d.depot.Want(r)
		}
	}
}

// dropFiles says that this platform is done with an event's files, but for those that come behind it.
func (d *Sink) dropFiles(e bridge.Entry, w intent, but []int) {
	if d.depot == nil {
		return
	}
	for _, f := range w.messageFiles(e) {
		if !slices.Contains(but, f.place) {
			d.depot.Drop(f.key, d.name)
		}
	}
}

// filePlan is what becomes of the files of an event, decided before its first call.
type filePlan struct {
	Now   []plannedFile `json:"now,omitempty"`   // are uploaded
	Lines []int         `json:"lines,omitempty"` // the places of those that are shown as lines
	Late  []int         `json:"late,omitempty"`  // the places of those that come behind
	// With has those that are uploaded go with the text, where the platform can: false where they were refused together, or begun apart.
	With bool `json:"with,omitempty"`
}

// any says whether a plan has any file.
func (p *filePlan) any() bool { return len(p.Now)+len(p.Lines)+len(p.Late) > 0 }

// equal says whether two plans are the same; q may be nil.
func (p *filePlan) equal(q *filePlan) bool {
	return q != nil && slices.Equal(p.Now, q.Now) && slices.Equal(p.Lines, q.Lines) && slices.Equal(p.Late, q.Late) && p.With == q.With
}

// plannedFile is a file that is uploaded, as it was when that was decided: the parts depend on it.
type plannedFile struct {
	Place int    `json:"place"`
	Name  string `json:"name,omitempty"`
	Type  string `json:"type,omitempty"`
	Size  int64  `json:"size,omitempty"`
}

// planFiles sorts an event's files by what can be done with them now. wait says which are on their way.
func (d *Sink) planFiles(e bridge.Entry, w intent) (p filePlan, wait engine.Wait) {
	p.With = true
	for _, f := range w.messageFiles(e) {
		switch {
		case f.place >= maxFetched: // it is named
		case !d.uploads(f):
			p.Lines = append(p.Lines, f.place)
		default:
			ready, since := d.depot.Want(d.request(f))
			if since = since.Add(d.filesIn); since.After(wait.Until) {
				wait.Until = since
			}
			if !isClosed(ready) {
				p.Late, wait.Ready = append(p.Late, f.place), append(wait.Ready, ready)
				continue
			}
			switch got, closer, err := d.depot.Open(f.key, d.max.MaxFile); {
			case errors.Is(err, bridge.ErrFileNotHere): // its room was needed
				p.Late = append(p.Late, f.place)
			case err != nil:
				d.log.Info("a file is shown as a link", "event", e.Seq, "session", e.Event.Session, "cause", err.Error())
				p.Lines = append(p.Lines, f.place)
			default:
				_ = closer.Close()
				p.Now = append(p.Now, plannedFile{f.place, got.Name, got.Type, got.Size})
			}
		}
	}
	return p, wait
}

// notHere says whether any of the files that are to be uploaded by one plan comes behind by another.
func notHere(now, begun *filePlan) bool {
	return slices.ContainsFunc(begun.Now, func(f plannedFile) bool { return slices.Contains(now.Late, f.Place) })
}

// begunPlan is the plan of an event that was begun before there were plans: all files that may be uploaded are.
func (d *Sink) begunPlan(w intent) *filePlan {
	p := &filePlan{}
	_, can := d.platform.(bridge.Uploader)
	for i, f := range w.files {
		if can && d.files != nil && f.Size <= d.max.MaxFile {
			p.Now = append(p.Now, plannedFile{i, f.Filename, f.MimeType, f.Size})
		} else {
			p.Lines = append(p.Lines, i)
		}
	}
	return p
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// addFiles puts the files into what is shown, and returns the line that names those that are not fetched.
func (d *Sink) addFiles(it *attempt, out *bridge.Outgoing, p *filePlan) (more string) {
	for _, f := range p.Now {
		out.Files = append(out.Files, bridge.Attachment{ID: strconv.Itoa(f.Place), Filename: f.Name, MimeType: f.Type, Size: f.Size})
	}
	out.Apart = !p.With
	all := it.want.messageFiles(it.Entry)
	out.Links = asLines(all, p.Lines)
	planned := func(place int) bool {
		return slices.Contains(p.Lines, place) || slices.Contains(p.Late, place) ||
			slices.ContainsFunc(p.Now, func(f plannedFile) bool { return f.Place == place })
	}
	all = slices.DeleteFunc(all, func(f messageFile) bool { return planned(f.place) })
	if len(all) == 0 {
		return ""
	}
	more = words.Get().MoreFiles.With(strconv.Itoa(len(all)), namesOf(all))
	out.Text = withLine(out.Text, more)
	return more
}

// withLine adds a line to a text.
func withLine(text, line string) string {
	if line == "" || strings.TrimSpace(text) == "" {
		return cmp.Or(line, text)
	}
	return text + "\n" + line
}

// asLines are files as they are shown by their names, with their URLs as far as these are short enough to be read.
func asLines(all []messageFile, places []int) []bridge.Attachment {
	var out []bridge.Attachment
	left := maxURLs
	for _, f := range all {
		if !slices.Contains(places, f.place) {
			continue
		}
		a := bridge.Attachment{ID: f.ID, Filename: f.Filename, MimeType: f.MimeType, Size: f.Size, URL: f.URL}
		if len(a.Filename) > maxFilename {
			a.Filename = strings.ToValidUTF8(a.Filename[:maxFilename], "")
		}
		if a.HasData() || len(a.URL) > min(maxShownURL, left) {
			a.URL = ""
		}
		left -= len(a.URL)
		out = append(out, a)
	}
	return out
}

// namesOf are the names of files in one line.
func namesOf(all []messageFile) string {
	names := make([]string, len(all))
	for i, f := range all {
		name := []rune(strings.Join(strings.Fields(strings.Map(func(r rune) rune {
			if unicode.IsControl(r) && !unicode.IsSpace(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
				return -1
			}
			return r
		}, f.Filename)), " "))
		if len(name) > maxNamed {
			name = append(name[:maxNamed-1], '…')
		}
		names[i] = cmp.Or(string(name), words.Get().File)
	}
	return strings.Join(names, ", ")
}

// lateFirst looks after late files before anything is done for them. over says that nothing is to be done now: they are on their
// way, or their message is gone.
func (d *Sink) lateFirst(ctx context.Context, it *attempt) (res engine.Result, over bool, err error) {
	if it.lateTo, _, err = d.messages.Shown(ctx, it.Entry.Event.Session, it.want.lateOf(it.Entry)); err != nil {
		return engine.Result{}, false, err
	}
	if p, err := d.progress(ctx, it.Entry); err != nil || p.Sent > 0 { // it is begun
		return engine.Result{}, false, err
	}
	gone, err := d.messageGone(ctx, it)
	if err != nil {
		return engine.Result{}, false, err
	}
	if gone {
		d.dropFiles(it.Entry, it.want, nil)
		return engine.Result{Done: true, Idle: true, Note: "its message was deleted before its files could be shown"}, true, nil
	}
	p, wait := d.planFiles(it.Entry, it.want)
	now := time.Now()
	switch passed := !it.filesBy.IsZero() && !now.Before(it.filesBy); {
	case len(p.Late) == 0, passed && len(p.Now)+len(p.Lines) > 0:
		return engine.Result{}, false, nil
	case passed, it.filesBy.IsZero():
		it.filesBy = now.Add(lateRound)
	}
	return engine.Result{Idle: true, Defer: &engine.Deferral{
		Key: "files/" + it.Entry.Seq.String(), AtMost: max(it.filesBy.Sub(now), time.Millisecond), Ready: wait.Ready,
	}}, true, nil
}

// messageGone says whether the message of late files was deleted, or has other files now, or is to be deleted.
func (d *Sink) messageGone(ctx context.Context, it *attempt) (bool, error) {
	of := it.want.lateOf(it.Entry)
	if it.lateTo.Gone || it.lateTo.Refiled {
		return true, nil
	}
	changes, err := it.peek.ChangesBehind(ctx)
	if err != nil {
		return false, err
	}
	for _, later := range changes {
		if msgmap.RefOf(later.Event) != of {
			continue
		}
		if change, err := decodeIntent(later); err == nil && (change.deletes || change.refiles) {
			return true, nil
		}
	}
	return false, nil
}

// following is the event that stands for what is late of an event's files; alone says that nothing of the message is shown.
func (d *Sink) following(it *attempt, places []int, alone bool) bridge.Event {
	late := lateFiles{
		Lane: d.name, Of: it.Entry.Seq.String(), From: it.Entry.Event.Origin, Author: it.want.author, Side: it.want.message.Side, Alone: alone,
		Visitor: it.Entry.Event.Type == bridge.TypeVisitorMessage,
	}
	if len(it.want.replyTo) > 0 {
		late.ReplyTo = it.want.replyTo[0].ID
	}
	if it.want.late != nil {
		late.Of, late.From, late.Side, late.ReplyTo, late.Visitor = it.want.late.Of, it.want.late.From, it.want.late.Side, it.want.late.ReplyTo, it.want.late.Visitor
	}
	for _, f := range it.want.messageFiles(it.Entry) {
		if slices.Contains(places, f.place) {
			late.Places, late.Files = append(late.Places, f.place), append(late.Files, f.Attachment)
		}
	}
	// Its origin is the app's, so that no app is told of it.
	return bridge.Event{
		Type: typeLate, Origin: bridge.OriginApp, Session: it.Entry.Event.Session, Message: it.Entry.Event.Message, Body: bridge.MustJSON(late),
	}
}

// upload sends the files of a part, and its text with them. Those that are not here come behind; those that cannot be had, or that the
// platform refuses, become links in the end; a text that is refused with them goes by itself.
func (d *Sink) upload(ctx context.Context, it *attempt, part bridge.Part, p *progress) (engine.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, engine.FileTimeout)
	defer cancel()
	var files []bridge.File
	var kept []bridge.Attachment
	var places []int
	missing, refetched := false, engine.Wait{Until: time.Now().Add(refetchIn), PastTexts: true}
	all := it.want.messageFiles(it.Entry)
	for _, a := range part.Files {
		place, err := strconv.Atoi(a.ID)
		i := slices.IndexFunc(all, func(f messageFile) bool { return f.place == place })
		if err != nil || i < 0 || d.depot == nil {
			continue // no part of ours
		}
		f, closer, err := d.depot.Open(all[i].key, d.max.MaxFile)
		switch {
		case errors.Is(err, bridge.ErrFileNotHere) && !it.PossiblySent.IsZero(): // it may be shown, and would be once more behind it
			ready, _ := d.depot.Want(d.request(all[i]))
			refetched.Ready = append(refetched.Ready, ready)
			continue
		case errors.Is(err, bridge.ErrFileNotHere):
			p.Plan.Late, missing = append(p.Plan.Late, place), true
			continue
		case err != nil:
			d.log.Info("a file is shown as a link", "event", it.Entry.Seq, "session", it.Entry.Event.Session, "cause", err.Error())
			p.Failed = append(p.Failed, asLines(all, []int{place})...)
			continue
		}
		defer func() { _ = closer.Close() }()
		files, kept, places = append(files, f), append(kept, a), append(places, place)
	}
	if len(refetched.Ready) > 0 {
		return engine.Result{Idle: true, Wait: &refetched}, errNotSent
	}
	part.Files = kept
	if missing && part.Text != "" { // what the text goes with is recorded before it goes
		p.Plan.Now = slices.DeleteFunc(p.Plan.Now, func(f plannedFile) bool { return slices.Contains(p.Plan.Late, f.Place) })
		return engine.Result{Idle: true, Next: true, Batch: bridge.Batch{Rows: []bridge.Row{d.progressRow(it.Entry, p)}}}, errNotSent
	}
	switch {
	case len(files) == 0 && part.Text == "":
		return engine.Result{Idle: true}, nil
	case len(files) == 0:
		part.Caption = false
		return d.sendText(ctx, it, part, p)
	}
	ids, err := d.platform.(bridge.Uploader).Upload(ctx, it.thread.ID, d.form(it, part), files)
	if err == nil {
		if part.Text != "" && len(ids) > 0 {
			p.IDs, p.Caption, ids = append(p.IDs, ids[0]), true, ids[1:]
		}
		p.Files = append(p.Files, ids...)
		return engine.Result{Op: engine.OpUpload}, nil
	}
	if bridge.AsDelivery(err, engine.OpUpload, "").Reason != bridge.ReasonRejected || ctx.Err() != nil {
		return engine.Result{Op: engine.OpUpload}, err
	}
	if part.Text != "" {
		d.log.Info("a text and its files go apart", "event", it.Entry.Seq, "session", it.Entry.Event.Session, "cause", err.Error())
		p.Plan.With = false
		return engine.Result{Op: engine.OpUpload, Next: true, Batch: bridge.Batch{Rows: []bridge.Row{d.progressRow(it.Entry, p)}}}, errNotSent
	}
	d.log.Info("files are shown as links", "event", it.Entry.Seq, "session", it.Entry.Event.Session, "cause", err.Error())
	p.Failed = append(p.Failed, asLines(all, places)...)
	return engine.Result{Op: engine.OpUpload}, nil
}

// lateShown are the rows of a message some of whose files have come behind it. What was said beside them stands among its files,
// so that an edit of its text leaves it alone.
func (d *Sink) lateShown(it *attempt, p progress) []bridge.Row {
	session, message, row := it.Entry.Event.Session, it.want.lateOf(it.Entry), it.lateTo
	if row.Author == "" {
		row.Author = it.want.author
	}
	row.Files = slices.Concat(row.Files, p.IDs, p.Files)
	return append([]bridge.Row{d.messages.ShownRow(session, message, row)}, d.messages.OriginRows(session, message, p.IDs, p.Files)...)
}

// bringsFiles says whether an event has files, without reading all of it.
func bringsFiles(e bridge.Event) bool {
	_, rest, ok := bytes.Cut(e.Body, []byte(`"attachments"`))
	rest, list := bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n:"), []byte("["))
	return ok && list && !bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte("]"))
}

// IsText implements engine.Prefetcher.
func (d *Sink) IsText(e bridge.Event) bool { return e.Type != typeLate && !bringsFiles(e) }
