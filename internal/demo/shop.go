package demo

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
)

// The app server is what a site's own backend is with an SDK: it keeps the chats, sends what visitors do to the bridge and gets
// what operators do by a callback. It keeps what the bridge has not accepted and sends it again, in order, until it is.

// callbackID is what the app server calls itself.
const callbackID = "demo"

// The bounds of what one can do on the page.
const (
	maxFile     = 8 << 20 // bytes
	maxName     = 40      // characters of a visitor's name
	maxFileName = 120
	maxVisitors = 40
	maxBurst    = 100
	maxReceived = 80
	// maxSkew is how old a callback's time may be, as the Standard Webhooks specification asks for.
	maxSkew = 5 * time.Minute
)

// visitor is somebody on the shop's page, with their chat.
type visitor struct {
	ID       string        `json:"id"` // of the session
	Name     string        `json:"name"`
	Place    string        `json:"place"`
	Messages []chatMessage `json:"messages"`
	Typing   string        `json:"typing,omitempty"` // the app in which an operator is typing
	Closed   bool          `json:"closed"`
	Rating   string        `json:"rating,omitempty"` // asked, given
	Score    int           `json:"score,omitempty"`
	Direct   *direct       `json:"direct,omitempty"` // their page talks to the bridge itself; nil: to the app server

	session bridge.Session
	typed   time.Time
	last    int // the number of the last message
}

// chatMessage is a message of a chat, as the widget shows it.
type chatMessage struct {
	ID       string     `json:"id"`
	From     string     `json:"from"`             // visitor, operator, or note for what the chat itself says
	Author   string     `json:"author,omitempty"` // of an operator's
	App      string     `json:"app,omitempty"`    // where an operator wrote it
	Text     string     `json:"text"`
	ReplyTo  string     `json:"replyTo,omitempty"`
	Files    []fileView `json:"files,omitempty"`
	At       time.Time  `json:"at"`
	Edited   bool       `json:"edited,omitempty"`
	Deleted  bool       `json:"deleted,omitempty"`
	Accepted bool       `json:"accepted,omitempty"`
	Apps     []string   `json:"apps,omitempty"`   // where it arrived
	Failed   []string   `json:"failed,omitempty"` // where it never will, or why the bridge refused it
	Read     bool       `json:"read,omitempty"`
	ReadIn   string     `json:"readIn,omitempty"` // the app in which an operator read it
}

// received is a callback that came.
type received struct {
	N        int             `json:"n"`
	ID       string          `json:"id"` // webhook-id
	Type     string          `json:"type"`
	Visitor  string          `json:"visitor,omitempty"` // the name
	At       time.Time       `json:"at"`
	Genuine  bool            `json:"genuine"`  // both signatures are right and the time is near
	Status   int             `json:"status"`   // what was answered
	Attempts int             `json:"attempts"` // how often it came
	Body     json.RawMessage `json:"body"`
	Headers  [][2]string     `json:"headers"`
}

// post is a request to the bridge that waits to be accepted.
type post struct {
	path string
	body []byte
	key  string                          // Idempotency-Key; a repeat of the request is recognised by it
	done func(status int, answer []byte) // under the demo's lock; nil: nothing is to be done
}

func people() []visitor {
	profile := func(name, city, country, browser, os, device, language string) visitor {
		return visitor{Name: name, Place: city, session: bridge.Session{Metadata: &bridge.Metadata{
			URL: "https://kiln.example/river-mug", PageTitle: "River mug", City: city, Country: country, Browser: browser,
			OS: os, DeviceType: device, Language: language,
		}}}
	}
	return []visitor{
		profile("Mia", "Oslo", "NO", "Firefox", "Android", "mobile", "nb"),
		profile("Tom", "Leeds", "GB", "Chrome", "Windows", "desktop", "en"),
		profile("Zoë", "Utrecht", "NL", "Safari", "iOS", "mobile", "nl"),
		profile("Noor", "Ghent", "BE", "Firefox", "Linux", "desktop", "nl"),
		profile("Emil", "Malmö", "SE", "Chrome", "Android", "tablet", "sv"),
		profile("Priya", "Pune", "IN", "Chrome", "Android", "mobile", "en"),
		profile("Leo", "Graz", "AT", "Safari", "macOS", "desktop", "de"),
		profile("Ines", "Porto", "PT", "Edge", "Windows", "desktop", "pt"),
	}
}

// enter brings a visitor onto a page that talks to the app server, and returns the session's id.
func (d *demo) enter(name string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.newVisitor(name)
	if err != nil {
		return "", err
	}
	d.enqueue("/api/sessions", v.session, nil)
	return v.ID, nil
}

// newVisitor adds a visitor. An empty name is the next of those at hand. The caller holds the lock.
func (d *demo) newVisitor(name string) (*visitor, error) {
	name = strings.Join(strings.Fields(name), " ")
	if utf8.RuneCountInString(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return nil, refuse(http.StatusBadRequest, "name: at most %d printable characters", maxName)
	}
	defer d.changedLocked()
	if len(d.visitors) >= maxVisitors {
		return nil, refuse(http.StatusConflict, "there are %d visitors already; close some of their tabs", maxVisitors)
	}
	all := people()
	v := all[d.entered%len(all)]
	if name != "" {
		v.Name = name
	}
	// Operators tell visitors apart by their names.
	for base, n := v.Name, 2; slices.ContainsFunc(d.names, func(taken string) bool { return strings.EqualFold(taken, v.Name) }); n++ {
		v.Name = base + " " + strconv.Itoa(n)
	}
	d.entered++
	d.names = append(d.names, v.Name)
	v.ID = fmt.Sprintf("visit-%d", d.entered)
	v.Messages = []chatMessage{}
	v.session.ID, v.session.VisitorID = v.ID, fmt.Sprintf("visitor-%d", d.entered)
	v.session.Identity = &bridge.Identity{ID: v.session.VisitorID, Name: v.Name}
	v.session.CreatedAt = time.Now().UTC().Format(time.RFC3339)
	d.visitors = append(d.visitors, &v)
	return &v, nil
}

// visitorOf finds a visitor of the app server's by the session's id. The caller holds the lock.
func (d *demo) visitorOf(session string) (*visitor, error) {
	v, err := d.anyVisitor(session)
	if err == nil && v.Direct != nil {
		err = refuse(http.StatusConflict, "this visitor's page talks to the bridge itself")
	}
	return v, err
}

// anyVisitor finds a visitor. The caller holds the lock.
func (d *demo) anyVisitor(id string) (*visitor, error) {
	for _, v := range d.visitors {
		if v.ID == id {
			return v, nil
		}
	}
	return nil, refuse(http.StatusNotFound, "there is no visitor %q", id)
}

// inSession finds the visitor of a session; nil: there is none. The caller holds the lock.
func (d *demo) inSession(session string) *visitor {
	for _, v := range d.visitors {
		if v.Direct == nil && v.ID == session || v.Direct != nil && v.Direct.Session == session && session != "" {
			return v
		}
	}
	return nil
}

func (v *visitor) message(id string) *chatMessage {
	for i := range v.Messages {
		if v.Messages[i].ID == id {
			return &v.Messages[i]
		}
	}
	return nil
}

// enqueue lines a request up for the bridge. The caller holds the lock.
func (d *demo) enqueue(path string, body any, done func(int, []byte)) {
	raw, err := json.Marshal(body)
	if err != nil { // what is sent is made of texts and numbers
		d.out.say("the app server", "cannot send %s: %v", path, err)
		return
	}
	d.sent++
	d.outbox = append(d.outbox, post{path: path, body: raw, key: fmt.Sprintf("%s-%d", d.id, d.sent), done: done})
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// sendAll sends what is lined up, one after the other, each until the bridge takes or refuses it.
func (d *demo) sendAll(ctx context.Context) {
	for {
		d.mu.Lock()
		var next post
		if len(d.outbox) > 0 {
			next = d.outbox[0]
		}
		d.mu.Unlock()
		if next.path == "" {
			select {
			case <-d.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		began := time.Now()
		status, answer, err := d.call(ctx, http.MethodPost, next.path, next.body, next.key)
		if err != nil || status >= 500 || status == http.StatusTooManyRequests {
			select {
			case <-time.After(250 * time.Millisecond):
				continue
			case <-ctx.Done():
				return
			}
		}
		d.out.say("the app server", "POST %s: %d %s in %d ms", next.path, status, bytes.TrimSpace(answer), time.Since(began).Milliseconds())
		d.update(func() {
			if d.outbox = d.outbox[1:]; status == http.StatusOK {
				d.process.Accepted++
			}
			if next.done != nil {
				next.done(status, answer)
			}
		})
	}
}

// call makes one request to the bridge, as the app server.
func (d *demo) call(ctx context.Context, method, path string, body []byte, key string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.bridge+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-PocketPing-Callback", callbackID)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, answer, err
}

// register tells the bridge where the app server is called back.
func (d *demo) register(ctx context.Context) error {
	body, err := json.Marshal(map[string]string{"url": d.app + "/callback", "secret": d.secret.Reveal()})
	if err != nil {
		return err
	}
	status, answer, err := d.call(ctx, http.MethodPut, "/api/callbacks/"+callbackID, body, "")
	if err == nil && status != http.StatusOK && status != http.StatusCreated {
		err = fmt.Errorf("the bridge answers %d to a callback's registration: %s", status, answer)
	}
	return err
}

// write has a visitor write.
func (d *demo) write(session, text, replyTo string, f *file) (string, error) {
	switch {
	case strings.TrimSpace(text) == "" && f == nil:
		return "", refuse(http.StatusBadRequest, "text: write something, or attach a file")
	case utf8.RuneCountInString(text) > bridge.MaxShown:
		return "", refuse(http.StatusBadRequest, "text: at most %d characters", bridge.MaxShown)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.changedLocked()
	v, err := d.visitorOf(session)
	if err != nil {
		return "", err
	}
	if to := v.message(replyTo); replyTo != "" && (to == nil || to.From == "note") {
		return "", refuse(http.StatusNotFound, "replyTo: there is no message %q in this chat", replyTo)
	}
	v.last++
	now := time.Now().UTC()
	m := chatMessage{ID: fmt.Sprintf("%s-m%d", v.ID, v.last), From: "visitor", Text: text, ReplyTo: replyTo, At: now}
	sent := bridge.Message{
		ID: m.ID, SessionID: v.ID, Content: text, Sender: bridge.SenderVisitor, ReplyTo: replyTo, Timestamp: now.Format(time.RFC3339Nano),
	}
	if f != nil {
		id := d.keepUpload(*f)
		kind := f.mediaType()
		m.Files = []fileView{{Name: f.Name, Size: int64(len(f.Data)), Image: picture(kind), URL: "/demo/uploads/" + id}}
		sent.Attachments = []bridge.Attachment{{
			ID: id, Filename: f.Name, MimeType: kind, Size: int64(len(f.Data)), URL: d.app + "/uploads/" + id + "/" + path.Base(f.Name),
			Status: "ready", UploadedFrom: "widget",
		}}
	}
	v.Messages, v.Closed = append(v.Messages, m), false
	d.noteWriting(v, text)
	d.enqueue("/api/messages", map[string]any{"session": v.session, "message": sent}, func(status int, answer []byte) {
		if m := v.message(m.ID); m != nil {
			if m.Accepted = status == http.StatusOK; !m.Accepted {
				m.Failed = append(m.Failed, fmt.Sprintf("the bridge answers %d: %s", status, bytes.TrimSpace(answer)))
			}
		}
	})
	return m.ID, nil
}

// uploadLimit is how many files the app server keeps; the oldest go.
const uploadLimit = 60

// keepUpload keeps a visitor's file and returns its id. The caller holds the lock.
func (d *demo) keepUpload(f file) string {
	id := strings.ToLower(rand.Text())
	d.uploads[id] = f
	if d.uploadOrder = append(d.uploadOrder, id); len(d.uploadOrder) > uploadLimit {
		delete(d.uploads, d.uploadOrder[0])
		d.uploadOrder = d.uploadOrder[1:]
	}
	return id
}

// own finds a visitor's message that is still there. The caller holds the lock.
func (d *demo) own(session, id string) (*visitor, *chatMessage, error) {
	v, err := d.visitorOf(session)
	if err != nil {
		return nil, nil, err
	}
	m := v.message(id)
	if m == nil || m.From != "visitor" || m.Deleted {
		return nil, nil, refuse(http.StatusNotFound, "this visitor has no message %q", id)
	}
	return v, m, nil
}

// rewrite has a visitor edit a message.
func (d *demo) rewrite(session, id, text string) error {
	if strings.TrimSpace(text) == "" || utf8.RuneCountInString(text) > bridge.MaxShown {
		return refuse(http.StatusBadRequest, "text: 1 to %d characters", bridge.MaxShown)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.changedLocked()
	v, m, err := d.own(session, id)
	if err != nil {
		return err
	}
	m.Text, m.Edited = text, true
	d.out.say(v.Name+", a visitor", "edits: %s", text)
	d.enqueue("/api/events", map[string]any{
		"type": bridge.TypeVisitorEdited, "sessionId": session, "messageId": id, "content": text,
		"editedAt": time.Now().UTC().Format(time.RFC3339Nano),
	}, nil)
	return nil
}

// retract has a visitor delete a message.
func (d *demo) retract(session, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.changedLocked()
	v, m, err := d.own(session, id)
	if err != nil {
		return err
	}
	m.Deleted, m.Text, m.Files = true, "", nil
	d.out.say(v.Name+", a visitor", "deletes a message")
	d.enqueue("/api/events", map[string]any{
		"type": bridge.TypeVisitorDeleted, "sessionId": session, "messageId": id, "deletedAt": time.Now().UTC().Format(time.RFC3339Nano),
	}, nil)
	return nil
}

// visitorTypes tells that a visitor is typing. It is not worth keeping: what cannot be sent now is dropped.
func (d *demo) visitorTypes(ctx context.Context, session string, typing bool) error {
	d.mu.Lock()
	_, err := d.visitorOf(session)
	d.mu.Unlock()
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"type": bridge.TypeVisitorTyping, "sessionId": session, "isTyping": typing})
	if err == nil {
		_, _, _ = d.call(ctx, http.MethodPost, "/api/events", body, "")
	}
	return err
}

// see has a visitor read what operators wrote.
func (d *demo) see(session string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, err := d.visitorOf(session)
	if err != nil {
		return err
	}
	var ids []string
	for i := range v.Messages {
		if m := &v.Messages[i]; m.From == "operator" && !m.Read && !m.Deleted {
			m.Read = true
			ids = append(ids, m.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	defer d.changedLocked()
	d.enqueue("/api/events", map[string]any{
		"type": bridge.TypeMessageRead, "sessionId": session, "messageIds": ids, "status": "read",
		"readAt": time.Now().UTC().Format(time.RFC3339Nano),
	}, nil)
	return nil
}

// rate has a visitor rate the conversation.
func (d *demo) rate(session string, score int, comment string) error {
	if score < 1 || score > 5 {
		return refuse(http.StatusBadRequest, "score: 1 to 5")
	}
	if utf8.RuneCountInString(comment) > 500 {
		return refuse(http.StatusBadRequest, "comment: at most 500 characters")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.changedLocked()
	v, err := d.visitorOf(session)
	if err != nil {
		return err
	}
	if v.Rating != "asked" {
		return refuse(http.StatusConflict, "no rating was asked for")
	}
	v.Rating, v.Score = "given", score
	d.enqueue("/api/events", map[string]any{
		"type": bridge.TypeCSATSubmitted, "session": v.session, "score": score, "comment": comment,
		"respondedAt": time.Now().UTC().Format(time.RFC3339Nano),
	}, nil)
	return nil
}

// burst has a visitor write many messages at once.
func (d *demo) burst(session string, count int) error {
	if count < 1 || count > maxBurst {
		return refuse(http.StatusBadRequest, "count: 1 to %d", maxBurst)
	}
	for i := range count {
		if _, err := d.write(session, fmt.Sprintf("Message %d of %d", i+1, count), "", nil); err != nil {
			return err
		}
	}
	return nil
}

// rush has new visitors come, who write some messages each, by turns.
func (d *demo) rush(visitors, each int) error {
	if visitors < 1 || each < 1 || visitors*each > maxBurst {
		return refuse(http.StatusBadRequest, "visitors, each: 1 or more, and at most %d messages in all", maxBurst)
	}
	var all []string
	for range visitors {
		session, err := d.enter("")
		if err != nil {
			return err
		}
		all = append(all, session)
	}
	says := [...]string{"Hello?", "Is the river mug in stock?", "And in green?"}
	for i := range each {
		for _, session := range all {
			if _, err := d.write(session, says[i%len(says)], "", nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// leave closes a visitor's tab.
func (d *demo) leave(session string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.changedLocked()
	v, err := d.anyVisitor(session)
	if err != nil {
		return err
	}
	d.visitors = slices.DeleteFunc(d.visitors, func(one *visitor) bool { return one == v })
	if v.Direct != nil {
		return nil // the page has told the bridge
	}
	d.enqueue("/api/disconnect", map[string]any{
		"session": v.session, "duration": time.Since(d.began).Seconds(), "reason": "page_unload",
	}, nil)
	return nil
}

// genuine checks both signatures of a callback, and that it is not an old one sent again.
func (d *demo) genuine(h http.Header, body []byte) bool {
	mac := func(parts ...[]byte) []byte {
		m := hmac.New(sha256.New, []byte(d.secret.Reveal()))
		for _, p := range parts {
			_, _ = m.Write(p)
		}
		return m.Sum(nil)
	}
	same := func(got, want string) bool { return hmac.Equal([]byte(got), []byte(want)) }
	id, at := h.Get("Webhook-Id"), h.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if age := time.Since(time.Unix(seconds, 0)); err != nil || age > maxSkew || age < -maxSkew {
		return false
	}
	standard := "v1," + base64.StdEncoding.EncodeToString(mac([]byte(id+"."+at+"."), body))
	return same(h.Get("X-PocketPing-Signature"), "sha256="+hex.EncodeToString(mac(body))) &&
		slices.ContainsFunc(strings.Fields(h.Get("Webhook-Signature")), func(s string) bool { return same(s, standard) })
}

// backend is the app server's HTTP side: what the bridge calls, and where it fetches visitors' files.
func (d *demo) backend() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /callback", d.callback)
	mux.HandleFunc("GET /uploads/{id}/{name}", d.serveUpload)
	return mux
}

func (d *demo) serveUpload(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	f, ok := d.uploads[r.PathValue("id")]
	d.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	serveFile(w, r, f)
}

// callback takes what the bridge tells, as an SDK does: it checks the signature, answers, and drops repeats.
func (d *demo) callback(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "cannot be read", http.StatusBadRequest)
		return
	}
	event := received{
		ID: r.Header.Get("Webhook-Id"), Type: r.Header.Get("X-PocketPing-Event"), At: time.Now().UTC(), Attempts: 1, Status: http.StatusNoContent,
		Genuine: d.genuine(r.Header, body), Body: body,
	}
	for _, name := range []string{"X-PocketPing-Event", "X-PocketPing-Signature", "webhook-id", "webhook-timestamp", "webhook-signature"} {
		event.Headers = append(event.Headers, [2]string{name, r.Header.Get(name)})
	}
	var told calledBack
	d.mu.Lock()
	switch {
	case !event.Genuine:
		event.Status = http.StatusUnauthorized
	case json.Unmarshal(body, &told) != nil:
		event.Status = http.StatusBadRequest
	case d.switches.CallbackDown:
		event.Status = http.StatusServiceUnavailable
	}
	if !json.Valid(body) {
		event.Body = json.RawMessage(`null`)
	}
	fresh := d.note(&event, told.SessionID)
	if event.Status == http.StatusNoContent && fresh {
		d.take(&told)
	}
	d.changedLocked()
	d.mu.Unlock()
	w.WriteHeader(event.Status)
	d.tellCallback(event, told)
}

// note keeps a callback among those received, and says whether the event was not taken before. The caller holds the lock.
func (d *demo) note(event *received, session string) (fresh bool) {
	if v := d.inSession(session); v != nil {
		event.Visitor = v.Name
	}
	fresh = !d.seen[event.ID]
	if event.Status == http.StatusNoContent {
		d.seen[event.ID] = true
	}
	for i := range d.received {
		if one := &d.received[i]; one.ID == event.ID && event.ID != "" {
			event.N, event.Attempts = one.N, one.Attempts+1
			*one = *event
			return fresh
		}
	}
	d.called++
	event.N = d.called
	d.received = append(d.received, *event)
	d.received = tail(d.received, maxReceived)
	return fresh
}

func (d *demo) tellCallback(event received, told calledBack) {
	switch {
	case !event.Genuine:
		d.out.say("the app server", "got a callback with a WRONG signature and refuses it")
	case event.Status == http.StatusServiceUnavailable:
		d.out.say("the app server", "is down and answers 503 to %s", event.Type)
	case told.Type == bridge.TypeOperatorMessage:
		d.out.say("the app server", "gets %s from %s, signature valid: %s", told.Type, told.OperatorName, told.Content)
		select {
		case d.replies <- told.Content:
		default: // nobody waits for it
		}
	default:
		d.out.say("the app server", "gets %s", event.Type)
	}
}

// calledBack is the union of the fields of the events that the app server looks at.
type calledBack struct {
	Type bridge.Type `json:"type"`
	bridge.OperatorMessage
	EditedAt   string            `json:"editedAt"`
	IsTyping   bool              `json:"isTyping"`
	Online     bool              `json:"online"`
	Operators  []bridge.Operator `json:"operators"`
	MessageIDs []string          `json:"messageIds"`
	Reason     string            `json:"reason"`
	Enabled    bool              `json:"enabled"`
}

// take does in the chats what the event says. The caller holds the lock.
func (d *demo) take(e *calledBack) {
	if e.Type == bridge.TypeOperatorStatus {
		d.online, d.operators = e.Online, e.Operators
		return
	}
	v := d.inSession(e.SessionID)
	if v == nil {
		return // the visitor has closed the page
	}
	if v.Direct != nil {
		d.takeDirect(e)
		return
	}
	m := v.message(e.MessageID)
	switch e.Type {
	case bridge.TypeOperatorMessage:
		v.Typing = ""
		v.Messages = append(v.Messages, d.operatorMessage(e))
		d.steps.Answered = d.steps.Answered || d.opened
		return
	case bridge.TypeOperatorTyping:
		if v.Typing = ""; e.IsTyping {
			v.Typing, v.typed = e.SourceBridge, time.Now()
		}
		return
	case bridge.TypeSessionClosed:
		v.Closed = true
		v.say(closing(e, "closed the conversation"))
		return
	case bridge.TypeSessionReopened:
		v.Closed = false
		v.say("The conversation is open again")
		return
	case bridge.TypeCSATRequest:
		v.Rating, v.Score = "asked", 0
		return
	case bridge.TypeAIToggle:
		v.say(map[bool]string{true: "The assistant answers from here on", false: "People answer from here on"}[e.Enabled])
		return
	case bridge.TypeMessageRead:
		for _, id := range e.MessageIDs {
			if m := v.message(id); m != nil {
				m.Read, m.ReadIn = true, e.SourceBridge
			}
		}
		return
	}
	if m == nil {
		return
	}
	switch e.Type {
	case bridge.TypeOperatorEdited:
		m.Text, m.Edited = e.Content, true
	case bridge.TypeOperatorDeleted:
		m.Deleted, m.Text, m.Files = true, "", nil
	case bridge.TypeMessageDelivered:
		if !slices.Contains(m.Apps, e.SourceBridge) {
			m.Apps = append(m.Apps, e.SourceBridge)
		}
		d.noteSurvival()
	case bridge.TypeMessageFailed:
		m.Failed = append(m.Failed, e.SourceBridge+": "+e.Reason)
	}
}

// operatorMessage is an operator's message as the chat keeps it. Its files are fetched from the bridge when the page asks for
// them. The caller holds the lock.
func (d *demo) operatorMessage(e *calledBack) chatMessage {
	m := chatMessage{
		ID: e.MessageID, From: "operator", Author: e.OperatorName, App: e.SourceBridge, Text: e.Content, ReplyTo: e.ReplyToMessageID,
		At: time.Now().UTC(),
	}
	for _, a := range e.Attachments {
		f := fileView{Name: a.Filename, Size: a.Size, Image: picture(a.MimeType)}
		if strings.HasPrefix(a.URL, d.bridge+"/files/") {
			d.linked++
			key := strconv.Itoa(d.linked)
			d.links[key] = a
			f.URL = "/demo/received/" + key
		}
		m.Files = append(m.Files, f)
	}
	return m
}

// say puts a note of the chat's own into it.
func (v *visitor) say(text string) {
	v.last++
	v.Messages = append(v.Messages, chatMessage{ID: fmt.Sprintf("%s-n%d", v.ID, v.last), From: "note", Text: text, At: time.Now().UTC()})
}

func closing(e *calledBack, did string) string {
	if e.OperatorName == "" {
		return "The team " + did
	}
	return e.OperatorName + " " + did
}
